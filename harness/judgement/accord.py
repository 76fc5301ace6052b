"""What autograd and a few forwards say of a claim, where a whole ladder of differences would tell no more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.judgement.judge import Judge
from harness.judgement.ladders import COARSEST
from harness.oracles.estimate import FINE_STEP, Direction
from harness.tensors.arrays import rms

DIRECTIONS = 3
"""Along how many directions a claim at a kink must lie between the one-sided slopes."""

ASKING = 12
"""How many forwards `agreed` may take: a difference, four directions, and that in which claim and autograd differ."""

CURVED = 1e-3
"""What share of a gradient's size its slopes may change by over a fine step."""


def as_autograd(judge: Judge) -> bool:
    """Whether autograd agrees up to the last digit that the forward can express, and one difference up to its rounding.

    At saturation, and near an end of the domain, differences tell no more and take a hundred forwards to find that out.
    """
    wanted = judge.case.wanted
    if judge.trusted is None or judge.claim.malformed or not all(_inexpressible(judge, n) for n in wanted):
        return False
    return judge.missed(wanted) <= judge.digits / FINE_STEP


def _inexpressible(judge: Judge, name: str) -> bool:
    """Whether the claim differs from autograd's gradient by no more than the forward can express."""
    assert judge.trusted is not None
    apart = (judge.claim.gradients[name] - judge.trusted[name]).abs()
    return float(apart.max()) <= judge.differences.floor(name)


def agreed(judge: Judge) -> bool | None:
    """Whether each gradient was accepted already, or autograd gives the same and one difference nearly agrees: where autograd has
    lost a slope with the claim, the difference is off by all of it. At a kink the claim must lie between the one-sided slopes,
    and so must autograd's where it is another. None before autograd has been asked."""
    if "trusted" not in vars(judge):
        return None
    if judge.trusted is None or judge.claim.malformed:
        return False
    open_ = [n for n in judge.case.wanted if n not in judge.quick and n not in judge.constant]
    if not open_:
        return True
    f, size = judge.differences, min(judge.claim.sizes[n] * judge.differences.units[n] for n in open_)
    digits = judge.digits / FINE_STEP
    apart = {n: _apart(judge, n) for n in open_}
    differ = any(bool(t.any()) for t in apart.values())
    if not differ and judge.missed(open_) <= max(digits, COARSEST * size):
        return True
    drawn = [f.direction(number, open_) for number in range(80, 80 + DIRECTIONS)]
    # forwards in every entry too: ties stay ties, or come apart to one side
    drawn.append({n: t.abs() for n, t in drawn[0].items()})
    if not all(_is_between(judge, d, digits + CURVED * size) for d in drawn):
        return False
    return not differ or _is_a_choice(judge, apart, digits)


def _apart(judge: Judge, name: str) -> Tensor:
    """By how much the claim is another than autograd's gradient, 0 where by last digits alone."""
    assert judge.trusted is not None
    g, r = judge.claim.gradients[name].double(), judge.trusted[name].double()
    allowed = max(64 * judge.case.u * rms(r), judge.differences.floor(name)) + 64 * judge.case.u * r.abs()
    return torch.where((g - r).abs() <= allowed, 0.0, g - r)


def _is_a_choice(judge: Judge, apart: Mapping[str, Tensor], digits: float) -> bool:
    """Whether two gradients are apart as two slopes at a kink may be: not slightly, and along the direction in which they differ
    most by no more than its width."""
    assert judge.trusted is not None
    for n, t in apart.items():
        r = judge.trusted[n].double()
        if bool(((t != 0) & (t.abs() <= CURVED * (r.abs() + rms(r)))).any()):
            return False
    f = judge.differences
    d = {n: (f.direction(81, [n])[n].abs() * t.sign()).to(judge.case.leaves[n]) for n, t in apart.items()}
    sides = _sides(judge, d)
    along = f.claimed(apart, f.spread(d, 1.0))
    return sides is not None and along <= (1 + 64 * judge.case.u) * (sides[1] - sides[0]) + digits


def _is_between(judge: Judge, d: Direction, slack: float) -> bool:
    """Whether the claim lies between what the one-sided slopes of each output come to."""
    claim, sides = judge.differences.claimed(judge.claim.gradients, judge.differences.spread(d, 1.0)), _sides(judge, d)
    return sides is not None and sides[0] - slack <= claim <= sides[1] + slack


def bends(judge: Judge, name: str, entry: int) -> bool:
    """Whether the two one-sided slopes in one entry are apart by more than the forward's last digits, and a share of them."""
    sides = _sides(judge, judge.differences.one(name, entry))
    digits = judge.digits / FINE_STEP
    return sides is not None and sides[1] - sides[0] > digits + CURVED * max(map(abs, sides))


def _sides(judge: Judge, d: Direction) -> tuple[float, float] | None:
    """The smaller and the larger one-sided slopes of each output along a direction, summed; None outside the domain."""
    f = judge.differences
    step = f.spread(d, FINE_STEP)
    up, down = f.change(step), f.change(step, -1.0)
    if up is None or down is None:
        return None
    slopes = torch.stack([f.v * up, -f.v * down]) / FINE_STEP
    return float(slopes.amin(0).sum()), float(slopes.amax(0).sum())
