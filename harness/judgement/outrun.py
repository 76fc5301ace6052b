"""Outputs that vary faster than the steps that refute a claim, each seen by its own last digits."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.oracles.differences import Differences
from harness.oracles.estimate import Direction, Residual

FINER = (2.0**-20, 2.0**-26, 2.0**-32, 2.0**-38)
"""Where slopes are looked at again, in units of the spread."""

SEEN = 1024
"""How many units in its own last place an output must move by there: a slope is then known to a hundredth."""

SHARE = 1 / 16
"""What share of what is in dispute must be the outputs' that can be looked at: those whose digits hide it may do the same."""


def outran(f: Differences, d: Direction, found: Residual) -> bool:
    """Whether some outputs have another slope at fine steps than at those that refute the claim.

    Beside an output of 10¹⁶ the sum ⟨v, f⟩ has no digits in which a fine step could show that cos(10⁶ + 10³ x) has a slope, and
    from afar it has none; of that output itself it does.
    """
    coarse = _richardson(f, d, found.step / 4)
    if coarse is None:
        return False
    open_ = coarse.isfinite()
    apart = torch.zeros_like(f.y)
    for h in (h for h in FINER if h < found.step / 4):
        slope, nearer = _slope(f, d, h), _slope(f, d, h / 2)
        if slope is None or nearer is None:
            continue
        seen = open_ & (slope.abs() * h >= SEEN * f.case.u * f.y.abs()) & (slope != 0)
        seen &= (slope - nearer).abs() <= nearer.abs() / 16
        off = (nearer - coarse).abs()
        apart = torch.where(seen & (off > nearer.abs() / 4), f.v.abs() * off, apart)
        open_ &= ~seen
    return float(apart.sum()) > SHARE * abs(found.off)


def _slope(f: Differences, d: Direction, h: float) -> Tensor | None:
    """Each output's central difference, None where one of the two points is outside the domain."""
    e = f.exact(f.spread(d, h))
    up, down = f.change(e, 1.0), f.change(e, -1.0)
    return None if up is None or down is None else (up - down) / (2 * h)


def _richardson(f: Differences, d: Direction, t: float) -> Tensor | None:
    """Each output's slope by steps t, 2t and 4t, as those that refute the claim have it."""
    slopes = [_slope(f, d, k * t) for k in (1, 2, 4)]
    d1, d2, d4 = slopes
    if d1 is None or d2 is None or d4 is None:
        return None
    fine, coarse = (4 * d1 - d2) / 3, (4 * d2 - d4) / 3
    return (16 * fine - coarse) / 15
