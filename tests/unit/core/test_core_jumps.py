"""What stands still beside something that moves: jumps of numbers inside that no output shows."""

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
