"""A forward that is wrong in a lower precision alone, where a reference shows that it need not be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, floats, gradcheck

F16 = torch.float16
X = torch.linspace(-9.0, 9.0, 24, dtype=torch.float64).reshape(6, 4)


class Tanh:
    """(e²ᶻ − 1)/(e²ᶻ + 1), z clamped where e²ᶻ would overflow: in float16 at `limit`, and at 20 in wider types."""

    def __init__(self, limit: float = 5.0) -> None:
        self.limit = limit

    def forward(self, z):
        t = torch.expm1(2 * z.clamp(max=self.limit if z.dtype == F16 else 20.0))
        self.a = t / (t + 2)
        return self.a

    def backward(self, d):
        return d * (1 - self.a * self.a)


def outcomes(layer, x=X, **more):
    report = gradcheck(layer, x, battery=True, raise_exception=False, **more)
    return {r.check: r for r in report.results}


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (5.0, ""),
        (-5.0, "output: in float16 its outputs are off by more than rounding explains"),
        (2.0, "output: in float16 its outputs are off by more than rounding explains"),
    ],
)
def test_a_clamp_in_the_wrong_place_in_float16(limit: float, said: str) -> None:
    found = outcomes(Tanh(limit), reference=torch.tanh)
    assert found["float16"].outcome is (Outcome.FAIL if said else Outcome.PASS), found["float16"].reason
    assert said in found["float16"].reason
    assert {found[d].outcome for d in ("float32", "bfloat16")} == {Outcome.PASS}
    if said:
        assert "the reference is in float16" in str(found["float16"].finding)


@pytest.mark.parametrize("limit", [20.0, 6.0])
def test_numbers_inside_that_leave_the_range_of_float16_are_a_fault_for_who_promises_that_none_does(limit):
    found = outcomes(Tanh(limit), reference=torch.tanh)["float16"]
    assert found.outcome is Outcome.SKIP
    assert "in float16 its outputs are not finite where the reference's are" in found.reason
    spec = LayerSpec(lambda: Tanh(limit), floats("B D"), reference=torch.tanh, promises=("stable",))
    (found,) = check(spec, examples=8, only=("float16",)).results
    assert found.outcome is Outcome.FAIL


def test_nobody_knows_without_a_reference_whether_another_forward_would_be_finite() -> None:
    assert outcomes(Tanh(20.0))["float16"].outcome is Outcome.SKIP


def test_an_overflow_that_the_reference_has_too_is_no_fault() -> None:
    def naive(z):
        return (z.exp() - (-z).exp()) / (z.exp() + (-z).exp())

    x = torch.tensor([[0.5, 12.0, -1.0]], dtype=torch.float64)
    assert outcomes(Tanh(20.0), x, reference=naive)["float16"].outcome is Outcome.SKIP


class MeanSquare:
    """The mean of squares of each row less the square of its mean, as no numerics book has it, and by centring."""

    def __init__(self, careful: bool = False, factor: float = 1.0) -> None:
        self.careful, self.factor = careful, factor

    def forward(self, x):
        self.c = x - x.mean(-1, keepdim=True)
        y = (self.c * self.c).mean(-1) if self.careful else (x * x).mean(-1) - x.mean(-1) ** 2
        return y if y.dtype == torch.float64 else self.factor * y

    def backward(self, d):
        return d[:, None] * 2 * self.c / self.c.shape[-1]


@pytest.mark.parametrize("careful", [True, False])
def test_a_careless_formula_explains_its_own_rounding(careful: bool) -> None:
    x = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 5
    found = outcomes(MeanSquare(careful), x, reference=lambda x: x.var(-1, unbiased=False))
    assert Outcome.FAIL not in {found[d].outcome for d in ("float32", "bfloat16", "float16")}


def test_its_wrong_twin_is_off_by_more() -> None:
    x = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = outcomes(MeanSquare(True, 1.5), x, reference=lambda x: x.var(-1, unbiased=False))
    assert {found[d].outcome for d in ("float32", "bfloat16", "float16")} == {Outcome.FAIL}


def test_numpy_rounds_as_it_likes_but_must_be_finite_if_it_promises_so() -> None:
    class Softplus:
        def __init__(self, safe: bool) -> None:
            self.safe = safe

        def forward(self, x):
            self.x = x
            with np.errstate(over="ignore"):
                return np.logaddexp(np.zeros_like(x), x) if self.safe else np.log(1 + np.exp(x))

        def backward(self, d):
            return (d / (1 + np.exp(-self.x))).astype(d.dtype)

    def outcome(*promises: str, safe: bool) -> Outcome:
        spec = LayerSpec(
            lambda: Softplus(safe),
            lambda rng: rng.uniform(12.0, 16.0, (2, 3)),
            reference=lambda x: np.logaddexp(np.zeros_like(x), x),
            promises=promises,
        )
        return check(spec, examples=2, only=("float16",)).results[0].outcome

    assert outcome("stable", safe=True) is not Outcome.FAIL
    assert outcome("stable", safe=False) is Outcome.FAIL
    assert outcome(safe=False) is Outcome.SKIP


@pytest.mark.parametrize(("limit", "outcome"), [(5.0, Outcome.PASS), (6.0, Outcome.FAIL)])
def test_values_reach_where_only_a_lower_precision_ends(limit: float, outcome: Outcome) -> None:
    spec = LayerSpec(lambda: Tanh(limit), floats("B D"), name="Tanh", reference=torch.tanh, promises=("stable",))
    (found,) = check(spec, examples=12, only=("float16",)).results
    assert found.outcome is outcome


def recomputed(factor):
    """x² whose backward goes forward again with gradients enabled, as checkpointing does; what it returns is in a graph."""

    class Recomputed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with torch.enable_grad():
                return factor * x * dy

    return Recomputed


@pytest.mark.parametrize(("factor", "outcome"), [(2.0, Outcome.PASS), (2.1, Outcome.FAIL)])
def test_a_gradient_in_a_graph_is_taken_out_of_it(factor, outcome):
    x, before = torch.linspace(-1, 1, 5, dtype=torch.float64), torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # warnings are errors here, and this one is given once a process
    try:
        found = gradcheck(recomputed(factor), x, raise_exception=False).results[0]
    finally:
        torch.set_warn_always(before)
    assert found.outcome is outcome
