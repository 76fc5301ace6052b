"""What one difference says of a claim: an estimate with a bound on its error, and how far the claim is from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Direction = Mapping[str, Tensor]

FINE_STEP = 2.0**-17
"""About u^⅓ in float64, where truncation h² and rounding u/h of a plain central difference balance."""

ALIKE = 0.05
"""By what share of its width two steps may disagree about a kink."""


@dataclass(frozen=True)
class Estimate:
    """A derivative along a direction, and a bound on its error; an infinite error says "don't know"."""

    value: float
    error: float

    @property
    def known(self) -> bool:
        """Whether there is a finite bound."""
        return self.error < float("inf")


@dataclass(frozen=True)
class Residual:
    """⟨claimed gradient, d⟩ against the derivative of ⟨v, f⟩ along the same d."""

    claimed: float
    estimate: Estimate
    flow: float
    """‖v ⊙ J d‖: the size of the derivative's parts before they cancel."""
    sides: tuple[float, ...] | None = None
    """At a kink, the slopes from the left and from the right in ascending order, widened by their errors."""
    noisy: bool = False
    """Whether rounding makes up most of the error, so that only a larger step can lower it."""
    step: float = FINE_STEP
    """The largest step, in units of the spread."""
    shared: float = 0.0
    """What rounding adds to the bound at worst: shared by all outputs, and doubled on the way."""
    hinge: float = 0.0
    """How far apart one-sided slopes are at the point, summed over the outputs, where curvature may hide that it is a kink."""

    @property
    def out(self) -> float:
        """|claimed − estimated|."""
        return abs(self.off)

    @property
    def off(self) -> float:
        """claimed − estimated. Two residuals compare by it: their directions may differ by the rounding of their steps."""
        return self.claimed - self.estimate.value

    @property
    def refuted(self) -> bool:
        """Whether the claim lies outside the bound at worst; NaN does, where the estimate is known."""
        return self.estimate.known and not self.out <= self.estimate.error + self.shared

    def accepts(self, need: float) -> bool:
        """Whether the claim lies inside a bound that is as fine as needed."""
        return self.estimate.known and not self.refuted and self.estimate.error + self.out <= need

    def agrees(self, other: Residual) -> bool:
        """Whether two estimates of one derivative are compatible, their directions alike to a thousandth."""
        apart = abs(self.off - other.off)
        return apart <= self.estimate.error + other.estimate.error + 1e-3 * max(abs(self.off), abs(other.off))

    @property
    def hinges(self) -> bool:
        """Whether the claim lies between one-sided slopes that do not show plainly."""
        return self.out <= self.hinge / 2 + self.estimate.error < self.hinge

    def alike(self, other: Residual) -> bool:
        """Whether two steps see such slopes as far apart."""
        return abs(self.hinge - other.hinge) <= ALIKE * max(self.hinge, other.hinge)

    def same_kink(self, other: Residual) -> bool:
        """Whether both see a kink with the same one-sided slopes; a jump, or a step too large, has others at each step."""
        if self.sides is None or other.sides is None:
            return False
        width = max(self.sides[1] - self.sides[0], other.sides[1] - other.sides[0])
        return all(abs(a - b) <= ALIKE * width for a, b in zip(self.sides, other.sides, strict=True))
