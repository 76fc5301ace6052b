"""Special points: what they hold, that they stay inside the domain, and what a finding there says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, floats, gradcheck, ints
from harness.checks.inputs import FORWARDS, judged
from harness.draws import rng_of
from harness.examples.cases import case_of
from harness.examples.design import examples
from harness.examples.special import range_of, special_points
from harness.examples.values import Range, magnitudes, thresholds_or_scale, ties, zeros
from harness.judgement.judge import Judge
from harness.oracles.budget import Budget

FREE = Range()
X = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MAKERS = (ties, zeros, thresholds_or_scale, magnitudes)


class Sine:
    """sin x; where `at` holds the derivative is half as large."""

    def __init__(self, at: Any = None) -> None:
        self.at = at

    def forward(self, x):
        self.x = x
        return torch.sin(x)

    def backward(self, d):
        g = d * torch.cos(self.x)
        return g if self.at is None else torch.where(self.at(self.x), g / 2, g)


class Rows:
    """W[i]."""

    def __init__(self, V: int) -> None:
        self.W = torch.randn(V, 2, dtype=torch.float64)

    def forward(self, i):
        self.i = i
        return self.W[i]

    def backward(self, d):
        self.dW = torch.zeros_like(self.W).index_add_(0, self.i, d)


def made(maker: Any, x: torch.Tensor = X, within: Range = FREE, count: int = 40) -> list[torch.Tensor]:
    return [maker(x, within, rng_of(k))[0] for k in range(count)]


def cases(spec: LayerSpec, count: int = 12) -> list[Any]:
    return [case_of(spec, e, None, torch.device("cpu"), None)[0] for e in examples(spec, count, 3)]


def special(layer: Any, *inputs: Any) -> Any:
    report = gradcheck(layer, *inputs, battery=True, raise_exception=False)
    return next(r for r in report.results if r.check == "special_values")


# The points


def test_ties_hold_constant_rows_and_columns_and_equal_maxima():
    found = made(ties)
    assert any((y == y[:, :1]).all(1).any() for y in found)
    assert any((y == y[:1]).all(0).any() for y in found)
    assert any(((y == y.amax(1, keepdim=True)).sum(1) == 2).any() for y in found)


def test_zeros_are_some_or_all_and_of_both_signs():
    shares = [float((y == 0).double().mean()) for y in made(zeros)]
    assert max(shares) == 1.0
    assert 0 < min(shares) < 1
    assert any(bool((y.signbit() & (y == 0)).any()) for y in made(zeros))


def test_magnitudes_reach_beyond_saturation_on_either_side():
    found = made(magnitudes)
    assert any(bool((y < -8).all()) for y in found)
    assert any(bool((y > 30).all()) for y in found)
    assert all(float(y.abs().min()) >= 8 for y in found)


def test_thresholds_are_integers_and_halves_and_scales_span_nine_octaves():
    found = made(thresholds_or_scale)
    assert any(torch.equal(2 * y, (2 * y).round()) for y in found)
    assert {round(math.log2(float((y / X).median()))) for y in found if torch.allclose(y / X, (y / X)[0, 0])} == {
        -20,
        -10,
        10,
    }


@pytest.mark.parametrize(
    "within", [Range(0.0, 1.0, True, True), Range(0.0, 1.0, False, False), Range(low=0.0), Range(high=0.0)]
)
@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
def test_points_stay_inside_the_domain(maker: Any, within: Range):
    x = X.sigmoid() * (-1 if within.high == 0 else 1)
    assert all(bool(within.holds(y).all()) for y in made(maker, x, within))


def test_a_closed_end_is_met_and_an_open_one_is_approached():
    x = X.sigmoid()
    closed = made(magnitudes, x, Range(0.0, 1.0, False, False))
    opened = made(magnitudes, x, Range(0.0, 1.0, True, True))
    assert any(bool((y == 0).any()) for y in closed)
    assert any(bool((y == 1).any()) for y in closed)
    assert any(0 < float(y.max()) < 1e-5 for y in opened)


def test_a_domain_is_what_the_spec_declares_else_the_signs_that_the_values_have():
    declared = cases(LayerSpec(build=Sine, inputs=floats("B D", low=0, low_open=True)))[0]
    assert range_of(declared, "x") == Range(0.0, math.inf, True, True)
    plain = cases(LayerSpec(build=Sine, inputs="B D"))[0]
    assert range_of(plain, "x").free
    given = plain.at(domains={}, leaves={"x": torch.tensor([[0.0, 2.0]], dtype=torch.float64)})
    assert range_of(given, "x") == Range(0.0, math.inf, False, True)


def test_integers_are_equal_and_stay_in_their_range():
    spec = LayerSpec(build=Rows, inputs=ints("B", below="V"), name="Rows")
    for case in cases(spec):
        for point in special_points(case):
            assert int(point.case.leaves["i"].max()) < case.sizes["V"]
            assert point.what == "equal indices in i"


def test_what_a_function_draws_is_left_alone():
    spec = LayerSpec(
        build=Sine, inputs=lambda B, rng: torch.as_tensor(rng.normal(size=B)), dims={"B": range(2, 5)}, name="Drawn"
    )
    assert not [p for case in cases(spec, 3) for p in special_points(case)]


def test_one_seed_gives_the_same_points():
    first, second = (
        [p.case.leaves["x"] for c in cases(LayerSpec(build=Sine, inputs="B D")) for p in special_points(c)]
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# The check


def test_a_finding_names_the_point_and_the_entry():
    result = special(Sine(lambda x: x == 0), X)
    assert result.outcome is Outcome.FAIL
    assert "zeros in x" in result.reason
    finding = result.finding
    assert finding.where[0] == "x"
    assert finding.expected == pytest.approx(2 * finding.analytic, rel=1e-5)
    assert finding.allowed < 1e-3
    assert finding.diagnosis == ("right at the values as drawn, wrong at zeros in x",)


class AtTheInput:
    """tanh x with 1 − x², which is right enough where x is small."""

    def forward(self, x):
        self.x = x
        return np.tanh(x)

    def backward(self, d):
        return d * (1 - self.x**2)


def test_what_is_wrong_as_drawn_in_another_example_is_not_said_to_be_right_there(diagnosed):
    report = check(LayerSpec(AtTheInput, "B D"), examples=15)
    found = {r.check: r.finding for r in report.failures}
    assert "at 8 to 12 in x" in next(r.reason for r in report.failures if r.check == "special_values")
    assert found["input_gradient"] is not None
    assert not found["special_values"].diagnosis


def test_the_script_holds_the_special_point():
    finding = special(Sine(lambda x: x == 0), X).finding
    assert ", zeros in x" in finding.example
    assert finding.example in finding.reproduce
    assert " 0.0" in finding.reproduce


def test_the_right_twin_passes():
    assert special(Sine(), X).outcome is Outcome.PASS


def test_a_forward_that_refuses_special_values_is_not_judged_there():
    class Picky(Sine):
        def forward(self, x):
            if bool((x == 0).any()) or float(x.abs().max()) > 7:
                raise ValueError("too special")
            return super().forward(x)

    assert special(Picky(), X).outcome in (Outcome.PASS, Outcome.SKIP)


def test_a_backward_that_raises_at_special_values_fails():
    class Raises(Sine):
        def backward(self, d):
            if bool((self.x == 0).any()):
                raise ZeroDivisionError("at zero")
            return super().backward(d)

    result = special(Raises(), X)
    assert result.outcome is Outcome.FAIL
    assert "zeros in x" in result.reason or "ties" in result.reason
    assert "ZeroDivisionError: at zero" in result.reason


class Length:
    """|x| of each row, or x/|x|, which jumps at 0; backward refuses a row of zeros."""

    def __init__(self, unit: bool) -> None:
        self.unit = unit

    def forward(self, x):
        self.x, self.n = x, x.norm(dim=-1, keepdim=True)
        return x / torch.where(self.n == 0, 1.0, self.n) if self.unit else self.n

    def backward(self, d):
        if not self.n.all():
            raise ZeroDivisionError("a row of zeros")
        h = self.x / self.n
        return (d - h * (d * h).sum(-1, keepdim=True)) / self.n if self.unit else d * h


def test_a_backward_may_raise_where_the_outputs_jump():
    def at(unit: bool) -> Any:
        spec = LayerSpec(lambda: Length(unit), "B D", dims={"B": (2,), "D": (2,)})
        return check(spec, examples=2, only=("special_values",)).results[0]

    passed = at(unit=True)
    assert passed.outcome is Outcome.PASS
    assert "where outputs jump or have no slope: the forward went through" in passed.reason
    assert "ZeroDivisionError: a row of zeros" in passed.reason
    failed = at(unit=False)  # between the slopes of a kink there is a gradient
    assert failed.outcome is Outcome.FAIL
    assert "backward raised ZeroDivisionError: a row of zeros" in failed.reason


def test_a_jump_is_never_failed():
    class Sign:
        def forward(self, x):
            return np.sign(x)

        def backward(self, d):
            return 0 * d

    report = check(LayerSpec(build=Sign, inputs="B D"), examples=6, only=("special_values",))
    assert report.results[0].outcome is not Outcome.FAIL


def test_without_special_points_it_does_not_apply():
    result = special(Sine(), torch.zeros(0, 3, dtype=torch.float64))
    assert result.outcome is Outcome.SKIP


class OneHot:
    """Cross entropy of one-hot targets, right where they sum to one; `factor` is what its backward multiplies by at ties."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, z, t):
        e = np.exp(z - z.max(-1, keepdims=True))
        self.p, self.t = e / e.sum(-1, keepdims=True), t
        self.ties = len(np.unique(z)) < z.size
        return -(t * np.log(self.p)).sum() / len(z)

    def backward(self):
        return (self.factor if self.ties else 1.0) * (self.p - self.t) / len(self.t)


@pytest.mark.parametrize("seed", range(4))
def test_a_target_without_a_gradient_is_left_as_it_is(seed: int):
    def special(factor: float) -> Outcome:
        report = gradcheck(
            OneHot(factor), X[:, :3].numpy(), np.eye(3)[[0, 2, 1, 1]], battery=True, seed=seed, raise_exception=False
        )
        return next(r.outcome for r in report.results if r.check == "special_values")

    assert special(1.0) is Outcome.PASS
    assert special(1.5) is Outcome.FAIL


# At saturation autograd stands for differences


class Softplus:
    """ln(1 + eˣ), x itself from 20 on; `lost`: where autograd does not see that."""

    def __init__(self, lost: bool = False, factor: float = 1.0) -> None:
        self.lost, self.factor, self.forwards = lost, factor, 0

    def forward(self, x):
        self.x, self.forwards = x, self.forwards + 1
        return torch.where(x > 20, x.detach() if self.lost else x, torch.log1p(torch.exp(x.clamp(max=20))))

    def backward(self, d):
        far = 0.0 if self.lost else self.factor
        return d * torch.where(self.x > 20, far, torch.sigmoid(self.x))


FAR = LayerSpec(Softplus, floats("B D", low=-60, high=60), dims={"B": (2, 3), "D": (2, 3)})


@pytest.mark.parametrize("layer", [lambda: Softplus(lost=True), lambda: Softplus(factor=1 + 1e-5)])
def test_a_fault_at_saturation_is_found(layer):
    outcomes = {r.outcome for r in check(replace(FAR, build=layer), only=("special_values", "input_gradient")).results}
    assert Outcome.FAIL in outcomes
    points = [p for case in cases(replace(FAR, build=layer), 25) for p in special_points(case) if p.bare]
    assert any(v.outcome is Outcome.FAIL for p in points for v in judged(p, Budget(FORWARDS)).values())


def test_its_right_twin_takes_few_forwards():
    for case in cases(FAR, 25):
        for point in special_points(case):
            if point.bare:
                assert {v.outcome for v in judged(point, Budget(FORWARDS)).values()} <= {Outcome.PASS}


def test_where_autograd_agrees_at_saturation_no_ladder_is_climbed(monkeypatch):
    monkeypatch.setattr(Judge, "escalated", lambda self, name: pytest.fail(f"a ladder for {name}"))
    tanh = LayerSpec(Saturated, "B D", dims={"B": (4,), "D": (3,)})
    points = [p for case in cases(tanh, 25) for p in special_points(case) if p.bare]
    assert points
    assert all(judged(p, Budget(FORWARDS)) == {} for p in points)


class Saturated:
    """tanh, whose slope 1 − a² keeps few digits where a is nearly 1."""

    def forward(self, x):
        self.a = torch.tanh(x)
        return self.a

    def backward(self, d):
        return d * (1 - self.a**2)


class Unit:
    """Each row over its norm, 0 at 0, where it jumps; the projection times `factor`."""

    def __init__(self, factor: float = 1.0, least: float = 0.0) -> None:
        self.factor, self.least = factor, least

    def forward(self, x):
        n = x.norm(dim=1, keepdim=True)
        self.far, self.n = n > self.least, torch.where(n > self.least, n, self.least or 1.0)
        self.y = x / self.n
        return self.y

    def backward(self, d):
        along = self.factor * self.y * (d * self.y).sum(1, keepdim=True)
        return torch.where(self.far, d - along, d if self.least else torch.zeros_like(d)) / self.n


@pytest.mark.parametrize("least", [0.0, 1e-12])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_unknown_at_a_jump_leaves_nothing_open(least: float, seed: int):
    def special(factor: float) -> Outcome:
        spec = LayerSpec(lambda: Unit(factor, least), "B D", name="Unit")
        return check(spec, seed=seed, only=("special_values",)).results[0].outcome

    assert special(1.0) is Outcome.PASS
    assert special(1.01) is Outcome.SKIP  # it is wrong at the values as drawn


def test_a_fault_at_zeros_is_seen_all_the_same():
    spec = LayerSpec(lambda: Sine(lambda x: x == 0), "B D", name="Sine")
    assert check(spec, only=("special_values",)).results[0].outcome is Outcome.FAIL


def test_a_jump_is_called_one():
    report = gradcheck(Unit(), torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64), raise_exception=False)
    assert report.results[0].reason == "x: 2 of 4 entries could not be resolved: the outputs jump here"


@pytest.mark.parametrize("cut", [500.0, 60.0])
@pytest.mark.parametrize("leak", [0.0, 1e-6])
def test_what_no_sum_of_gradients_would_show_is_no_fault(cut, leak):
    class Swish:
        """x σ(x) whose σ takes nothing below −cut: there the slope is the constant e⁻ᶜᵘᵗ and not σ + x σ (1 − σ)."""

        def forward(self, x):
            self.x = x
            self.s = 1 / (1 + np.exp(-np.clip(x, -cut, cut)))
            return x * self.s

        def backward(self, d):
            y = self.x * self.s
            return d * (y + self.s * (1 - y) + leak * (np.abs(self.x) > cut))

    report = check(LayerSpec(Swish, "B D"), only=["special_values"])
    assert report.ok == (leak == 0), report


class Product:
    """q k in NumPy; wrong where the two are the same."""

    def __init__(self, same: float = 1.0) -> None:
        self.same = same

    def forward(self, q, k):
        self.q, self.k = q, k
        return q * k

    def backward(self, d):
        return d * self.k, d * self.q * (self.same if np.array_equal(self.q, self.k) else 1.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("same", [1.0, 2.0])
@pytest.mark.parametrize("large", [False, True])
def test_inputs_of_one_shape_are_equal_at_some_points(same, seed, large):
    dims = {"D": [66]} if large else {}
    spec = LayerSpec(lambda: Product(same), ("B D", "B D"), name="Product", dims=dims)
    [found] = check(spec, only="special_values", seed=seed).results
    assert found.outcome is (Outcome.PASS if same == 1 else Outcome.FAIL)
    assert ("k equal to q" in found.reason) is (same != 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_cotangent_that_happens_to_lie_within_1_is_not_said_to_be_clipped(diagnosed, seed):
    report = check(LayerSpec(AtTheInput, "B D"), examples=12, seed=seed)
    said = [s for r in report.failures if r.finding for s in r.finding.diagnosis]
    assert not any("clipped" in s for s in said), said


class Routed:
    """The best of three experts, times its probability; at an example of zeros all tie, and the first is taken."""

    def __init__(self, D: int, at_zero: float = 1.0) -> None:
        g = torch.Generator().manual_seed(0)
        self.gate = torch.randn(D, 3, generator=g, dtype=torch.float64)
        self.experts = torch.randn(3, D, D, generator=g, dtype=torch.float64)
        self.at_zero = at_zero

    def forward(self, x):
        self.x, self.p = x, (x @ self.gate).softmax(1)
        self.k = self.p.argmax(1)
        self.q, self.W = self.p.gather(1, self.k[:, None]), self.experts[self.k]
        self.y = torch.einsum("bd,bde->be", x, self.W)
        return self.q * self.y

    def backward(self, d):
        chosen = torch.nn.functional.one_hot(self.k, 3)
        logits = (d * self.y).sum(1, keepdim=True) * self.q * (chosen - self.p)
        self.dgate = self.x.T @ logits
        self.dexperts = torch.zeros_like(self.experts).index_add_(0, self.k, self.x[:, :, None] * (d * self.q)[:, None])
        dx = logits @ self.gate.T + torch.einsum("be,bde->bd", d * self.q, self.W)
        return torch.where((self.x == 0).all(1, keepdim=True), self.at_zero * dx, dx)


@pytest.mark.parametrize("at_zero", [1.0, 3.0])
def test_a_choice_at_a_kink_that_autograd_makes_too_is_no_fault(at_zero):
    spec = LayerSpec(lambda D: Routed(D, at_zero), "3 D", name="Routed", dims={"D": [2]})
    assert bool(check(spec, examples=8, only="special_values")) is (at_zero == 1)


class Affine:
    """γ x + β; `x` is what stands for the input in γ's gradient, and `of` what becomes of all gradients."""

    def __init__(self, D: int, fault: str = "") -> None:
        self.gamma, self.beta, self.fault = np.ones(D), np.zeros(D), fault

    def forward(self, x):
        self.x, self.y = x, self.gamma * x + self.beta
        return self.y

    def backward(self, d):
        x = self.x
        if self.fault == "inverted":  # what a layer does that keeps its output alone
            x = (self.y - self.beta) / np.where(self.gamma == 0, 1, self.gamma)
        self.dgamma, self.dbeta = (d * x).sum(0), d.sum(0)
        if self.fault == "no bias yet" and not self.beta.any():
            self.dbeta = np.zeros_like(self.beta)
        gamma = np.abs(self.gamma) if self.fault == "scale taken for positive" else self.gamma
        return d * gamma * (1.1 if self.fault == "no scale yet" and (self.gamma == 1).all() else 1)


STARTING = {
    "": "",
    "inverted": "gamma, at zeros in",
    "no bias yet": "beta, at",
    "no scale yet": "x, at gamma, beta as the layer begins",
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fault", STARTING)
def test_parameters_are_zero_and_as_the_layer_begins_at_some_points(fault, seed):
    spec = LayerSpec(lambda D: Affine(D, fault), "B D", name="Affine")
    [found] = check(spec, only="special_values", seed=seed).results
    assert found.outcome is (Outcome.FAIL if fault else Outcome.PASS), found.reason
    assert STARTING[fault] in found.reason


class Spread(Affine):
    """log γ + x/γ, which no negative γ has."""

    def forward(self, x):
        self.x = x
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(self.gamma) + x / self.gamma

    def backward(self, d):
        self.dgamma = (d * (1 / self.gamma - self.x / self.gamma**2)).sum(0)
        return d / self.gamma


SIGNED = 1
"""A seed whose point of parameters has other signs in γ."""


@pytest.mark.parametrize("layer", [Affine(3), Spread(3), Affine(3, "scale taken for positive")])
def test_a_scale_that_begins_positive_is_negative_at_some_points(layer):
    x = np.random.default_rng(0).standard_normal((4, 3))
    report = gradcheck(layer, x, battery=True, seed=SIGNED, raise_exception=False)
    [found] = [r for r in report.results if r.check == "special_values"]
    assert found.outcome is (Outcome.FAIL if layer.fault else Outcome.PASS), found.reason
    assert ("at other signs in gamma" in found.reason) is bool(layer.fault)
