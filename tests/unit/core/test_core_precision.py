"""The precision checks: what they say where they do not apply, what they find, and what they cost."""

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, floats, gradcheck
from harness.faults import Fault, Faulty, regraded
from harness.low_precision.rounding import Rounding, last_digit

DTYPES = ("float32", "bfloat16", "float16")
X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Square:
    """x²; `factor` is what its backward multiplies by in a dtype other than float64."""

    def __init__(self, factor=1.0, takes=(torch.float64, torch.float32, torch.bfloat16, torch.float16)) -> None:
        self.factor, self.takes, self.calls = factor, takes, 0

    def forward(self, x):
        if isinstance(x, torch.Tensor) and x.dtype not in self.takes:
            raise TypeError(f"Square: found dtype {x.dtype}")
        self.x = x
        return x * x

    def backward(self, d):
        g = 2 * self.x * d
        return g if g.dtype == torch.float64 else self.factor * g


def results(layer, *inputs, **more):
    report = gradcheck(layer, *(inputs or (X,)), battery=True, raise_exception=False, **more)
    return {r.check: r for r in report.results}


def test_every_dtype_is_verified():
    found = results(Square())
    assert {found[d].outcome for d in DTYPES} == {Outcome.PASS}
    assert found["float32"].tensors["x"] < 1e-5 < found["float16"].tensors["x"] < found["bfloat16"].tensors["x"] < 0.5


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0])
def test_its_wrong_twin_is_failed_and_the_finding_says_where(factor):
    found = results(Square(factor))
    assert {found[d].outcome for d in DTYPES} == {Outcome.FAIL}
    assert found["input_gradient"].outcome is Outcome.PASS
    assert "rounding explains" in found["bfloat16"].reason
    assert "right in float64 at the same numbers, wrong in bfloat16" in str(found["bfloat16"].finding)


def test_a_fault_goes_with_the_layer_into_another_dtype():
    twice = Fault("twice", "input_gradient", regraded("input", lambda g, x: 2 * g if g.dtype == torch.float16 else g))
    found = results(Faulty(Square(), twice))
    assert [found[d].outcome for d in DTYPES] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]


def test_what_is_wrong_in_float64_is_not_blamed_on_precision():
    class Wrong(Square):
        def backward(self, d):
            return 3 * self.x * d

    found = results(Wrong())
    assert {found[d].outcome for d in DTYPES} == {Outcome.SKIP}
    assert found["float32"].reason == "wrong in float64 already: x"


def test_a_dtype_that_the_layer_does_not_take():
    found = results(Square(takes=(torch.float64, torch.float32)))
    assert found["float32"].outcome is Outcome.PASS
    assert found["bfloat16"].outcome is Outcome.SKIP
    assert "found dtype torch.bfloat16" in found["bfloat16"].reason


def test_what_overflows_is_for_wider_dtypes():
    found = results(Square(), 1e4 * X)
    assert found["float16"].outcome is Outcome.SKIP
    assert "the outputs are not finite" in found["float16"].reason
    assert found["bfloat16"].outcome is Outcome.PASS


class Textbook:
    """Rows normalised, backward by the chain over σ² as in the paper: (σ² + ε) to the −3/2 is 3·10⁷ on a constant row."""

    def __init__(self, lib=torch, factor=1.0):
        self.lib, self.factor = lib, factor  # the factor is for float16 alone

    def forward(self, x):
        self.c = x - x.mean(1)[:, None]
        self.v = (self.c**2).mean(1)[:, None] + 1e-5
        return self.c / self.lib.sqrt(self.v)

    def backward(self, d):
        n = d.shape[1]
        dv = (d * self.c).sum(1)[:, None] * -0.5 * self.v**-1.5
        dc = d / self.lib.sqrt(self.v) + 2 * self.c * dv / n
        g = dc - dc.sum(1)[:, None] / n
        return g * self.factor if d.dtype in (torch.float16, np.float16) else g


ROWS = torch.cat([X, torch.ones(1, 4, dtype=torch.float64)])


@pytest.mark.parametrize("lib", [torch, np])
def test_what_only_backward_takes_out_of_range_is_a_fault_under_the_promise_stable(lib):
    found = results(Textbook(lib), ROWS if lib is torch else ROWS.numpy())
    assert found["float16"].outcome is Outcome.SKIP
    assert (
        'numbers inside backward leave the range of float16, which is a fault under the promise "stable"'
        in found["float16"].reason
    )
    assert found["float32"].outcome is Outcome.PASS


class Squash:
    """x |x| / (1 + x²), whose derivative divides by (1 + x²)²: infinite in float16 from |x| = 16 on, so that all is 0 there. By
    `factor` it is off in float16."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x):
        self.x = x
        return x * (x.abs() / (1 + x**2))

    def backward(self, d):
        g = 2 * d * self.x.abs() / (1 + self.x**2) ** 2
        return g * self.factor if d.dtype is torch.float16 else g


def test_what_is_divided_by_a_number_out_of_range_is_lost_though_nothing_is_infinite_in_the_end():
    large, small = (torch.tensor([row], dtype=torch.float64) for row in ([17.0, -18, 17.5], [0.5, -2.0, 3.0]))
    found = results(Squash(), large)["float16"]
    assert found.outcome is Outcome.SKIP
    assert "numbers inside backward leave the range" in found.reason
    assert results(Squash(), small)["float16"].outcome is Outcome.PASS
    assert results(Squash(1.5), small)["float16"].outcome is Outcome.FAIL


def test_under_that_promise_it_is_failed():
    def float16(*promises):
        return check(LayerSpec(Textbook, "B D", promises=promises, name="Textbook"), only=("float16",)).results[0]

    assert float16().outcome is Outcome.PASS
    assert float16("stable").outcome is Outcome.FAIL
    assert "are not finite in float16" in float16("stable").reason


def test_what_is_not_finite_though_nothing_leaves_the_range_is_failed():
    found = results(Textbook(factor=float("nan")))
    assert found["float16"].outcome is Outcome.FAIL
    assert "20 of 20 entries are not finite in float16" in found["float16"].reason


def test_numpy_has_no_bfloat16():
    class Cube:
        def forward(self, x):
            self.x = x
            return np.power(x, 3)

        def backward(self, d):
            return 3 * self.x**2 * d

    found = results(Cube(), X.numpy())
    assert [found[d].outcome for d in DTYPES] == [Outcome.PASS, Outcome.SKIP, Outcome.PASS]


def test_a_layer_that_answers_in_float64_computes_in_no_lower_dtype():
    class Wide(Square):
        def forward(self, x):
            self.x = x
            return (x * x).double()

        def backward(self, d):
            return 2 * self.x * d

    found = results(Wide())
    assert {found[d].outcome for d in DTYPES} == {Outcome.SKIP}
    assert "its outputs are float64" in found["float32"].reason


def test_backward_raising_in_a_dtype_that_forward_takes_is_its_fault():
    class Stuck(Square):
        def backward(self, d):
            if d.dtype == torch.bfloat16:
                raise ValueError("no bfloat16 here")
            return 2 * self.x * d

    found = results(Stuck())
    assert found["bfloat16"].outcome is Outcome.FAIL
    assert "backward raised" in found["bfloat16"].reason


def test_backward_that_asks_for_a_kernel_which_numpy_has_not_is_not_failed():
    class Solves(Square):
        def backward(self, d):
            return np.linalg.solve(np.eye(len(d), dtype=d.dtype), 2 * self.x * d)

    found = results(Solves(), X.numpy())
    assert found["float16"].outcome is Outcome.SKIP
    assert "float16 is unsupported in linalg" in found["float16"].reason
    assert found["float32"].outcome is Outcome.PASS


def test_draws_that_depend_on_the_dtype_are_said():
    class Drop:
        def forward(self, x):
            # a stream of its own for each dtype
            torch.rand(x.element_size(), dtype=torch.float64)
            self.m = (torch.rand(x.shape, dtype=torch.float64) > 0.5).to(x) * 2
            return self.m * x

        def backward(self, d):
            return self.m * d

    found = results(Drop())
    assert {found[d].outcome for d in DTYPES} == {Outcome.SKIP}
    assert "draws otherwise" in found["float32"].reason


def test_nothing_lower_than_the_dtype_it_is_judged_in():
    found = results(Square(), dtype="float32")
    assert found["float32"].outcome is Outcome.SKIP
    assert found["float32"].reason == "the layer is judged in float32 by every other check"
    assert found["bfloat16"].outcome is Outcome.PASS


def test_the_cost_of_three_dtypes():
    calls = {"forward": 0, "backward": 0}

    class Counted(Square):
        def forward(self, x):
            calls["forward"] += 1
            return super().forward(x)

        def backward(self, d):
            calls["backward"] += 1
            return super().backward(d)

    spec = LayerSpec(build=Counted, inputs="B D", name="Counted")
    assert check(spec, examples=1, only=("input_gradient",)).ok
    alone = dict(calls)
    calls.update(forward=0, backward=0)
    assert check(spec, examples=1, only=(*DTYPES, "input_gradient")).ok
    assert calls["forward"] - alone["forward"] <= 40
    assert calls["backward"] - alone["backward"] <= 40


def test_a_last_digit():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        t = torch.tensor([1.0, 1.5, -3.0, 0.0], dtype=dtype)
        eps = torch.finfo(dtype).eps
        assert last_digit(t, dtype).tolist() == [eps, eps, 2 * eps, 0.0]
        up = (t.double() + last_digit(t, dtype)).to(dtype)
        assert (up[:3] > t[:3]).all()


def test_rounding_reaches_what_a_forward_keeps_and_no_view():
    t = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    with Rounding(torch.bfloat16) as rounding:
        view = t[1:]
        assert not rounding.seen
        third = view / 3
        t.add_(1e-9)
    assert rounding.seen
    assert third.tolist() == (torch.tensor([2.0, 3.0], dtype=torch.float64) / 3).bfloat16().double().tolist()
    assert t.tolist() == [1.0, 2.0, 3.0]


def recomputing(factor=1.0):
    """x/rms x whose backward computes anew what it needs; of one number a row 1 − x̂² is left, in any precision."""

    class RootMeanSquareNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

        @staticmethod
        def backward(ctx, d):
            (x,) = ctx.saved_tensors
            r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
            g = r * (d - x * r * (d * x * r).mean(-1, keepdim=True))
            return g if g.dtype == torch.float64 else factor * g

    return RootMeanSquareNorm


def test_a_function_that_recomputes_is_not_failed_for_its_own_cancellation():
    x = torch.tensor([[1.541], [-0.2934], [-2.1788]])
    found = results(recomputing(), x)
    assert Outcome.FAIL not in {found[d].outcome for d in DTYPES}
    assert "only a reference can tell" in found["float32"].reason
    given = results(recomputing(), x, reference=lambda x: x / (x.square() + 1e-6).sqrt())
    assert given["float32"].outcome is Outcome.PASS


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0])
def test_its_wrong_twin_has_no_such_excuse(factor):
    found = results(recomputing(factor), X)
    assert {found[d].outcome for d in DTYPES} == {Outcome.FAIL}


class Softplus:
    """ln(1 + eˣ), its slope by way of e⁻ˣ, which overflows in float16 below −11; `factor` is for float16 alone."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x):
        self.x = x
        return np.logaddexp(0, x)

    def backward(self, d):
        g = d / (1 + np.exp(-self.x))
        return g * np.float16(self.factor) if g.dtype == np.float16 else g


def test_what_is_below_the_smallest_normal_number_may_be_lost():
    far = np.array([[-11.6, -12.0, -11.8]])
    found = results(Softplus(), far)
    assert found["float16"].outcome is Outcome.SKIP
    assert "rounding to float16 may change it by" in found["float16"].reason
    assert found["float32"].outcome is Outcome.PASS


@pytest.mark.parametrize("factor", [0.0, 2.0, -1.0])
def test_what_is_above_it_may_not(factor):
    near = np.array([[-4.6, -5.0, -4.8]])
    assert results(Softplus(), near)["float16"].outcome is Outcome.PASS
    assert results(Softplus(factor), near)["float16"].outcome is Outcome.FAIL


class LogDet:
    """log det(1 + x xᵀ) where autograd does not follow; 2 A⁻¹ x by an explicit inverse, in float32 times `factor`."""

    def __init__(self, factor=1.0):
        self.factor = factor

    @torch.no_grad()
    def forward(self, x):
        self.x, self.A = x, torch.eye(len(x), dtype=x.dtype) + x @ x.T
        return torch.logdet(self.A)

    def backward(self, d):
        return 2 * d * torch.linalg.inv(self.A) @ self.x * (1.0 if self.x.dtype == torch.float64 else self.factor)


@pytest.mark.parametrize("seed", [1, 3])
def test_an_inverse_is_off_by_the_rounding_of_its_factors(seed):
    def in_float32(factor):
        spec = LayerSpec(lambda: LogDet(factor), "B N", name="LogDet")
        return check(spec, seed=seed, only=("float32",)).results[0].outcome

    assert in_float32(1.0) is not Outcome.FAIL
    assert in_float32(1.01) is Outcome.FAIL


class RecomputesTanh:
    """1 − tanh² of what was kept, tanh computed anew; its wrong twin through numbers of 16 bits."""

    def __init__(self, through=None):
        self.through = through

    def forward(self, x):
        self.x = x
        return torch.tanh(x)

    def backward(self, d):
        a = torch.tanh(self.x)
        if self.through is not None and a.dtype == torch.float32:
            a = a.to(self.through).to(a.dtype)
        return d * (1 - a**2)


def test_where_all_near_points_round_alike_by_one_luck_farther_ones_tell():
    """At x = 4.3869 tanh is a number of float32 to the third digit of its last place, and is that for 50 numbers around."""

    def in_float32(through):
        spec = LayerSpec(build=lambda: RecomputesTanh(through), inputs="B D", name="RecomputesTanh")
        return check(spec, examples=8, seed=0, only=("float32",)).results[0].outcome

    assert in_float32(None) is Outcome.PASS
    assert in_float32(torch.bfloat16) is Outcome.FAIL


def test_a_common_factor_in_one_precision_is_no_rounding_that_adds_up():
    many = 1 + torch.rand(40, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = results(Square(1.008), many)["float16"]
    assert found.outcome is Outcome.FAIL
    assert found.finding.diagnosis == (
        "no single entry is out, all together are: about 1.008 times what they should be",
    )


class Hot:
    """softmax(100 x) by PyTorch's kernel, where autograd can't follow; `factor`: by how much its gradient is too large in float32."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.y = torch.softmax(100 * x, -1)
        return self.y

    def backward(self, d: torch.Tensor) -> torch.Tensor:
        factor = self.factor if d.dtype == torch.float32 else 1.0
        return 100 * factor * self.y * (d - (d * self.y).sum(-1, keepdim=True))


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1.001, Outcome.FAIL)])
def test_kernels_that_round_on_the_way_are_off_by_more_than_one_rounding(factor, outcome):
    """At one seed of forty a softmax in float32 was failed by what it would be if it were rounded once."""
    report = check(LayerSpec(lambda: Hot(factor), "B D", name="Softmax4"), seed=22, only=("float32",))
    assert [r.outcome for r in report.results] == [outcome]


class OwnRows:
    """Rows of two normalised, in NumPy: of the gradient hardly anything is left, and the mean's last digit is a millionth of
    what the two differ by. By `factor` it is off below float64."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x):
        self.istd = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        self.xhat = (x - x.mean(1, keepdims=True)) * self.istd
        return self.xhat

    def backward(self, d):
        g = d - (d.mean(1, keepdims=True) + self.xhat * (d * self.xhat).mean(1, keepdims=True))
        return g * self.istd * (1 if d.dtype == np.float64 else self.factor)


@pytest.mark.parametrize("seed", [4])
def test_numpy_rounding_that_the_inputs_last_digits_decide_is_no_fault(seed):
    def float32(factor):
        spec = LayerSpec(lambda: OwnRows(factor), "B 2", name="OwnRows")
        return check(spec, only=("float32",), seed=seed).results[0]

    assert float32(1.0).outcome is Outcome.INCONCLUSIVE
    assert float32(1.5).outcome is Outcome.FAIL


class Quotient:
    """x/y, whose slope −x/y² has few digits in float16 where y is a few thousandths, and none where y is 10⁻⁴. By `factor` it is off
    in float16; a guard of 10⁻⁹ is a number that float16 has not."""

    def __init__(self, lib=torch, factor=1.0, guard=0.0):
        self.lib, self.factor, self.guard = lib, factor, guard

    def forward(self, x, y):
        self.x, self.y = x, y
        return self.lib.divide(x, y)

    def backward(self, d):
        dy = -d * self.x / self.y**2
        if self.guard:
            zero = d - d
            dy = dy * (zero + self.guard) / (zero + self.guard)
        return d / self.y, dy * self.factor if d.dtype in (torch.float16, np.float16) else dy


def thousandths(lib, size):
    found = np.random.default_rng(3).uniform(0.5, 1.5, (2, 3, 2)) * size
    return found if lib is np else torch.tensor(found)


@pytest.mark.parametrize("lib", [torch, np])
@pytest.mark.parametrize("size", [5e-4, 2e-4])
def test_what_has_few_digits_left_in_backward_is_no_fault_but_what_that_does_not_explain_is(lib, size):
    x, y = thousandths(lib, size)
    found = results(Quotient(lib), x, y)["float16"]
    assert found.outcome is Outcome.PASS
    assert found.tensors.keys() == {"x"}
    assert "numbers inside backward l" in found.reason
    if lib is torch:  # of NumPy it is not known how many
        assert results(Quotient(factor=2.0), x, y)["float16"].outcome is Outcome.FAIL or size < 1e-3
        assert results(Quotient(guard=1e-9), *(1000 * x, 1000 * y))["float16"].outcome is Outcome.FAIL
    assert results(Quotient(lib, factor=2.0), *(1000 * x, 1000 * y))["float16"].outcome is Outcome.FAIL


def test_under_the_promise_stable_it_is_one():
    domain = floats("B D", low=1e-3, high=3e-3)

    def float16(*promises):
        return check(LayerSpec(Quotient, (domain, domain), promises=promises, name="Q"), only=("float16",)).results[0]

    assert float16().outcome is not Outcome.FAIL
    assert float16("stable").outcome is Outcome.FAIL


class ByIdentity:
    """tanh x, and what it kept of each array under its id, which a later array may have too: another shape now and then."""

    def __init__(self, strays=True):
        self.calls, self.strays = 0, strays

    def forward(self, x):
        self.calls += 1
        self.y = torch.tanh(x)
        return self.y

    def backward(self, d):
        g = d * (1 - self.y**2)
        return g[:1] if self.strays and self.calls % 3 == 0 else g


def test_a_gradient_that_has_another_shape_now_and_then_is_no_error_of_the_harness():
    outcomes = {d: results(ByIdentity())[d].outcome for d in DTYPES}
    assert Outcome.ERROR not in outcomes.values(), outcomes
    assert {results(ByIdentity(strays=False))[d].outcome for d in DTYPES} == {Outcome.PASS}


class ColumnNorms:
    """Σ over columns of ‖x‖ in NumPy, which keeps the norms: x² has few digits in float16 where x is a few thousandths."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x):
        self.x, self.n = x, np.sqrt((x**2).sum(0))
        return self.n.sum()

    def backward(self):
        g = self.x / np.where(self.n > 0, self.n, 1)
        return g if g.dtype == np.float64 else g * self.factor


def test_what_has_few_digits_left_in_a_numpy_forward_is_no_fault_of_backward():
    def float16(factor):
        return check(LayerSpec(lambda: ColumnNorms(factor), "B D", name="Norms"), only=("float16",)).results[0]

    assert float16(1.0).outcome is Outcome.PASS
    assert float16(1.05).outcome is Outcome.FAIL


class ToNormal:
    """The divergence of N(m, eˡ) from N(0, 1) in NumPy: of eˡ − 1 few digits are left in float32 where l is small, and the forward
    cancels as its backward does."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, m, l):  # noqa: E741
        self.m, self.e = m, np.exp(l)
        return -0.5 * (1 + l - m * m - self.e).sum(1).mean()

    def backward(self):
        g = 0.5 * (self.e - 1) / len(self.m)
        return self.m / len(self.m), g if g.dtype == np.float64 else g * self.factor


def test_a_numpy_gradient_within_the_resolution_of_float32_is_verified_whatever_its_forward_cancels():
    def float32(factor):
        spec = LayerSpec(lambda: ToNormal(factor), ("B D", "B D"), name="ToNormal")
        return check(spec, only=("float32",)).results[0]

    assert float32(1.0).outcome is Outcome.PASS
    assert float32(1.01).outcome is not Outcome.PASS


class SingleKey:
    """Attention to one key that keeps its outputs in place of weights: of do·v − do·o nothing is left but rounding."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def forward(self, q, k, v):
        score = q @ k.T
        self.kept, self.most = (q, k, v), score.amax(1, keepdim=True)
        self.o = torch.exp(score - self.most) @ v
        return self.o

    def backward(self, do):
        q, k, v = self.kept
        p = torch.exp(q @ k.T - self.most)
        ds = p * (do @ v.T - (do * self.o).sum(1, keepdim=True)) + self.shift * (do.dtype == torch.bfloat16)
        return ds @ k, ds.T @ q, p.T @ do


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, Outcome.PASS), (1.0, Outcome.FAIL)])
def test_terms_that_cancel_exactly_in_float64_may_leave_rounding_in_lower_precision(shift, outcome):
    torch.manual_seed(2)
    q, k, v = (10 * torch.randn(1, 2, dtype=torch.float64) for _ in range(3))
    found = results(SingleKey(shift), q, k, v, seed=2)
    assert found["bfloat16"].outcome is outcome
    assert found["float16"].outcome is Outcome.PASS


class Narrow(torch.autograd.Function):
    """Takes float32 alone, and says nothing where it does not."""

    @staticmethod
    def forward(ctx, x):
        if x.dtype != torch.float32:
            raise TypeError
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    def backward(ctx, d):
        return d * torch.exp(ctx.saved_tensors[0])


@pytest.mark.parametrize(
    ("reference", "failed"),
    [
        (torch.exp, []),
        (lambda x: x.exp().sum(), ["reference"]),  # of other shapes: with it there is nothing to compare
        (lambda x: 1.1 * x.exp(), ["reference", "float32"]),
    ],
)
def test_a_backward_is_not_said_to_raise_for_a_reference_of_other_shapes(reference, failed):
    report = gradcheck(Narrow, torch.linspace(-1, 1, 12).reshape(3, 4), reference=reference, raise_exception=False)
    assert [r.check for r in report.failures] == failed
    assert "backward raised" not in str(report)
    assert str(report).endswith("in float64 TypeError")
