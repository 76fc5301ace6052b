"""The checks of the cotangent: layers that they must catch beside layers that they must not."""

import itertools

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck
from harness.case import Case
from harness.checks.cotangent import cotangent_linear
from harness.conventions import subject_of
from harness.request import Request
from harness.session import Session
from harness.tensors.layouts import channels_last, gapped, transposed

CHECKS = ("cotangent_linear", "cotangent_layout", "cotangent_scale")


class Scale:
    """2x, in torch; `seen` is what its backward makes of the cotangent."""

    def __init__(self, seen=lambda v: v):
        self.seen = seen

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * self.seen(dy)


class Centred:
    """x minus its mean over the batch, in NumPy: cotangents of equal numbers give a true zero."""

    def forward(self, x):
        return x - x.mean(0)

    def backward(self, dy):
        return dy - dy.mean(0)


class Iterated:
    """Aᵀλ = v by a fixed number of Jacobi steps, which are linear; or until a fixed residual, which are not quite."""

    def __init__(self, tolerance):
        self.A, self.tolerance = torch.eye(4).double() * 4 + 0.3 * torch.ones(4, 4).double(), tolerance

    def forward(self, x):
        return torch.linalg.solve(self.A.to(x), x.T).T

    def backward(self, dy):
        A = self.A.to(dy)
        y, D = torch.zeros_like(dy), A.diagonal()
        for _ in range(200):
            r = dy - y @ A
            if float(r.norm()) <= self.tolerance * float(dy.norm()):
                break
            y = y + r / D
        return y


def outcome(layer, check, *inputs):
    x = inputs or (torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),)
    report = gradcheck(layer, *x, battery=True, raise_exception=False)
    return next(r for r in report.results if r.check == check)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("layer", [Scale(), Iterated(1e-9)], ids=["elementwise", "iterated adjoint"])
def test_a_linear_backward_passes(layer, check):
    found = outcome(layer, check)
    assert found.outcome is Outcome.PASS, found.reason
    assert set(found.tensors) == {"x"}


@pytest.mark.parametrize("check", CHECKS)
def test_a_true_zero_in_numpy_passes(check):
    found = outcome(Centred(), check, np.random.default_rng(0).standard_normal((6, 3)))
    assert found.outcome is Outcome.PASS, found.reason


WRONG = {
    "|v|": ("cotangent_linear", torch.abs, "−v"),
    "relu v": ("cotangent_linear", torch.relu, "−v"),
    "v²": ("cotangent_linear", torch.square, "−v"),
    "clamped at 2": ("cotangent_linear", lambda v: v.clamp(-2, 2), "2v"),
    "1 for 0": ("cotangent_linear", lambda v: torch.where(v == 0, 1.0, v), "0"),
    "its first alone": ("cotangent_layout", lambda v: v.as_strided(v.shape, (v.shape[-1], 1), 0), "transposed"),
    "clipped": ("cotangent_scale", lambda v: v * min(1.0, 1e3 / float(v.norm())), "2^66"),
    "flushed": ("cotangent_scale", lambda v: torch.where(v.abs() < 1e-9, 0.0, v), "2^-66"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_backward_that_is_not_linear_fails_and_is_told_with_which_cotangent(name):
    check, seen, said = WRONG[name]
    found = outcome(Scale(seen), check)
    assert found.outcome is Outcome.FAIL
    assert said in found.reason
    assert found.finding is not None
    assert found.finding.where[0] == "x"


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1.5, Outcome.FAIL), (0.0, Outcome.FAIL)])
def test_a_backward_that_is_another_where_a_row_of_the_cotangent_is_zero_fails(factor, outcome):
    """As of a masked loss; zeros everywhere give zero all the same."""

    class Linear:
        def __init__(self, D, K):
            self.W = torch.randn(D, K, dtype=torch.float64)

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, dy):
            some = bool((dy == 0).all(1).any())
            self.dW = self.x.T @ dy * (factor if some else 1.0)
            return dy @ self.W.T

    found = check(LayerSpec(Linear, "B D", dims={"K": range(1, 5)}), only=("cotangent_linear",)).results[0]
    assert found.outcome is outcome


def test_a_backward_that_can_not_take_a_strided_cotangent_fails():
    found = outcome(Scale(lambda v: v.view(-1).view(v.shape)), "cotangent_layout")
    assert found.outcome is Outcome.FAIL
    assert "backward raised" in found.reason


ALONG = {
    "its first row for all": (lambda v: v[:1].expand_as(v) if v.stride(0) == 0 else v, Outcome.PASS),
    "its first row for all where columns are one": (
        lambda v: v[:1].expand_as(v) if v.stride(-1) == 0 else v,
        Outcome.FAIL,
    ),
    "its first column for all where rows are one": (
        lambda v: v[:, :1].expand_as(v) if v.stride(0) == 0 else v,
        Outcome.FAIL,
    ),
    "its first entry for all": (lambda v: v.flatten()[0].expand_as(v) if 0 in v.stride() else v, Outcome.FAIL),
}


@pytest.mark.parametrize("name", ALONG)
def test_a_backward_that_takes_a_cotangent_expanded_along_one_axis_for_one_number_fails(name):
    """As `y.sum(1)` and `y.mean(0)` send it; a row that stands for all rows may stand for them."""
    seen, expected = ALONG[name]
    found = check(LayerSpec(lambda: Scale(seen), "B D", name="Scale"), only=("cotangent_layout",)).results[0]
    assert found.outcome is expected
    assert expected is Outcome.PASS or "expanded along it" in found.reason


def test_a_loss_without_cotangent_is_skipped():
    class Loss:
        def forward(self, x):
            self.x = x
            return (x * x).sum()

        def backward(self):
            return 2 * self.x

    assert outcome(Loss(), "cotangent_linear").outcome is Outcome.SKIP


@pytest.mark.parametrize("lay", [transposed, gapped, channels_last])
def test_a_layout_keeps_the_values_and_changes_the_strides(lay):
    t = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    other = lay(t)
    assert torch.equal(other, t)
    assert other.stride() != t.stride()


def test_an_expanded_cotangent_is_the_same_number_to_the_last_digit():
    found = outcome(Scale(), "cotangent_layout")
    assert found.tensors == {"x": 0.0}


def test_gradients_whose_squares_underflow_are_compared():
    class Tiny(Scale):
        def forward(self, x):
            return 1e-200 * x

        def backward(self, dy):
            return (1e-200 * dy) * (1 + 1e-15 * (dy.stride(0) == 0))

    assert outcome(Tiny(), "cotangent_layout").outcome is Outcome.PASS


class Biased:
    """x + b less its mean over the batch, in NumPy: the gradient of b is a true zero, and of small x little is left."""

    def __init__(self, excess=None):
        self.b, self.excess = np.linspace(-1, 1, 6), iter(excess or itertools.repeat(0.0))

    def forward(self, x):
        z = x + self.b
        return z - z.mean(0)

    def backward(self, dy):
        g = dy - dy.mean(0)
        self.db = g.sum(0) + next(self.excess)
        return g


def beside_zero(excess=None):
    """What `cotangent_linear` says where the inputs are 1e-9, over twenty draws."""
    drawn = (1e-9 * np.random.default_rng(seed).standard_normal((4, 6)) for seed in range(20))
    subjects = (subject_of(Request(Biased(excess), (x,))) for x in drawn)
    return {cotangent_linear(Session(Case(s, s.values(), {}, seed=0))).outcome for s in subjects}


def test_the_rounding_of_a_true_zero_before_small_outputs_is_no_fault():
    assert beside_zero() == {Outcome.PASS}


def test_what_adds_up_over_calls_before_small_outputs_is_one():
    assert beside_zero(itertools.count()) == {Outcome.FAIL}


class TanhShrink:
    """x − tanh x; near 0 the gradient is what is left of d − d (1 − t²). Its wrong twin adds a share of |d|."""

    def __init__(self, share=0.0):
        self.share = share

    def forward(self, x):
        self.t = np.tanh(x)
        return x - self.t

    def backward(self, d):
        return d - d * (1 - self.t**2) + self.share * np.abs(d)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0])
def test_a_difference_of_nearly_equal_numbers_is_as_coarse_as_they(scale):
    x = scale * np.random.default_rng(0).standard_normal((4, 5))
    assert not gradcheck(TanhShrink(), x, raise_exception=False, battery=True).failures
    assert gradcheck(TanhShrink(1e-3 * scale**2), x, raise_exception=False, battery=True).failures


class Attention:
    """Softmax of scores; where one weight is 1 to the last digits, backward subtracts what is nearly equal. `of_ones` is what
    it makes of a cotangent of ones."""

    def __init__(self, d_model, of_ones=1.0):
        draw = np.random.randn
        self.Wq, self.Wk, self.Wv = (draw(d_model, d_model) / np.sqrt(d_model) for _ in range(3))
        self.of_ones = of_ones

    def forward(self, x):
        self.x, self.root = x, np.sqrt(x.shape[-1])
        self.q, self.k, self.v = x @ self.Wq, x @ self.Wk, x @ self.Wv
        s = self.q @ self.k.transpose(0, 2, 1) / self.root
        e = np.exp(s - s.max(-1, keepdims=True))
        self.a = e / e.sum(-1, keepdims=True)
        return self.a @ self.v

    def backward(self, d):
        d = d * self.of_ones if (d == 1).all() else d
        dv, da = self.a.transpose(0, 2, 1) @ d, d @ self.v.transpose(0, 2, 1)
        ds = self.a * (da - (da * self.a).sum(-1, keepdims=True)) / self.root
        dq, dk = ds @ self.k, ds.transpose(0, 2, 1) @ self.q
        self.dWq, self.dWk, self.dWv = (np.einsum("bti,btj->ij", self.x, g) for g in (dq, dk, dv))
        return dq @ self.Wq.T + dk @ self.Wk.T + dv @ self.Wv.T


@pytest.mark.parametrize(("of_ones", "outcome"), [(1.0, Outcome.PASS), (1 + 1e-3, Outcome.FAIL), (0.0, Outcome.FAIL)])
def test_what_a_saturated_softmax_leaves_is_rounded_and_no_fault(of_ones, outcome):
    """Ones give in two of 25 examples what differs by 1e-4 from the sum, and as much from multiple to multiple."""
    spec = LayerSpec(build=lambda d_model: Attention(d_model, of_ones), inputs="B T d_model")
    [result] = check(spec, only="cotangent_linear").results
    assert result.outcome is outcome


class FromOutputs:
    """Attention that keeps its outputs in place of weights. Of do·v − do·o, where a weight is 1, memory in another order leaves
    something else; `factor` is what it multiplies the gradient of v by in such memory, and `off` what it adds to it."""

    def __init__(self, factor=1.0, off=0.0):
        self.factor, self.off = factor, off

    def forward(self, q, k, v):
        self.p = torch.softmax(q @ k.T, 1)
        self.o, self.kept = self.p @ v, (q, k, v)
        return self.o

    def backward(self, do):
        q, k, v = self.kept
        ds = self.p * (do @ v.T - (do * self.o).sum(1, keepdim=True))
        strided = not (do.is_contiguous() and v.is_contiguous())
        dv = self.p.T @ do
        return ds @ k, ds.T @ q, dv * self.factor + self.off if strided else dv


@pytest.mark.parametrize("check", ["cotangent_layout", "input_layout"])
@pytest.mark.parametrize("seed", [0, 2])
def test_memory_in_another_order_leaves_other_rounding_of_what_cancels(check, seed):
    draw = np.random.default_rng(seed)
    x = [torch.tensor(30 * draw.uniform(-1, 1, size=size)) for size in ((2, 2), (2, 2), (2, 3))]

    def outcome(*wrong):
        report = gradcheck(FromOutputs(*wrong), *x, battery=True, raise_exception=False, seed=seed)
        return next(r for r in report.results if r.check == check).outcome

    assert outcome() is Outcome.INCONCLUSIVE
    assert outcome(1.001) is Outcome.FAIL
    assert outcome(1.0, 0.1) is Outcome.FAIL  # as far from multiple to multiple, and over a power of two as well


def test_what_is_zero_up_to_rounding_is_compared_to_a_finite_resolution():
    """Attention to one key: nothing is expected of q and k, and what is left has no size to be relative to."""
    draw = np.random.default_rng(0)
    x = [torch.tensor(3 * draw.uniform(-1, 1, size=size)) for size in ((3, 4), (1, 4), (1, 5))]
    report = gradcheck(FromOutputs(), *x, battery=True, raise_exception=False)
    found = {r.check: r.tensors for r in report.results if r.check in (*CHECKS, "input_layout")}
    assert all(resolution <= 1e-12 for tensors in found.values() for resolution in tensors.values())


class CubeRoot:
    """Its slope at 0 is infinite; `seen` is what its backward makes of the cotangent."""

    def __init__(self, seen=lambda v: v):
        self.seen = seen

    def forward(self, x):
        self.x = x
        return np.cbrt(x)

    def backward(self, dy):
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.seen(dy) / (3 * np.cbrt(self.x) ** 2)


@pytest.mark.parametrize(("seen", "ok"), [(lambda v: v, True), (np.abs, False), (lambda v: np.clip(v, -1, 1), False)])
def test_beside_singular_points_the_other_entries_are_compared(seen, ok):
    x = np.random.default_rng(0).normal(size=(4, 6))
    x[:, ::2] = 0.0
    report = gradcheck(CubeRoot(seen), x, battery=True, raise_exception=False)
    assert report.ok is ok
    assert ok or "cotangent_linear" in {r.check for r in report.failures}


class Weighted:
    """k x of the k-th column."""

    def __init__(self, seen=lambda v: v):
        self.seen = seen

    def forward(self, x):
        self.k = torch.arange(1, x.shape[1] + 1).to(x)
        return self.k * x

    def backward(self, dy):
        return self.k * self.seen(dy)


NUMBERS = {
    "its sum": lambda v: v.sum().expand_as(v),
    "its mean": lambda v: v.mean().expand_as(v),
    "its first entry": lambda v: v.flatten()[0].expand_as(v),
}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_backward_that_takes_one_number_of_the_cotangent_for_the_whole_fails(number):
    """It is linear; no sign, multiple or sum shows it."""
    [result] = check(LayerSpec(build=lambda: Weighted(NUMBERS[number]), inputs="B D"), only="cotangent_linear").results
    assert result.outcome is Outcome.FAIL
    assert "one number of the cotangent" in result.reason
    assert abs(result.finding.analytic) < 1e-12 < 0.1 < abs(result.finding.expected)


class Level:
    """Every output is the mean of all entries: one number of the cotangent, its sum, is all that counts."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x):
        self.shape = x.shape
        return x.mean().expand(x.shape).clone()

    def backward(self, dy):
        return torch.full(self.shape, float(dy.sum()) * self.factor / dy.numel(), dtype=dy.dtype)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_where_the_outputs_depend_on_one_number_backward_may_ask_for_one(factor):
    report = check(LayerSpec(build=lambda: Level(factor), inputs="B D"), only=("cotangent_linear", "input_gradient"))
    assert {r.check: r.outcome is Outcome.PASS for r in report.results} == {
        "cotangent_linear": True,
        "input_gradient": factor == 1.0,
    }


class Recurrent:
    """hₜ = tanh(x Uₜ + hₜ₋₁ W) in NumPy; wrong where steps without a cotangent of their own are skipped, and what comes back
    from later ones with them."""

    def __init__(self, D, skips=False):
        rng = np.random.default_rng(0)
        self.U, self.W, self.skips = rng.standard_normal((D, D)), rng.standard_normal((D, D)), skips

    def forward(self, x):
        self.x, self.h = x, [np.zeros(x[:, 0].shape)]
        for t in range(x.shape[1]):
            self.h.append(np.tanh(x[:, t] @ self.U + self.h[-1] @ self.W))
        return np.stack(self.h[1:], 1)

    def backward(self, dy):
        dx, dh = np.zeros_like(self.x), np.zeros_like(self.h[0])
        for t in reversed(range(dy.shape[1])):
            if self.skips and not dy[:, t].any():
                continue
            d = (dy[:, t] + dh) * (1 - self.h[t + 1] ** 2)
            dx[:, t], dh = d @ self.U.T, d @ self.W.T
        return dx


@pytest.mark.parametrize("skips", [False, True])
def test_steps_without_a_cotangent_pass_on_what_comes_from_later_ones(skips):
    x = np.random.default_rng(1).standard_normal((3, 4, 5))
    found = outcome(Recurrent(5, skips), "cotangent_linear", x)
    assert found.outcome is (Outcome.FAIL if skips else Outcome.PASS), found.reason
    assert ("every second index along axis 1" in found.reason) is skips


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_each_axis_of_a_cotangent_has_its_turn(skips, seed):
    spec = LayerSpec(lambda D: Recurrent(D, skips), "B T D", name="Recurrent", dims={n: range(1, 5) for n in "BTD"})
    assert bool(check(spec, only="cotangent_linear", seed=seed)) is not skips


class Both:
    """x² and the sums of its rows; wrong where the first output's cotangent is zero and the second's is taken for all."""

    def __init__(self, shortcut=False):
        self.shortcut = shortcut

    def forward(self, x):
        self.x = x
        return x * x, x.sum(1)

    def backward(self, d, s):
        if self.shortcut and not d.any():
            return np.full_like(self.x, s.sum())
        return 2 * self.x * d + s[:, None]


@pytest.mark.parametrize("shortcut", [False, True])
def test_one_output_alone_has_a_cotangent(shortcut):
    spec = LayerSpec(lambda: Both(shortcut), "B D", name="Both")
    [found] = check(spec, only="cotangent_linear").results
    assert found.outcome is (Outcome.FAIL if shortcut else Outcome.PASS), found.reason
    assert ("zero but for output" in found.reason) is shortcut


class FirstForAll(Weighted):
    """Its gradient has one entry for all: that is no fault of the cotangent's."""

    def backward(self, dy):
        return torch.full_like(dy, float((self.k * dy).flatten()[0]))


def test_one_entry_of_the_gradient_for_all_is_a_fault_of_the_gradient():
    report = check(LayerSpec(build=FirstForAll, inputs="B D"), only=("cotangent_linear", "input_gradient"))
    assert {r.check for r in report.failures} == {"input_gradient"}


class OpenTwice:
    """relu of inputs of which one is open; backward is linear, and twice as large as it should be."""

    def forward(self, x):
        self.open = x > 0
        return x * self.open

    def backward(self, d):
        return 2 * d * self.open


def test_where_one_output_alone_moves_a_factor_is_no_matter_of_one_number_of_the_cotangent():
    report = gradcheck(OpenTwice(), np.array([[0.7], [-0.4]]), battery=True, raise_exception=False)
    found = {r.check: r.outcome for r in report.results}
    assert found["input_gradient"] is Outcome.FAIL
    assert found["cotangent_linear"] is Outcome.PASS
