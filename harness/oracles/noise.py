"""The rounding of a function's outputs, measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.domain import Refused
from harness.draws import VANISHING
from harness.tensors.arrays import rms

POINTS = 5 + np.arange(12) + np.random.default_rng(0).uniform(0, 1, 12)
"""Where outputs are looked at, in steps: unevenly. Over even steps a number inside may move by a whole number of its last digits
each time, and round alike at all points: 1 + q does so in one of eleven draws."""

SMOOTH = 6
"""The degree of the polynomial that the smooth part is at close points; what twelve points leave beside it has five degrees of
freedom."""


def _beside_polynomials() -> Tensor:
    """What is left of values at `POINTS` beside the polynomial nearest to them: five rows that are orthonormal."""
    powers = np.vander((POINTS - POINTS.mean()) / 6, SMOOTH + 1, increasing=True)
    left, _, _ = np.linalg.svd(powers)
    return torch.from_numpy(left[:, SMOOTH + 1 :].T.copy())


LEFT = _beside_polynomials()


def rounding_of(change: Callable[[float], Tensor | None], y: Tensor, u: float, moving: bool = False) -> Tensor:
    """The standard deviation of each output's rounding, from changes of the outputs y over multiples of a small step
    (after Moré & Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011): what twelve close points leave beside
    a polynomial holds nothing but noise.

    Never less than half a unit in the last place, which no measurement at few points can rule out; infinite for an output
    that is rounded on purpose, and where it must be `moving` for one that stands still: its quanta are wider than the step.

    Raises:
        Refused: the function's domain ends on both sides, very near.
    """
    samples = _beside(change)
    size = float(y.abs().amax().nan_to_num(0.0)) if y.numel() else 1.0
    size = size if 0 < size < VANISHING else 1.0  # else the squares below would underflow
    samples = samples / size
    measured = (LEFT.to(samples) @ samples).square().mean(0).sqrt() * size
    # an output that stands still from point to point and jumps by more than 2⁻¹² of its size is rounded on purpose
    changes = torch.diff(samples, dim=0).abs()
    stairs = (changes == 0).sum(0) >= 8
    measured[stairs & moving] = torch.inf
    measured[stairs & (changes.amax(0) > 2.0**-12 * rms(y / size))] = torch.inf
    floor = y.abs() * u
    return torch.maximum(torch.nan_to_num(measured, nan=torch.inf, posinf=torch.inf), floor)


def _beside(change: Callable[[float], Tensor | None]) -> Tensor:
    """The outputs' changes at twelve points beside x, on the other side where the domain ends on one.

    Not around x: there the function may have a kink, whose differences are no noise. The steps are taken as they round:
    on a coarse grid they may be free of the rounding that other numbers meet.

    Raises:
        Refused: the domain ends on both sides.
    """
    for side in (1.0, -1.0):
        changes = [c for k in POINTS.tolist() if (c := change(side * k)) is not None]
        if len(changes) == len(POINTS):
            return torch.stack(changes)
    raise Refused("the forward refuses points on both sides, very near")
