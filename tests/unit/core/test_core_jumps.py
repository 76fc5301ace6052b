"""What stands still beside something that moves: jumps of numbers inside that no output shows."""

import numpy as np
import pytest
import torch
from diagnosed import Of, randn

from harness import LayerSpec, Outcome, check, gradcheck


def phases(x):
    return 1e-3 * torch.sin(1e4 * x) + torch.cos(x + 1e6)


def slopes(x, fast=10.0, slow=1.0):
    return fast * torch.cos(1e4 * x) - slow * torch.sin(x + 1e6)


def outcome(f, slope, x):
    report = gradcheck(Of(f, lambda d, x, y: d * slope(x)), x, raise_exception=False)
    return next(r.outcome for r in report.results if r.check == "input_gradient")


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-6, 1e-7, 1e-8])
def test_a_part_beside_a_large_number_inside_stands_still_and_refutes_nothing(size):
    seeds = range(3)
    assert Outcome.FAIL not in [outcome(phases, slopes, size * randn(3, 2, seed=s)) for s in seeds]


@pytest.mark.parametrize("size", [1e-5, 1e-7])
@pytest.mark.parametrize("wrong", [{"fast": 9.0}, {"fast": 0.0}, {"fast": -10.0}])
def test_what_is_wrong_beside_it_is_failed(size, wrong):
    assert outcome(phases, lambda x: slopes(x, **wrong), size * randn(3, 2)) is Outcome.FAIL


def test_a_surrogate_of_fine_steps_is_no_rounding():
    def coarse(x):
        return torch.round(1e6 * x) / 1e6 + torch.sin(1e4 * x)

    assert outcome(coarse, lambda x: 1 + 1e4 * torch.cos(1e4 * x), 1e-8 * randn(3, 2)) is not Outcome.PASS


class Cup:
    """√(1 + x²) − 1 beside a hinge, in which x² is lost below 10⁻⁸; `by` is what its backward multiplies the former by."""

    def __init__(self, by=1.0):
        self.by = by

    def forward(self, x):
        self.x = x.numpy(force=True).copy()
        a = self.x
        y = (1 + a * a) ** 0.5 - 1 + 2 * (a > 1) * (a - 1) + (-a).clip(0)
        return torch.as_tensor(y)

    def backward(self, d):
        a = self.x
        return d * torch.as_tensor(self.by * a / (1 + a * a) ** 0.5 + 2 * (a > 1) - (a < 0))


def test_what_is_lost_in_one_beside_a_hinge_is_no_fault():
    def failed(by):
        spec = LayerSpec(lambda: Cup(by), "B D", name="Cup")
        return [
            r
            for r in check(spec, seed=1, only=("special_values", "input_gradient")).results
            if r.outcome is Outcome.FAIL
        ]

    assert not failed(1.0)
    assert failed(1.001)


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.045 * x**3)))


def gelu_slope(x, beyond=0.0, by=1.0):
    t = torch.tanh(0.8 * (x + 0.045 * x**3))
    g = 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * 0.8 * (1 + 0.135 * x**2)
    return torch.where(x < beyond, by * g, g)


SHIFTED = [randn(6, 6, seed=s) - 5.5 for s in range(6)]


@pytest.mark.parametrize("x", SHIFTED)
def test_a_staircase_whose_steps_have_a_slope_of_their_own_refutes_nothing(x):
    # 1 + tanh near −7 is a few hundred last digits of 1, times x
    assert outcome(gelu, gelu_slope, x) is not Outcome.FAIL


def test_what_stands_above_its_steps_is_failed():
    found = [outcome(gelu, lambda x: gelu_slope(x, beyond=-4.5, by=1.01), x) for x in SHIFTED]
    assert found == [Outcome.FAIL] * len(SHIFTED)


class ErfGelu:
    """x Φ(x), of which hardly a number is left beyond −8; `by` is what its backward multiplies the gradient by."""

    def __init__(self, by=1.0):
        self.by = by

    def forward(self, x):
        self.x = x
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    def backward(self, d):
        density = torch.exp(-self.x * self.x / 2) / (2 * torch.pi) ** 0.5
        return self.by * d * (0.5 * (1 + torch.erf(self.x / 2**0.5)) + self.x * density)


def test_what_autograd_says_too_is_not_refuted_in_no_entry():
    def found(by):
        spec = LayerSpec(lambda: ErfGelu(by), "B D", name="ErfGelu")
        return check(spec, examples=25, seed=3, only=("special_values", "input_gradient")).failures

    assert not found(1.0)
    assert found(1.001)


class Bump:
    """x σ (1 − σ), where σ near 1 has its last digits; `by` is what its backward multiplies the gradient by."""

    def __init__(self, by=1.0):
        self.by = by

    def forward(self, x):
        self.x, self.s = x, 1 / (1 + torch.exp(-x))
        return x * (1 - self.s) * self.s

    def backward(self, d):
        return self.by * d * (1 - self.s) * self.s * (1 + self.x * (1 - 2 * self.s))


def test_values_of_many_sizes_are_held_each_to_what_its_staircase_shows():
    def found(by):
        return check(LayerSpec(lambda: Bump(by), "B D", name="Bump"), examples=25, only=("input_gradient",)).failures

    assert not found(1.0)
    assert found(1.0001)


def test_a_plateau_that_ends_in_a_jump_is_said_to_be_one():
    """x beyond ±½, else 0: of its slope at 0 differences say as much as of x rounded to integers; rounding hides nothing."""

    def hard_shrink(x):
        return np.where(np.abs(x) > 0.5, x, 0 * x), lambda v: v * (np.abs(x) > 0.5)

    report = gradcheck(hard_shrink, np.zeros((4, 5)), raise_exception=False)
    assert report.results[0].outcome is Outcome.INCONCLUSIVE
    assert "no output moves until it jumps" in report.results[0].reason
