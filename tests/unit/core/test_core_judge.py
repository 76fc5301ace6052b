"""The verdict: FAIL only outside the bound, PASS only at the resolution, INCONCLUSIVE otherwise; kinks, zeros, noise."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import core_layers as layers
import numpy as np
import pytest
import torch
from torch import Tensor

from harness import Outcome, Report, gradcheck
from harness.case import Case
from harness.conventions import subject_of
from harness.judgement.judge import Judge
from harness.judgement.surroundings import derivative
from harness.oracles.differences import NOISE_STEP, Differences
from harness.oracles.estimate import Estimate
from harness.request import Request

PASS, FAIL, INCONCLUSIVE, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.SKIP
F64 = torch.float64
Function = Callable[[Tensor], Tensor]
X = torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(0))


def layer(f: Function, derivative: Function, hidden: bool = False) -> Any:
    """y = f(x) with a backward that multiplies by `derivative`; `hidden`: out of autograd's sight."""

    def run(x: Tensor) -> tuple[Tensor, Any]:
        return f(x.detach() if hidden else x), lambda dy: dy * derivative(x.detach())

    return run


def judged(f: Function, derivative: Function, x: Tensor = X, **more: Any) -> tuple[Outcome, str]:
    """Outcome and reason of the input's gradient."""
    hidden = more.pop("hidden", False)
    return of(gradcheck(layer(f, derivative, hidden), x, raise_exception=False, **more), "input_gradient")


def of(report: Report, check: str) -> tuple[Outcome, str]:
    return next((r.outcome, r.reason) for r in report.results if r.check == check)


def differences(f: Function, x: Tensor, seed: int = 0) -> Differences:
    subject = subject_of(Request(f, (x,)))
    return Differences(Case(subject, subject.values(), {}, seed=seed))


# The three outcomes


@pytest.mark.parametrize("hidden", [False, True], ids=["with autograd", "alone"])
@pytest.mark.parametrize("factor", [1 + 1e-5, 1 - 1e-4, 0.5, -1.0, 0.0])
def test_gradient_outside_the_bound_fails(factor, hidden):
    assert judged(torch.sin, torch.cos, hidden=hidden)[0] is PASS
    assert judged(torch.sin, lambda x: factor * torch.cos(x), hidden=hidden)[0] is FAIL


@pytest.mark.parametrize("hidden", [False, True], ids=["with autograd", "alone"])
def test_single_wrong_entry_fails(hidden):
    def one_off(x: Tensor) -> Tensor:
        d = torch.cos(x)
        d.view(-1)[5] += 1e-4
        return d

    report = gradcheck(layer(torch.sin, one_off, hidden), X, raise_exception=False)
    finding = report.failures[0].finding
    assert finding.where == ("x", (1, 1))
    assert (finding.wrong, finding.total) == (1, 12)
    assert abs(finding.analytic - finding.expected) > finding.allowed


@pytest.mark.parametrize("hidden", [False, True], ids=["with autograd", "alone"])
@pytest.mark.parametrize("factor", [1 + 1e-4, 0.5, -1.0])
def test_wrong_gradient_that_rounding_hides_is_no_pass(factor, hidden):
    outcome, _ = judged(lambda x: 1e14 + torch.sin(x), lambda x: factor * torch.cos(x), hidden=hidden, resolution=1e-6)
    assert outcome is not PASS


def test_claim_of_zero_that_rounding_hides_is_no_pass():
    assert judged(lambda x: 1e14 + torch.sin(x), lambda x: 0 * x, hidden=True, resolution=1e-6)[0] is not PASS


@pytest.mark.parametrize("size", [1e8, 1e10, 1e11])
def test_wrong_gradient_inside_the_bound_is_inconclusive_and_says_why(size):
    outcome, reason = judged(lambda x: (size + torch.sin(x)) - size, lambda x: (1 + 1e-9) * torch.cos(x), hidden=True)
    assert outcome is INCONCLUSIVE
    assert "the forward's own rounding hides" in reason


@pytest.mark.parametrize("size", [1e6, 1e8, 1e10, 1e11])
def test_right_gradient_that_rounding_hides_is_no_failure(size):
    assert judged(lambda x: (size + torch.sin(x)) - size, torch.cos, hidden=True)[0] is not FAIL


COARSE: dict[str, Function] = {
    "offset 1e12": lambda x: (1e12 + torch.sin(x)) - 1e12,
    "float16": lambda x: torch.sin(x.half()).to(x),
    "bfloat16": lambda x: torch.sin(x.bfloat16()).to(x),
}


@pytest.mark.parametrize("f", COARSE.values(), ids=COARSE)
def test_right_gradient_of_a_coarsely_rounded_function_is_no_failure(f):
    assert all(judged(f, torch.cos, hidden=True, seed=seed)[0] is not FAIL for seed in range(4))


def test_right_gradient_of_a_function_rounded_to_three_decimals_is_no_failure():
    def rounded(x: Tensor) -> Tensor:
        return torch.round(torch.sin(x), decimals=3)

    assert all(judged(rounded, torch.cos, hidden=True, seed=seed)[0] is not FAIL for seed in range(4))


def test_coarse_wrong_gradient_is_seen_through_rounding():
    assert judged(lambda x: (1e10 + torch.sin(x)) - 1e10, lambda x: 0.9 * torch.cos(x), hidden=True)[0] is FAIL


def test_resolution_that_is_reported_was_reached():
    report = gradcheck(layer(torch.sin, torch.cos, hidden=True), X)
    assert 0 < report.results[0].tensors["x"] <= 1e-6


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0, 1e5])
def test_verdict_does_not_depend_on_the_unit_of_the_input(scale):
    x = scale * X
    f, d = (lambda t: torch.sin(t / scale)), (lambda t: torch.cos(t / scale) / scale)
    assert judged(f, d, x, hidden=True)[0] is PASS
    assert judged(f, lambda t: (1 + 1e-4) * d(t), x, hidden=True)[0] is FAIL


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradient_that_is_not_finite_fails(bad):
    outcome, reason = judged(torch.sin, lambda x: torch.where(x == x[0, 0], bad, torch.cos(x)))
    assert outcome is FAIL
    assert "1 of 12 entries of the gradient are not finite" in reason


def test_rapidly_varying_function_is_no_false_alarm():
    for rate in (30.0, 1e3, 1e4):
        assert (
            judged(lambda x, r=rate: torch.sin(r * x), lambda x, r=rate: r * torch.cos(r * x), hidden=True)[0] is PASS
        )


def test_function_that_varies_within_its_own_rounding_is_no_false_alarm():
    assert judged(lambda x: torch.sin(1e6 * x), lambda x: 1e6 * torch.cos(1e6 * x), hidden=True)[0] is not FAIL


def test_slope_of_coarse_steps_is_not_taken_for_the_slope():
    """sin(10³x) over steps of the spread looks flat: a claim of zero must not pass."""
    assert judged(lambda x: torch.sin(1e3 * x), lambda x: 0 * x, hidden=True)[0] is not PASS


# Autograd and differences


class Detached:
    """y = x · detach(sin x): autograd sees sin x alone."""

    seen = True

    def forward(self, x):
        self.x = x.detach()
        return x * torch.sin(x.detach())

    def backward(self, dy):
        return dy * (torch.sin(self.x) + (self.x * torch.cos(self.x) if self.seen else 0))


class DetachedWrong(Detached):
    """Claims what autograd sees."""

    seen = False


def test_claim_that_agrees_with_a_detached_autograd_fails():
    report = gradcheck(DetachedWrong(), X, raise_exception=False)
    assert of(report, "input_gradient")[0] is FAIL
    assert [r.check for r in report.failures] == ["input_gradient"]


def test_right_claim_sets_a_detached_autograd_aside():
    report = gradcheck(Detached(), X)
    assert of(report, "input_gradient")[0] is PASS
    outcome, reason = of(report, "autograd")
    assert outcome is SKIP
    assert reason.startswith("set aside on x: differences contradict autograd here, so part of the forward is outside")


def test_forward_out_of_the_graph_altogether_is_said():
    report = gradcheck(layer(torch.sin, torch.cos, hidden=True), X)
    assert of(report, "autograd") == (
        SKIP,
        "the forward leaves autograd's graph (detach, no_grad, .data, or NumPy inside)",
    )


# Kinks

TIES = torch.tensor([0.0, 1.5, -0.5, 0.0, 0.75, -2.0], dtype=F64)


def relu_with(at_zero: float) -> Function:
    return lambda x: torch.where(x > 0, 1.0, torch.where(x == 0, at_zero, 0.0)).to(x)


def abs_with(at_zero: float) -> Function:
    return lambda x: torch.where(x == 0, at_zero, torch.sign(x)).to(x)


@pytest.mark.parametrize("hidden", [False, True], ids=["with autograd", "alone"])
@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_slope_of_relu_at_zero_between_its_sides_is_accepted(at_zero, hidden):
    assert judged(torch.relu, relu_with(at_zero), TIES, hidden=hidden)[0] is PASS


@pytest.mark.parametrize("hidden", [False, True], ids=["with autograd", "alone"])
@pytest.mark.parametrize("at_zero", [2.0, -1.0, 1.01, -0.01])
def test_slope_of_relu_at_zero_outside_its_sides_is_refused(at_zero, hidden):
    assert judged(torch.relu, relu_with(at_zero), TIES, hidden=hidden)[0] is FAIL


@pytest.mark.parametrize("at_zero", [0.0, 1.0, -1.0])
def test_slope_of_abs_at_zero_between_its_sides_is_accepted(at_zero):
    assert judged(torch.abs, abs_with(at_zero), TIES, hidden=True)[0] is PASS


@pytest.mark.parametrize("at_zero", [2.0, -2.0])
def test_slope_of_abs_at_zero_outside_its_sides_is_refused(at_zero):
    assert judged(torch.abs, abs_with(at_zero), TIES, hidden=True)[0] is FAIL


def test_accepted_kink_is_said():
    outcome, reason = judged(torch.relu, relu_with(0.0), TIES, hidden=True)
    assert outcome is PASS
    assert "kink" in reason


def test_wrong_entry_beside_a_kink_fails():
    def wrong(x: Tensor) -> Tensor:
        return relu_with(0.0)(x) * torch.where(x == 0.75, 0.5, 1.0).to(x)

    assert judged(torch.relu, wrong, TIES, hidden=True)[0] is FAIL


def test_kink_near_the_point_is_none_at_it():
    x = torch.tensor([1e-3, -1e-4, 1e-6, -1e-7, 0.5, -2.0], dtype=F64)
    assert judged(torch.relu, relu_with(0.0), x, hidden=True)[0] is PASS
    assert judged(torch.relu, lambda t: relu_with(0.0)(t + 0.5), x, hidden=True)[0] is FAIL


class Maximum:
    """The largest entry of a row; tied entries share the gradient, or each gets it all."""

    shared = True

    def forward(self, x):
        self.top = (x == x.amax(-1, keepdim=True)).to(x)
        return x.amax(-1)

    def backward(self, dy):
        share = self.top / self.top.sum(-1, keepdim=True) if self.shared else self.top
        return share * dy[..., None]


class MaximumOfEach(Maximum):
    shared = False


def test_gradient_shared_among_ties_is_accepted_and_one_for_each_is_not():
    x = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.25, -1.0, 2.0, 0.5]], dtype=F64)
    assert of(gradcheck(Maximum(), x, raise_exception=False), "input_gradient")[0] is PASS
    assert of(gradcheck(MaximumOfEach(), x, raise_exception=False), "input_gradient")[0] is not PASS


# Smooth points that look special


@pytest.mark.parametrize("power", [2, 3, 4])
def test_power_at_its_flat_point(power):
    x = torch.tensor([0.0, 1.0, -2.0, 0.0], dtype=F64)
    f, d = (lambda t: t**power), (lambda t: power * t ** (power - 1))
    assert judged(f, d, x, hidden=True)[0] is PASS
    assert judged(f, lambda t: d(t) + (t == 0) * 1e-3, x, hidden=True)[0] is FAIL


def test_all_zero_input():
    x = torch.zeros(4, dtype=F64)
    assert judged(torch.sin, torch.cos, x, hidden=True)[0] is PASS
    assert judged(torch.sin, lambda t: 1.001 * torch.cos(t), x, hidden=True)[0] is FAIL


def test_true_zero_gradient_is_verified():
    assert judged(lambda x: 0 * x + 1, lambda x: 0 * x, hidden=True)[0] is PASS


def test_gradient_that_should_be_zero_and_is_not_fails():
    assert judged(lambda x: 0 * x + 1, lambda x: 0 * x + 1e-3, hidden=True)[0] is FAIL


class Centred:
    """(x + b) minus its mean: the gradient of b is zero by cancellation."""

    extra = 0.0

    def __init__(self) -> None:
        self.b = torch.full((3,), 0.5, dtype=F64)

    def forward(self, x):
        h = x + self.b.mean()
        return torch.tanh(h - h.mean()), None

    def __call__(self, x: Tensor, b: Tensor) -> tuple[Tensor, Any]:
        h = x + b
        y = torch.tanh(h - h.mean(0))

        def pull(dy: Tensor) -> tuple[Tensor, Tensor]:
            d = dy * (1 - y**2)
            d = d - d.mean(0)
            return d, d.sum(0) + self.extra

        return y, pull


def test_zero_by_cancellation_is_verified_and_another_is_not():
    layer = Centred()
    b = torch.full((4,), 0.5, dtype=F64)
    assert of(gradcheck(layer.__call__, X, b, raise_exception=False), "input_gradient")[0] is PASS
    layer.extra = 1e-4
    assert of(gradcheck(layer.__call__, X, b, raise_exception=False), "input_gradient")[0] is FAIL


def constant(f: Any, *inputs: Tensor) -> dict[str, Outcome]:
    """The inputs that move nothing, as the judge sees without a ladder, with their verdicts."""
    subject = subject_of(Request(f, inputs))
    judge = Judge(Case(subject, subject.values(), {}))
    outcomes = {n: v.outcome for n, v in judge.verdicts.items()}
    return {n: outcomes[n] for n in judge.constant}


@pytest.mark.parametrize("f", [lambda x: 0 * x + 1, lambda x: (0 * x).cumsum(1), lambda x: 1e14 + 1e-3 * x])
def test_what_moves_nothing_needs_no_ladder(f):
    assert constant(layer(f, lambda x: 0 * x), X) == {"x": PASS}


@pytest.mark.parametrize(
    ("f", "g", "outcome"),
    [
        (lambda x: 1e-5 * x + 1, 0.0, FAIL),  # small, and not zero
        (lambda x: 0 * x + 1, 1e-5, FAIL),  # zero, and the claim is not
        (lambda x: torch.relu(x - 3), 0.0, PASS),  # flat at the point, and not far from it: the ladder tells
        (lambda x: torch.round(x / 8), 0.0, INCONCLUSIVE),  # flat between jumps
        (lambda x: 1e8 + 1e-3 * x, 0.0, FAIL),  # small beside a constant
    ],
)
def test_what_only_seems_to_is_looked_at_in_full(f, g, outcome):
    run = layer(f, lambda x: 0 * x + g)
    assert constant(run, X) == {}
    assert of(gradcheck(run, X, raise_exception=False), "input_gradient")[0] is outcome


@pytest.mark.parametrize(("extra", "found"), [(0.0, {"b": PASS}), (1e-10, {})])
def test_a_bias_in_front_of_a_centring_needs_none_either(extra, found):
    centred = Centred()
    centred.extra = extra
    assert constant(centred.__call__, X, torch.full((4,), 0.5, dtype=F64)) == found


def test_empty_tensor_passes():
    assert judged(torch.sin, torch.cos, torch.ones(0, 3, dtype=F64))[0] is not FAIL


# Estimates


@pytest.mark.parametrize("step", [1.0, 0.1, 1e-5, 1e-9, 1e-13])
@pytest.mark.parametrize("reach", [1, 4, 16])
def test_displacement_is_exact(step, reach):
    """x ± e is off by no more than the last digit of e, however much larger x is."""
    x = torch.tensor([1e6, -3.7, 1e-9, 0.0, 0.1, 123456.789], dtype=F64)
    d = differences(lambda x: torch.sin(x), x)  # noqa: PLW0108  (a builtin names no argument)
    e = d.exact({"x": torch.full_like(x, step)}, reach)["x"]
    for k in (reach, -reach, 1, -1):
        for start, end, by in zip(x.tolist(), (x + k * e).tolist(), (k * e).tolist(), strict=True):
            assert by != 0
            assert abs(Fraction(end) - Fraction(start) - Fraction(by)) <= abs(Fraction(by)) * Fraction(2.0**-52)


def test_plain_displacement_is_not():
    off = Fraction(1e6 + 1e-6) - Fraction(1e6) - Fraction(1e-6)
    assert abs(off) > Fraction(1e-6) * Fraction(1e-6)


def test_noise_is_measured():
    quiet, loud = (differences(lambda x, s=s: (torch.sin(x) + s) - s, X).noise for s in (0.0, 1e8))
    ulp = 1e8 * torch.finfo(F64).eps
    assert float(quiet.max()) < 1e-15
    assert 0.05 * ulp < float(loud.median()) < ulp


def test_noise_of_a_narrow_computation_inside_is_measured():
    noise = differences(lambda x: torch.tanh(x.float()).double(), X).noise
    assert 1e-9 < float(noise.median()) < 1e-7


def test_noise_is_measured_where_even_steps_move_a_number_inside_by_whole_digits():
    x, one = torch.tensor([0.7], dtype=F64), torch.finfo(F64).eps  # the last digit of numbers from 1 to 2
    f = differences(lambda x: x, x)
    steep = 1000 * one / float(f.spread(f.direction(0, f.case.wanted), NOISE_STEP)["x"])
    noise = differences(lambda x: (1.0 + steep * x.abs()) - 1.0, x).noise
    assert 0.05 * one < float(noise) < one


def test_estimate_without_a_bound_does_not_know():
    assert not Estimate(1.0, float("inf")).known
    assert Estimate(1.0, 1e-9).known


def test_jump_has_no_known_derivative_or_an_error_that_covers_it():
    d = differences(lambda x: torch.floor(x) + 0 * x, torch.tensor([1.0, 2.5], dtype=F64))
    found = derivative(d, "x", 0)
    assert not found.known or abs(found.value) <= found.error


def test_judge_gives_a_verdict_on_every_wanted_tensor():
    subject = subject_of(Request(layers.closure, (X, X.T.contiguous())))
    judge = Judge(Case(subject, subject.values(), {}))
    assert {n: v.outcome for n, v in judge.verdicts.items()} == {"x": PASS, "w": PASS}


class ConstantColumn:
    """y = γ c/√(mean c² + 10⁻⁵) + β with c = x − mean x over rows, in NumPy: in a constant column it is all rounding of x."""

    def __init__(self, beta: float = 1.0, column: float = 1.0) -> None:
        self.gamma, self.beta = np.array([1.3, -0.7, 0.9]), np.array([0.2, 0.4, -0.6])
        self.factor, self.columns = beta, np.array([1.0, column, 1.0])

    def forward(self, x: np.ndarray) -> np.ndarray:
        c = x - x.mean(0)
        self.r = 1 / np.sqrt((c * c).mean(0) + 1e-5)
        self.h = c * self.r
        return self.gamma * self.h + self.beta

    def backward(self, v: np.ndarray) -> np.ndarray:
        self.dgamma, self.dbeta = (v * self.h).sum(0), self.factor * v.sum(0)
        d = v * self.gamma
        return self.columns * self.r * (d - d.mean(0) - self.h * (d * self.h).mean(0))


@pytest.mark.parametrize(
    ("factors", "wrong"),
    [({}, ()), ({"beta": 1 + 1e-5}, ("parameter_gradient",)), ({"column": 1 + 1e-5}, ("input_gradient",))],
    ids=["right", "beta", "column"],
)
def test_rounding_of_other_tensors_or_farther_away_is_not_held_against_one(
    factors: dict[str, float], wrong: tuple[str, ...]
) -> None:
    x = 1e4 * np.array([[1.0, 1, -1], [-1, 1, -1], [1, 1, 1], [1, 1, -1]])
    report = gradcheck(ConstantColumn(**factors), x, raise_exception=False)
    for check in ("input_gradient", "parameter_gradient"):
        outcome = next(r.outcome for r in report.results if r.check == check)
        assert outcome is (FAIL if check in wrong else PASS)


class Inner32:
    """tanh in float32 inside a float64 interface, where fine steps cross no quantum."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.y = np.tanh(x.astype(np.float32)).astype(np.float64)
        return self.y

    def backward(self, v: np.ndarray) -> np.ndarray:
        return v * (1 - self.y**2)


def test_an_output_that_stands_still_at_fine_steps_keeps_the_noise_of_coarse_ones() -> None:
    x = np.linspace(-2.0, 2.0, 8) + 1e-9
    subject = subject_of(Request(Inner32(), (x,)))
    f = Differences(Case(subject, subject.values(), subject.buffers))
    assert torch.equal(f.alone("x").noise, f.measured("x", f.scales["x"]).noise)
    assert float(f.noise.median()) > 1e-9


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-5], ids=["right", "wrong"])
def test_truncation_that_adds_up_over_many_entries_is_extrapolated(factor: float, monkeypatch) -> None:
    escalated: list[str] = []
    original = Judge.escalated
    monkeypatch.setattr(Judge, "escalated", lambda self, n: (escalated.append(n), original(self, n))[1])
    x = torch.randn(300, 400, dtype=F64, generator=torch.Generator().manual_seed(1))
    made = layer(lambda z: torch.sin(30 * z), lambda z: factor * 30 * torch.cos(30 * z))
    assert gradcheck(made, x, raise_exception=False).ok is (factor == 1.0)
    assert bool(escalated) is (factor != 1.0)


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-5], ids=["right", "wrong"])
def test_two_steps_extrapolated_stand_alone(factor: float) -> None:
    x = torch.randn(20, 20, dtype=F64, generator=torch.Generator().manual_seed(1))
    subject = subject_of(Request(layer(lambda z: torch.sin(8 * z), lambda z: factor * 8 * torch.cos(8 * z)), (x,)))
    judge = Judge(Case(subject, subject.values(), subject.buffers))
    (verdict,) = judge.verdicts.values()
    assert verdict.outcome is (PASS if factor == 1.0 else FAIL)
    assert ("trusted" in vars(judge)) is (factor != 1.0)  # autograd is asked only where they don't agree


class Apart:
    """Two outputs of very different size, each with its own parameter; the gradient of a is `factor` times what it should be."""

    def __init__(self, large: float, factor: float) -> None:
        self.a, self.b = (torch.tensor([t], dtype=torch.float64) for t in (large, 1 / large))
        self.factor = factor

    def forward(self, x):
        self.x = x
        return self.a * torch.sin(x), self.b * torch.cos(x)

    def backward(self, g, h):
        self.da, self.db = (t.sum().reshape(1) for t in (self.factor * g * torch.sin(self.x), h * torch.cos(self.x)))
        return g * self.a * torch.cos(self.x) - h * self.b * torch.sin(self.x)


@pytest.mark.parametrize("large", [1e6, 1e12])
@pytest.mark.parametrize(
    ("factor", "outcome"), [(1.0, Outcome.PASS), (1.0001, Outcome.FAIL), (2.0, Outcome.FAIL), (0.0, Outcome.FAIL)]
)
def test_an_output_that_stands_still_hides_nothing_that_is_claimed_of_others(large, factor, outcome):
    """An output of 10⁻¹² beside a parameter of 10¹² might hide much; of what it might, nothing is in dispute."""
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    report = gradcheck(Apart(large, factor), x, raise_exception=False)
    assert {r.check: r.outcome for r in report.results}["parameter_gradient"] is outcome


class RootOrLine:
    """√x, and x/2 where x is negative: there autograd through the forward is NaN, for it multiplies 0 by 1/√x."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x):
        self.x = x
        return torch.where(x > 0, x.sqrt(), x / 2)

    def backward(self, dy):
        return dy * torch.where(self.x > 0, 0.5 / self.x.sqrt(), torch.full_like(self.x, 0.5 * self.factor))


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_autograd_that_gives_no_number_vouches_for_nothing(factor):
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(4, 3)
    found = {r.check: r for r in gradcheck(RootOrLine(factor), x, raise_exception=False).results}
    assert found["input_gradient"].outcome is (Outcome.PASS if factor == 1 else Outcome.FAIL)
    assert "NaN entries" in found["autograd"].reason


class SparseTable(torch.nn.Module):
    """Rows of a table, whose gradient holds the rows that were asked for alone."""

    def __init__(self, kept: float) -> None:
        super().__init__()
        self.table, self.kept = torch.nn.Embedding(5, 3, sparse=True), kept

    def forward(self, ids):
        rows = self.table(ids)
        return self.kept * rows + (1 - self.kept) * rows.detach()


@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_a_sparse_gradient_is_judged_as_a_dense_one(kept):
    report = gradcheck(SparseTable(kept), torch.tensor([0, 2, 2, 4]), raise_exception=False)
    [found] = [r for r in report.results if r.check == "parameter_gradient"]
    assert found.outcome is (Outcome.PASS if kept == 1 else Outcome.FAIL), found.reason
