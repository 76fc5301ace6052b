"""The rounding of a function's outputs, measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.arrays import rms
from harness.domain import Refused
from harness.draws import VANISHING


def rounding_of(change: Callable[[float], Tensor | None], y: Tensor, u: float, moving: bool = False) -> Tensor:
    """The standard deviation of each output's rounding, from changes of the outputs y over multiples of a small step
    (Moré & Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011): fourth to sixth differences over twelve
    close points hold nothing but noise.

    Never less than half a unit in the last place, which no measurement at few points can rule out; infinite for an output
    that is rounded on purpose, and where it must be `moving` for one that stands still: its quanta are wider than the step.

    Raises:
        Refused: the function's domain ends on both sides, very near.
    """
    samples = _beside(change)
    size = float(y.abs().amax().nan_to_num(0.0)) if y.numel() else 1.0
    size = size if 0 < size < VANISHING else 1.0  # else the squares below would underflow
    samples = samples / size
    parts = []
    for order, scale in ((4, 70.0), (5, 252.0), (6, 924.0)):  # binomial(2k, k): the variance of a kth difference
        parts.append((torch.diff(samples, order, dim=0).square() / scale).mean(0))
    measured = torch.stack(parts).mean(0).sqrt() * size
    # an output that stands still from point to point and jumps by more than 2⁻¹² of its size is rounded on purpose
    changes = torch.diff(samples, dim=0).abs()
    stairs = (changes == 0).sum(0) >= 8
    measured[stairs & moving] = torch.inf
    measured[stairs & (changes.amax(0) > 2.0**-12 * rms(y / size))] = torch.inf
    floor = y.abs() * u
    return torch.maximum(torch.nan_to_num(measured, nan=float("inf")), floor)


def _beside(change: Callable[[float], Tensor | None]) -> Tensor:
    """The outputs' changes at twelve points beside x, on the other side where the domain ends on one.

    Not around x: there the function may have a kink, whose differences are no noise. The steps are taken as they round:
    on a coarse grid they may be free of the rounding that other numbers meet.

    Raises:
        Refused: the domain ends on both sides.
    """
    for side in (1.0, -1.0):
        changes = [c for k in range(5, 17) if (c := change(side * k)) is not None]
        if len(changes) == 12:
            return torch.stack(changes)
    raise Refused("the forward refuses points on both sides, very near")
