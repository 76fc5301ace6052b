"""Where a function ends: the jumps at a plateau's ends, and singular points whose one-sided quotients diverge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from harness.oracles.differences import Differences
from harness.oracles.estimate import Direction
from harness.tensors.arrays import rms

REACH = 4.0
"""How far from the point, in units of the spread, a plateau's end is looked for."""

GROWTH = 1.02
"""By how much a one-sided quotient that diverges grows at least where the step is 64 times finer: 8 times for √x, 1.2 for x log x
on its own scale, 1.04 where x is 10⁻³⁰ of that."""

LASTING = 0.7
"""How much of the growth before it each growth is: all of it for x log x, more for √x; less where the quotient converges, 1/64 of
it for a smooth function, 0.66 for x − x^1.1."""

JUMPING = 48
"""From how much on it is a jump's, which grows by 64; that of a tenth root grows by 42."""

POLE = 128
"""From how much on it is a jump's no more: the outputs themselves more than double where the step is 64 times finer, as 1/x at 0."""

QUOTIENTS = tuple(2.0**-k for k in range(6, 42, 6))
"""The steps of these quotients, in units of the spread."""

SEARCHED = 600
"""Up to how many entries of a tensor are looked at for singular points, each by a dozen forwards, where nothing but the verdict
says that there are any."""

AT_ONCE = (2.0**-20, 2.0**-26, 2.0**-32)
"""The steps over which outputs that jump at the point itself move by as much as each other."""

TEARING = (60, 61, 62, 63)
"""Along which directions outputs are looked at that jump: at the foot of one all do along some."""

STAIR = 2.0**-12
"""Of the outputs' size: coarser than any arithmetic but 16-bit."""


@dataclass(frozen=True)
class Edges:
    """Of one case's point, seen by its differences."""

    f: Differences

    def jumps(self, d: Direction) -> bool:
        """Whether the plateau on which no output moves ends in a jump on either side, as where a function rounds coarsely.

        At a kink, as of relu, it ends without one. Looked for within `REACH`.
        """
        return any(self._jump(d, side) for side in (1.0, -1.0))

    def _jump(self, d: Direction, side: float) -> bool:
        whole = {n: side * t for n, t in self.f.spread(d, REACH).items()}
        still, moved = 0.0, 1.0
        if self._change(whole, moved) <= 20 * self.f.rounding:  # what moves at all is rounding
            return False
        for _ in range(24):
            middle = (still + moved) / 2
            still, moved = (still, middle) if self._change(whole, middle) > 0 else (middle, moved)
        edge = self._change(whole, moved)
        if edge <= 20 * self.f.rounding:  # a step of the outputs' own last digit, which every bound allows for
            return False
        # past a kink the change grows with the distance from the edge, past a jump it is there at once; and where a
        # function rounds coarsely, other steps follow: a jump alone, as of sign, leaves the slope 0 around it
        at_once = self._change(whole, moved + 64 * (moved - still)) < 8 * edge
        return at_once and self._change(whole, 8 * moved) > 2 * edge

    def _change(self, whole: Direction, part: float) -> float:
        change = self.f.change(whole, part)  # outside the domain nothing is known to move
        return 0.0 if change is None else float((self.f.v * change).norm().nan_to_num(0.0))

    def begins(self, d: Direction) -> bool:
        """Whether the outputs jump at the very point on either side: they move by as much down to steps of 2⁻³² of the spread."""
        # what rounding leaves of equal numbers, as large as the leaves, jumps anywhere
        largest = max(float(self.f.case.leaves[n].abs().amax()) for n in d)
        left = 64 * self.f.case.u * float(self.f.v.norm()) * largest
        least = max(STAIR * float((self.f.v * self.f.y).norm()), left)
        for side in (1.0, -1.0):
            moved = [self._change({n: side * t for n, t in self.f.spread(d, h).items()}, 1.0) for h in AT_ONCE]
            if min(moved) > max(least, max(moved) / 2):
                return True
        return False

    def diverges(self, name: str, k: int) -> bool:
        """Whether a one-sided difference quotient of one entry grows without end, as those of √x at 0 do, and that of the angle
        of (x, y) at the origin on the side on which it jumps: then there is no slope, whatever the other side says."""
        sides = [q for side in (1.0, -1.0) if (q := self._quotients(self.f.one(name, k), side))]
        return any(bool(_grows(torch.tensor(q, dtype=torch.float64))) for q in sides)

    def torn(self, name: str, entries: Sequence[int]) -> Tensor:
        """The outputs that jump at the very point along directions through these entries: they have no gradient there, though
        along an entry that leaves what jumps as it is (the row of a matrix whose other rows are zeros, of its singular
        vectors) they may have a slope."""
        mask = torch.zeros_like(self.f.y, dtype=torch.bool)
        for number in TEARING:
            d = self.f.direction(number, [name])[name]
            part = torch.zeros_like(d).flatten().index_copy(0, torch.tensor(entries), d.flatten()[list(entries)])
            changes = [self.f.change(self.f.spread({name: part.reshape(d.shape)}, h)) for h in AT_ONCE]
            moved = torch.stack([torch.zeros_like(self.f.y) if c is None else (self.f.v * c).abs() for c in changes])
            mask |= moved.amin(0) > torch.clamp(moved.amax(0) / 2, min=STAIR * rms(self.f.v * self.f.y))
        return mask

    def moves(self, name: str, k: int, outputs: Tensor) -> bool:
        """Whether one entry moves any of these outputs."""
        change = self.f.change(self.f.spread(self.f.one(name, k), QUOTIENTS[0]))
        return change is not None and bool(change[outputs].any())

    def singular(self, name: str) -> Tensor | None:
        """The entries at which a one-sided quotient grows without end though the outputs do not jump, as √x at 0 whatever its
        backward says there, or 1/x where that is written as 0; None if there are none, or more entries to look at than
        `SEARCHED`."""
        x = self.f.case.leaves[name]
        if x.numel() > SEARCHED or not any(self._output_diverges(name, side) for side in (1.0, -1.0)):
            return None
        found = [self.diverges(name, k) and not self.begins(self.f.one(name, k)) for k in range(x.numel())]
        mask = torch.tensor(found, device=x.device).reshape(x.shape)
        return mask if bool(mask.any()) else None

    def _output_diverges(self, name: str, side: float) -> bool:
        """Whether the quotient of some output does, along all entries moved to one side, and that output does not jump."""
        sizes = {n: d.abs() for n, d in self.f.direction(1, [name]).items()}
        found = [c.abs() / h for c, h in zip(self._changes(sizes, side), QUOTIENTS, strict=False)]
        if not found:
            return False
        jumps = torch.stack([(JUMPING * a <= b) & (b <= POLE * a) for a, b in pairwise(found)]).any(0)
        return bool((_grows(torch.stack(found)) & ~jumps).any())

    def _quotients(self, d: Direction, side: float) -> list[float]:
        changes = zip(self._changes(d, side), QUOTIENTS, strict=False)
        found = [float((self.f.v * c).norm()) / h for c, h in changes]
        return found if all(map(math.isfinite, found)) else []

    def _changes(self, d: Direction, side: float) -> list[Tensor]:
        """Those of the outputs at the quotients' steps; none where one of these leaves the domain."""
        found = []
        for h in QUOTIENTS:
            if (change := self.f.change(self.f.spread(d, h), side)) is None:
                return []
            found.append(change)
        return found


def _grows(quotients: Tensor) -> Tensor:
    """Whether quotients, at ever finer steps along the first axis, grow without end."""
    before, after = quotients[:-1], quotients[1:]
    growth = after - before
    return (after >= GROWTH * before).all(0) & (before > 0).all(0) & (growth[1:] >= LASTING * growth[:-1]).all(0)
