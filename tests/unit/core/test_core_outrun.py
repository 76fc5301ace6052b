"""Outputs that vary faster than the steps, beside one whose last digit hides that from their sum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness import Outcome, gradcheck

X = torch.tensor([[835.2728, 83.8522, 126.1682]], dtype=torch.float64)
LEVELS = torch.tensor([[2.4e9, 3.3e10, 1.6e16]], dtype=torch.float64)


class FastBesideLarge:
    """cos(s² + s) + s + c for the sum s of a row: c has one entry of 10¹⁶."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.s = x.sum(-1, keepdim=True)
        return torch.cos(self.s**2 + self.s) + self.s + LEVELS

    def backward(self, g: Tensor) -> Tensor:
        slope = 1 - torch.sin(self.s**2 + self.s) * (2 * self.s + 1)
        return self.factor * (g * slope).sum(-1, keepdim=True).expand(-1, 3)


class ThousandTimes(FastBesideLarge):
    """No speed of the outputs that can be looked at explains that."""

    factor = 1000.0


class SlowBesideLarge(FastBesideLarge):
    """s + c, whose slope is there at every step."""

    def forward(self, x: Tensor) -> Tensor:
        self.s = x.sum(-1, keepdim=True)
        return self.s + LEVELS

    def backward(self, g: Tensor) -> Tensor:
        return self.factor * g.sum(-1, keepdim=True).expand(-1, 3)


class SlowAndThousandTimes(SlowBesideLarge):
    """Its wrong twin."""

    factor = 1000.0


@pytest.mark.parametrize("seed", range(4))
def test_a_slope_that_the_large_output_hides_is_not_refuted_from_afar(seed: int):
    report = gradcheck(FastBesideLarge(), X, seed=seed, raise_exception=False)
    assert not report.failures


@pytest.mark.parametrize("wrong", [ThousandTimes, SlowAndThousandTimes])
def test_what_no_speed_explains_is(wrong: type[FastBesideLarge]):
    report = gradcheck(wrong(), X, raise_exception=False)
    assert report.results[0].outcome is Outcome.FAIL
