"""What a ladder of steps along one direction comes to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from harness.judgement.edges import Edges
from harness.judgement.pieces import RADII, Pieces
from harness.judgement.surroundings import Surroundings
from harness.oracles.differences import DOWN, FIRST, UP, Differences
from harness.oracles.estimate import ALIKE, Direction, Residual

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
    plain: bool = False
    """Whether two rungs that refute the claim are enough: it is known to be wrong, and asked where."""
    whole: bool = False
    """Whether it goes through all entries of a tensor: of a claim outside a kink's slopes these are then asked, one by one, if it
    is that of a piece."""

    def rung(self, k: int) -> Residual | None:
        """Richardson's estimate with the largest step 2⁻ᵏ."""
        return self.differences.residual(self.gradients, self.d, k)

    @cached_property
    def jumps(self) -> bool:
        """Whether the plateau around the point ends in a jump."""
        return Edges(self.differences).jumps(self.d)

    @property
    def around(self) -> bool:
        """Whether the claim lies between the derivatives at points around, and at those nearer by too: farther ones differ by the
        function's curvature as well."""
        if self.differences.case.known_wrong:
            return False
        claim = self.differences.claimed(self.gradients, self.differences.spread(self.d, 1.0))
        between = (Pieces(self.differences).around(self.d, radius) for radius in RADII)
        return all(low <= claim <= high for low, high in between)

    def among(self, found: Residual) -> bool:
        """Whether it lies between them however near one looks."""
        return not self.plain and Pieces(self.differences).among(self.gradients, self.d, found)

    def confirms(self, found: Residual, coarser: Residual) -> bool:
        """Whether plain differences at fine steps are compatible with it, and what is in dispute stands above all rounding."""
        return self.plain or Surroundings(self.differences).confirms(self.gradients, self.d, found, coarser)


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
        climb = _Climb(ladder, unit, need, least)
        if first is not None and (r := ladder.rung(first)) is not None and r.flow and climb.accepts(r):
            return cls.smooth(r, unit, least)
        return climb.line()

    @classmethod
    def unknown(cls, least: float) -> Line:
        """Where nothing is known."""
        return cls(float("nan"), float("inf"), float("inf"), 0.0, least=least)

    @classmethod
    def smooth(cls, r: Residual, unit: float, least: float, refuted: bool = False) -> Line:
        """A residual where the function is smooth, or nothing better is known."""
        value, error = r.estimate.value / unit, r.estimate.error / unit
        return cls(value, error, r.out / unit, r.flow / unit, refuted, False, least)

    @classmethod
    def inside_kink(cls, r: Residual, unit: float, least: float, width: float = 0.0) -> Line:
        """A claim that lies between slopes which no one-sided difference shows."""
        return cls(r.claimed / unit, 0.0, 0.0, r.flow / unit, False, True, least, width)

    @classmethod
    def at_kink(cls, r: Residual, unit: float, least: float) -> Line:
        """A residual at a kink: the nearest one-sided slope is what is expected."""
        assert r.sides is not None
        nearest = min(max(r.claimed, r.sides[0]), r.sides[1])
        out, width = abs(r.claimed - nearest) / unit, (r.sides[1] - r.sides[0]) / unit
        return cls(nearest / unit, 0.0, out, r.flow / unit, False, True, least, width)


@dataclass
class _Climb:
    """A ladder that is climbed, coarse steps first, and what its rungs have shown so far."""

    ladder: Ladder
    unit: float
    need: float
    least: float
    steps: deque[int] = field(default_factory=lambda: deque([FIRST, *DOWN]))
    """Those still to be tried."""
    last: int = FIRST
    previous: Residual | None = None
    best: Residual | None = None
    """The rung with the smallest error."""
    kink: Line | None = None
    """Seen alike by two rungs."""
    beside: Line | None = None
    """A kink that a nearer smooth estimate puts beside the point."""
    denied: bool = False
    """Whether a nearer smooth estimate allows the claim further out than the kink's slopes do."""

    def line(self) -> Line:
        """Rung by rung until something is settled, or no step is left that could."""
        while self.steps:
            k = self.steps.popleft()
            r = self.ladder.rung(k)
            if r is None:
                continue
            # a plateau of a coarsely rounded function: its slope is none of the function's
            if r.flow == 0 and self.ladder.jumps:
                return Line.unknown(self.least)
            if self.accepts(r):
                return Line.smooth(r, self.unit, self.least)
            self.look_for_kink(k, r)
            if self.previous is not None and self.refutes(k, r, self.previous):
                if not self.excused(k, r):
                    return self.refuted(r, self.previous)
                continue
            self.steer(k, r)
            self.best = r if self.best is None or r.estimate.error < self.best.estimate.error else self.best
            self.previous, self.last = r, k
        return self.left()

    def accepts(self, r: Residual) -> bool:
        """Whether a rung is as fine as needed, and the claim inside its bound."""
        return r.accepts(self.need * self.unit * self.least)

    def look_for_kink(self, k: int, r: Residual) -> None:
        """Find one by two rungs that see the same slopes; then go by nearer ones, and by smooth estimates too sharp for it."""
        kink, error = self.kink, r.estimate.error / self.unit
        if kink is None:
            if self.previous is not None and r.same_kink(self.previous):
                self.kink, self.steps = Line.at_kink(r, self.unit, self.least), deque(s for s in BESIDE if s > k)
        elif r.sides is not None:
            nearer = Line.at_kink(r, self.unit, self.least)
            # rounding widens what lies between the slopes: then the larger step says more
            self.kink = nearer if nearer.width <= 1.001 * kink.width else kink
        elif r.estimate.known:
            # silu from afar has the kink of relu: a claim outside its slopes that a nearer smooth estimate allows and they
            # can't is not refuted by them
            self.denied = self.denied or (not r.refuted and 2 * error < kink.out)
            there = 0 < kink.width <= (1 + ALIKE) * r.hinge / self.unit
            if error < NARROW * kink.width and not there:
                self.beside, self.kink, self.steps = kink, None, deque(s for s in DOWN if s > k)

    def refutes(self, k: int, r: Residual, previous: Residual) -> bool:
        """Whether two rungs near the point refute the claim alike, and fine steps do not allow it."""
        alike = min(k, self.last) >= NEAR and previous.refuted and r.refuted and r.agrees(previous)
        return alike and self.ladder.confirms(r, previous)

    def excused(self, k: int, r: Residual) -> bool:
        """Whether a kink that the claim may owe its value to is hidden by curvature, as of t² + 10⁻⁴|t| at 0, whose central
        differences are those of t² to any step: what the bends of two rungs have in common shows it. Nearer ones are then
        tried."""
        if self.ladder.plain or self.beside is not None or not r.hinges:
            return False
        if self.kink is None and self.previous is not None and r.alike(self.previous):
            self.kink = Line.inside_kink(r, self.unit, self.least, r.hinge / self.unit)
            self.steps = deque(s for s in BESIDE if s > k)
        self.previous, self.last = r, k
        return True

    def refuted(self, r: Residual, previous: Residual) -> Line:
        """The line of a claim that is, unless the point is a kink which one-sided slopes don't show."""
        if self.ladder.among(r):  # flat to either side, and still a kink: the median of equal numbers
            return Line.inside_kink(r, self.unit, self.least)
        return Line.smooth(min(previous, r, key=lambda x: x.estimate.error), self.unit, self.least, refuted=True)

    def steer(self, k: int, r: Residual) -> None:
        """Choose other steps where rounding has taken over: larger ones, one in between, or none."""
        best, previous = self.best, self.previous
        if best is None or previous is None:
            if r.noisy and not r.refuted:
                self.steps = deque(UP)
        elif best.noisy and not best.refuted and r.estimate.error > 64 * best.estimate.error:
            self.steps.clear()
        elif self.beside is None and r.noisy and not previous.noisy and k - self.last > 2:
            self.steps = deque([(k + self.last) // 2])  # truncation and rounding meet in between

    def left(self) -> Line:
        """What remains where no rung has settled it."""
        best, kink = self.best, self.kink
        if kink is None and self.beside is not None and best is not None and not best.refuted:
            kink = self.beside  # so near that no step between it and rounding is fine enough: as good as at it
        if best is not None and (kink is None or (kink.outside and self.denied)):
            return Line.smooth(best, self.unit, self.least)
        if kink is None:
            return Line.unknown(self.least)
        # at a kink of several pieces the claim may be the slope of a piece that no one-sided difference shows
        between = kink.outside and not self.ladder.whole and self.ladder.around
        return replace(kink, out=0.0) if between else kink
