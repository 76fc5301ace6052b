"""Six points on a line through x: a derivative by two Richardson steps, with a bound on its error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from harness.domain import Refused

NOISES = 5
"""How many standard deviations of rounding are allowed: a uniform rounding error of either sign at each point adds up to at
most 3.3 of them in R₂, and a deviation measured at twelve points may itself be short by a third."""


class Stencil:
    """f at x ± e, ± 2e, ± 4e for a displacement e of size t: the derivative along e/t by two Richardson steps.

    The bound on its error is 2|R₂ − R₁| + 5 n₁/t + 2 n₂/(4t): n₁ is the noise of the outputs that moved, n₂ that of all,
    since an output may have moved by less than its last digit. It is infinite where the error does not shrink as it
    must: steps too large for the function, or a kink.
    """

    def __init__(self, at: Callable[[float], Tensor], y: Tensor, v: Tensor, noise: Tensor, u: float, t: float) -> None:
        self.t, self.v = t, v
        self.up = [at(k) - y for k in (1.0, 2.0, 4.0)]
        self.down = [at(-k) - y for k in (1.0, 2.0, 4.0)]
        if not all(bool(torch.isfinite(s).all()) for s in (self.up[2], self.down[2])):
            raise Refused("the outputs are not finite at a step")
        self.slopes = [(a - b) / (2 * k * t) for a, b, k in zip(self.up, self.down, (1, 2, 4), strict=True)]
        changes = torch.stack([*self.up, *self.down]).abs()
        # rounding grows with the values, and the farthest of these may be far larger than those at x
        n = self.v * torch.maximum(noise, u * (y.abs() + changes.amax(0)))
        self.noise = NOISES * float((n * changes.ne(0).any(0)).norm()) / t + 2 * float(n.norm()) / (4 * t)

    @cached_property
    def _levels(self) -> tuple[Tensor, Tensor]:
        d1, d2, d4 = self.slopes
        coarse, fine = (4 * d2 - d4) / 3, (4 * d1 - d2) / 3
        return fine, (16 * fine - coarse) / 15

    @property
    def value(self) -> float:
        """⟨v, R₂⟩."""
        return float((self.v * self._levels[1]).sum())

    @property
    def flow(self) -> float:
        """‖v ⊙ R₂‖."""
        return float((self.v * self._levels[1]).norm())

    @property
    def error(self) -> float:
        """The bound."""
        if not self._smooth or self._kinked:
            return float("inf")
        change = self.v * (self._levels[1] - self._levels[0])
        return 2 * max(abs(float(change.sum())), float(change.norm())) + self.noise

    @property
    def _smooth(self) -> bool:
        """Whether halving the step shrinks the error as for a smooth function: by 4, or by more."""
        d1, d2, d4 = self.slopes
        fine, coarse = float((self.v * (d1 - d2)).norm()), float((self.v * (d2 - d4)).norm())
        return fine <= self.noise or coarse >= 2.5 * fine

    @property
    def _kinked(self) -> bool:
        """Whether f(x + e) + f(x − e) − 2f(x) shrinks by 2 with the step, as at a kink: not by 4, nor by 1 as at a jump."""
        b1, b2, b4 = (float((self.v * (a + b)).norm()) for a, b in zip(self.up, self.down, strict=True))
        return b1 > 20 * self.t * self.noise and 1.6 * b1 < b2 < 2.5 * b1 and 1.6 * b2 < b4 < 2.5 * b2

    @property
    def sides(self) -> tuple[float, float] | None:
        """Between which sums of one-sided slopes a gradient may lie at a kink; None without one.

        The slopes of each output from both sides, extrapolated once. Each output may take its own side: v has both signs,
        so that the sums over all outputs from either side need not enclose what is allowed. Widened by their errors.
        """
        if not self._kinked:
            return None
        right = [self.v * a / (k * self.t) for a, k in zip(self.up, (1, 2), strict=False)]
        left = [-self.v * b / (k * self.t) for b, k in zip(self.down, (1, 2), strict=False)]
        above, below = (2 * one - two for one, two in (right, left))
        slack = sum(float((one - two).norm()) for one, two in (right, left)) + 2 * self.noise
        return float(torch.minimum(above, below).sum()) - slack, float(torch.maximum(above, below).sum()) + slack
