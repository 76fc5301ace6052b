"""What a ladder of steps along one direction comes to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from harness.differences import DOWN, FIRST, UP, Differences
from harness.edges import Edges
from harness.estimate import Direction, Residual
from harness.pieces import RADII, Pieces
from harness.surroundings import Surroundings

LEAST = 0.5
"""The smallest entry of a direction, so that an error bound along it bounds one entry's error at twice its size."""

CLOSER = 16
"""How much closer than allowed one difference must be to stand alone: by chance an error of the relative size δ in all of N
entries is that small in one of 3·10⁷ δ √N draws, and an error in a single entry never (no entry of a direction is below 0.5)."""

NARROW = 0.01
"""What share of a kink's width a smooth estimate's error may be for the estimate to say that the kink is elsewhere: a kink is
seen where it is four times the rounding, so that it would have been."""

BESIDE = (20, 32, 44)
"""The steps at which a kink is looked for again, in case it lies beside the point."""

INSIDE = 12
"""The step that is tried first where finer ones have shown that the function is not smooth on the scale of coarser ones."""

NEAR = 2
"""Steps of at most a quarter of the spread refute: from further away slopes may agree that belong to no point."""


@dataclass(frozen=True)
class Ladder:
    """A claim along one direction, to be met at steps of any size."""

    differences: Differences
    gradients: Mapping[str, Tensor]
    d: Direction

    def rung(self, k: int) -> Residual | None:
        """Richardson's estimate with the largest step 2⁻ᵏ."""
        return self.differences.residual(self.gradients, self.d, k)

    @cached_property
    def jumps(self) -> bool:
        """Whether the plateau around the point ends in a jump."""
        return Edges(self.differences).jumps(self.d)

    @property
    def around(self) -> bool:
        """Whether the claim lies between the derivatives at points around."""
        low, high = Pieces(self.differences).around(self.d, RADII[0])
        return low <= self.differences.claimed(self.gradients, self.differences.spread(self.d, 1.0)) <= high

    def among(self, found: Residual) -> bool:
        """Whether it lies between them however near one looks."""
        return Pieces(self.differences).among(self.gradients, self.d, found)

    def confirms(self, found: Residual, coarser: Residual) -> bool:
        """Whether plain differences at fine steps are compatible with it, and what is in dispute stands above all rounding."""
        return Surroundings(self.differences).confirms(self.gradients, self.d, found, coarser)


@dataclass(frozen=True)
class Line:
    """The claim and the differences along one direction, in units of the gradient."""

    expected: float
    error: float
    out: float
    """|claimed − expected|; at a kink the distance to the interval of one-sided slopes."""
    flow: float
    refuted: bool = False
    """The function is smooth along this direction and the claim lies outside the bound."""
    kinked: bool = False
    """The function has a kink along this direction: `out` is 0 if the claim lies between the one-sided slopes."""
    least: float = LEAST
    """The smallest entry of the direction."""
    width: float = 0.0
    """At a kink the distance of the one-sided slopes."""

    @property
    def bound(self) -> float:
        """The error of a single entry that could hide on this line."""
        return (self.error + self.out) / self.least

    @property
    def outside(self) -> bool:
        """Whether the claim is wrong along this line, smooth or kinked."""
        return self.refuted or (self.kinked and self.out > self.error)

    def settled(self, need: float) -> bool:
        """Whether the function is smooth here, the claim inside the bound and the bound as fine as needed."""
        return not self.refuted and not self.kinked and self.bound <= need

    def forgiven(self, slack: float, hidden: float = 0.0) -> Line:
        """With the claim's own rounding added to the error: what lies within both together, and what may be lost inside the
        forward, is not refuted."""
        inside = self.out <= self.error + slack + hidden
        return replace(self, error=self.error + slack, refuted=self.refuted and not inside)

    @classmethod
    def settle(cls, ladder: Ladder, unit: float, need: float, least: float = LEAST, first: int | None = None) -> Line:
        """Climb the ladder until the claim is accepted at the resolution needed, refuted by two rungs and the fine steps,
        found at a kink by two rungs, or hidden by noise. One rung may be tried `first`: it accepts, or says nothing."""
        if first is not None and (r := ladder.rung(first)) is not None and r.flow and r.accepts(need * unit * least):
            return cls.smooth(r, unit, least)
        best: Residual | None = None
        previous: Residual | None = None
        kink: Line | None = None
        beside: Line | None = None
        denied = False
        steps, last = deque([FIRST, *DOWN]), FIRST
        while steps:
            k = steps.popleft()
            r = ladder.rung(k)
            if r is None:
                continue
            # a plateau of a coarsely rounded function: its slope is none of the function's
            if r.flow == 0 and ladder.jumps:
                return cls(float("nan"), float("inf"), float("inf"), 0.0, least=least)
            if r.accepts(need * unit * least):
                return cls.smooth(r, unit, least)
            # silu from afar has the kink of relu: a claim outside its slopes that a nearer smooth estimate allows and they
            # can't is not refuted by them
            if kink is not None and r.sides is None and r.estimate.known and not r.refuted:
                denied = denied or 2 * r.estimate.error / unit < kink.out
            if kink is None and previous is not None and r.same_kink(previous):
                kink, steps = cls.at_kink(r, unit, least), deque(s for s in BESIDE if s > k)
            elif kink is not None and r.sides is not None:
                nearer = cls.at_kink(r, unit, least)
                # rounding widens what lies between the slopes: then the larger step says more
                kink = nearer if nearer.width <= 1.001 * kink.width else kink
            elif kink is not None and r.estimate.known and r.estimate.error / unit < NARROW * kink.width:
                beside, kink, steps = kink, None, deque(s for s in DOWN if s > k)
            near = min(k, last) >= NEAR
            sound = near and previous is not None and previous.refuted and r.refuted and r.agrees(previous)
            if previous is not None and sound and ladder.confirms(r, previous):
                if ladder.among(r):  # flat to either side, and still a kink: the median of equal numbers
                    return cls(r.claimed / unit, 0.0, 0.0, r.flow / unit, False, True, least)
                return cls.smooth(min(previous, r, key=lambda x: x.estimate.error), unit, least, refuted=True)
            if best is None and r.noisy and not r.refuted:
                steps = deque(UP)
            elif best is not None and best.noisy and not best.refuted and r.estimate.error > 64 * best.estimate.error:
                break
            if previous is not None and beside is None and r.noisy and not previous.noisy and k - last > 2:
                steps = deque([(k + last) // 2])  # truncation and rounding meet in between
            best = r if best is None or r.estimate.error < best.estimate.error else best
            previous, last = r, k
        if kink is None and beside is not None and best is not None and not best.refuted:
            kink = beside  # so near that no step between it and rounding is fine enough: as good as at it
        if kink is not None and kink.outside and denied and best is not None:
            return cls.smooth(best, unit, least)
        if kink is not None:
            # at a kink of several pieces the claim may be the slope of a piece that no one-sided difference shows
            return replace(kink, out=0.0) if kink.outside and ladder.around else kink
        return cls.smooth(best, unit, least) if best else cls(float("nan"), float("inf"), float("inf"), 0.0)

    @classmethod
    def smooth(cls, r: Residual, unit: float, least: float, refuted: bool = False) -> Line:
        """A residual where the function is smooth, or nothing better is known."""
        value, error = r.estimate.value / unit, r.estimate.error / unit
        return cls(value, error, r.out / unit, r.flow / unit, refuted, False, least)

    @classmethod
    def at_kink(cls, r: Residual, unit: float, least: float) -> Line:
        """A residual at a kink: the nearest one-sided slope is what is expected."""
        assert r.sides is not None
        nearest = min(max(r.claimed, r.sides[0]), r.sides[1])
        out, width = abs(r.claimed - nearest) / unit, (r.sides[1] - r.sides[0]) / unit
        return cls(nearest / unit, 0.0, out, r.flow / unit, False, True, least, width)
