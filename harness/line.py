"""What a ladder of steps along one direction comes to."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from harness.estimate import DOWN, FIRST, UP, Differences, Direction, Residual

LEAST = 0.5
"""The smallest entry of a direction, so that an error bound along it bounds one entry's error at twice its size."""


@dataclass(frozen=True)
class Ladder:
    """A claim along one direction, to be met at steps of any size."""

    differences: Differences
    gradients: Mapping[str, Tensor]
    d: Direction

    def rung(self, k: int) -> Residual | None:
        """Richardson's estimate with the largest step 2⁻ᵏ."""
        return self.differences.residual(self.gradients, self.d, k)

    def confirms(self, found: Residual) -> bool:
        """Whether a fine plain difference is compatible with it."""
        return self.differences.confirms(self.gradients, self.d, found)


@dataclass(frozen=True)
class Line:
    """What a ladder of steps along one direction came to, in units of the gradient."""

    expected: float
    error: float
    out: float
    flow: float
    refuted: bool = False
    kinked: bool = False
    accepted: bool = False
    least: float = LEAST
    """The smallest entry of the direction."""

    @property
    def bound(self) -> float:
        """The error of a single entry that could hide on this line."""
        return (self.error + self.out) / self.least

    def settled(self, need: float) -> bool:
        """Whether the claim is inside, and the bound as fine as needed."""
        return not self.refuted and (self.accepted or self.bound <= need)

    def forgiven(self, slack: float) -> Line:
        """With the claim's own rounding added to the error: what lies within both together is not refuted."""
        inside = self.out <= self.error + slack
        return replace(self, error=self.error + slack, refuted=self.refuted and not inside)

    @classmethod
    def settle(cls, ladder: Ladder, unit: float, need: float, least: float = LEAST) -> Line:
        """Climb the ladder until the claim is accepted at the resolution needed, refuted three times, or hidden by noise."""
        best: Residual | None = None
        previous: Residual | None = None
        kink: Residual | None = None
        steps, last = deque([FIRST, *DOWN]), FIRST
        while steps:
            k = steps.popleft()
            r = ladder.rung(k)
            if r is None:
                continue
            if r.sides is not None and kink is not None and previous is kink:
                return cls.of(r, unit, least, refuted=not r.between, kinked=True, accepted=r.between)
            kink = r if r.sides is not None else kink
            if previous is not None and previous.refuted and r.refuted and r.agrees(previous) and ladder.confirms(r):
                return cls.of(min(previous, r, key=lambda x: x.estimate.error), unit, least, refuted=True)
            if r.estimate.known and not r.refuted and (r.estimate.error + r.out) / unit / least <= need:
                return cls.of(r, unit, least)
            if best is None and r.noisy and not r.refuted:
                steps = deque(UP)
            elif best is not None and best.noisy and not best.refuted and r.estimate.error > 64 * best.estimate.error:
                break
            if previous is not None and r.noisy and not previous.noisy and k - last > 2:
                steps = deque([(k + last) // 2])  # truncation and rounding meet in between
            best = r if best is None or r.estimate.error < best.estimate.error else best
            previous, last = r, k
        return cls.of(best, unit, least) if best else cls(float("nan"), float("inf"), float("inf"), 0.0)

    @classmethod
    def of(
        cls, r: Residual, unit: float, least: float, refuted: bool = False, kinked: bool = False, accepted: bool = False
    ) -> Line:
        """A residual in units of the gradient."""
        error = 0.0 if accepted else r.estimate.error / unit
        out = 0.0 if accepted else r.out / unit
        if kinked and refuted and r.sides is not None:
            low, high = r.sides
            nearest = low if r.claimed < low else high
            return cls(nearest / unit, 0.0, abs(r.claimed - nearest) / unit, r.flow / unit, True, True, False, least)
        return cls(r.estimate.value / unit, error, out, r.flow / unit, refuted, kinked, accepted, least)
