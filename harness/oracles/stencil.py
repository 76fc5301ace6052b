"""Six points on a line through x: derivatives by two Richardson steps, with bounds on their errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.domain import Refused

NOISES = 5
"""How many standard deviations of rounding are allowed: a uniform rounding error of either sign at each point adds up to at
most 3.3 of them in R₂, and a deviation measured at twelve points may itself be short by a third."""


SEEN = 4
"""From how many times the bound on rounding on a second difference that halves with the step is a kink and no noise."""


@dataclass(frozen=True)
class Parts:
    """Which of several derivatives each output belongs to: all outputs to one, or each to the block that alone moves it."""

    owner: Tensor | None = None
    """For each output the number of its block; negative where it belongs to none."""
    count: int = 1

    @cached_property
    def kept(self) -> Tensor | None:
        """The outputs that belong to a block."""
        return None if self.owner is None else (self.owner >= 0).nonzero().squeeze(1)

    def taken(self, t: Tensor) -> Tensor:
        """The entries of those outputs."""
        return t if self.kept is None else t[self.kept]

    def left(self, t: Tensor) -> Tensor:
        """The entries of the outputs that belong to none, and may depend on any by less than their last digit."""
        return t[:0] if self.owner is None else t[self.owner < 0]

    def sum(self, t: Tensor) -> Tensor:
        """The sum over the outputs of each block."""
        if self.owner is None or self.kept is None:
            return t.sum().reshape(1)
        return t.new_zeros(self.count).index_add_(0, self.owner[self.kept], t)

    def norm(self, t: Tensor) -> Tensor:
        """The Euclidean norm over the outputs of each block."""
        return t.norm().reshape(1) if self.owner is None else self.sum(t.square()).sqrt()


def weighed(v: Tensor, noise: Tensor) -> Tensor:
    """v ⊙ n, where a weight of zero leaves nothing of a noise that is infinite: it could not be measured."""
    return torch.where(v == 0, 0.0, v * noise)


class Stencil:
    """f at x ± e, ± 2e, ± 4e for a displacement e of size t: the derivatives along e/t by two Richardson steps.

    The bound on the error is 2|R₂ − R₁| + 5 n₁/t + 2 n₂/(4t): n₁ is the noise of the outputs that moved, n₂ that of all,
    since an output may have moved by less than its last digit; and 2|d₂ − d₁| of each output where the error shrinks by 2 with
    the step instead of 4. It is infinite where it does not shrink so: steps too large for the function, or a kink. Every
    quantity is a tensor with one entry for each of the `parts`.
    """

    def __init__(
        self,
        at: Callable[[float], Tensor],
        y: Tensor,
        v: Tensor,
        noise: Tensor,
        u: float,
        t: float,
        parts: Parts | None = None,
    ) -> None:
        self.t, self.parts = t, parts or Parts()
        stray = float(self.parts.left(weighed(v, noise)).norm())
        y, noise, self.v = (self.parts.taken(full) for full in (y, noise, v))
        self.up = [self.parts.taken(at(k)) - y for k in (1.0, 2.0, 4.0)]
        self.down = [self.parts.taken(at(-k)) - y for k in (1.0, 2.0, 4.0)]
        if not all(bool(torch.isfinite(s).all()) for s in (self.up[2], self.down[2])):
            raise Refused("the outputs are not finite at a step")
        self.slopes = [(a - b) / (2 * k * t) for a, b, k in zip(self.up, self.down, (1, 2, 4), strict=True)]
        changes = torch.stack([*self.up, *self.down]).abs()
        # rounding grows with the values, and the farthest of these may be far larger than those at x
        n = weighed(self.v, torch.maximum(noise, u * (y.abs() + changes.amax(0))))
        self.digits = NOISES * n / t
        moving = torch.where(changes.ne(0).any(0), n, 0.0)
        moved = self.parts.norm(moving)
        # where outputs share a step of the computation (a mean), their rounding errors add up instead of averaging out; and
        # each may double where a number inside crosses a power of two
        shared = torch.where(moved.isfinite(), 2 * self.parts.sum(moving.abs()) - moved, torch.inf)
        self.shared = NOISES * shared / t
        self.noise = NOISES * moved / t + 2 * (self.parts.norm(n) + stray) / (4 * t)

    @cached_property
    def _levels(self) -> tuple[Tensor, Tensor]:
        d1, d2, d4 = self.slopes
        coarse, fine = (4 * d2 - d4) / 3, (4 * d1 - d2) / 3
        return fine, (16 * fine - coarse) / 15

    @property
    def value(self) -> Tensor:
        """⟨v, R₂⟩."""
        return self.parts.sum(self.v * self._levels[1])

    @property
    def flow(self) -> Tensor:
        """‖v ⊙ R₂‖."""
        return self.parts.norm(self.v * self._levels[1])

    @property
    def error(self) -> Tensor:
        """The bound."""
        change = self.v * (self._levels[1] - self._levels[0])
        bound = 2 * torch.maximum(self.parts.sum(change).abs(), self.parts.norm(change)) + self.noise
        # a kink too small to be told from rounding
        bend = self.parts.sum(self._seconds[0].abs()) / self.t
        bound = bound + torch.where(self._halves, bend, 0.0)
        # where the slope has a kink, as of relu² at 0, slopes are off by a multiple of the step, which each step halves
        off = 2 * self.parts.sum((self.v * (self.slopes[1] - self.slopes[0])).abs())
        bound = bound + torch.where(self._bent, off, 0.0)
        return torch.where((self._smooth | self._bent) & ~self.kinked, bound, torch.inf)

    @property
    def _smooth(self) -> Tensor:
        """Whether halving the step shrinks the error as for a smooth function: by 4, or by more."""
        fine, coarse = self._shrinking
        return (fine <= self.noise) | (coarse >= 2.5 * fine)

    @property
    def _bent(self) -> Tensor:
        """Whether it shrinks by 2, while f(x + e) + f(x − e) − 2f(x) does by 4 twice, as no rounding: f has a slope, and the slope
        none."""
        fine, coarse = self._shrinking
        b1, b2, b4 = self._bends
        rounding = self.t * self.noise
        straight = ((b1 <= rounding) | (b2 >= 2.5 * b1)) & ((b2 <= rounding) | (b4 >= 2.5 * b2))
        return ~self._smooth & (coarse > 1.6 * fine) & straight

    @cached_property
    def _shrinking(self) -> tuple[Tensor, Tensor]:
        d1, d2, d4 = self.slopes
        return self.parts.norm(self.v * (d1 - d2)), self.parts.norm(self.v * (d2 - d4))

    @cached_property
    def kinked(self) -> Tensor:
        """Whether f(x + e) + f(x − e) − 2f(x) shrinks by 2 with the step, as at a kink: not by 4, nor by 1 as at a jump."""
        return self._halves & (self._bends[0] > SEEN * self.t * self.noise)

    @cached_property
    def _seconds(self) -> tuple[Tensor, ...]:
        """v ⊙ (f(x + ke) + f(x − ke) − 2f(x)) for k = 1, 2, 4."""
        return tuple(self.v * (a + b) for a, b in zip(self.up, self.down, strict=True))

    @cached_property
    def _bends(self) -> tuple[Tensor, ...]:
        return tuple(map(self.parts.norm, self._seconds))

    @property
    def hinge(self) -> Tensor:
        """Σ |v κ| over the outputs whose one-sided slopes at the point are κ apart, though curvature may hide it.

        f(x + ke) + f(x − ke) − 2f(x) is κkt + ck²t² + qk⁴t⁴, of which three steps leave κ; it does not depend on t if it is one.
        """
        b1, b2, b4 = self._seconds
        κ = (64 * b1 - 20 * b2 + b4).abs() / (28 * self.t)
        return self.parts.sum(torch.where(κ > SEEN * self.digits, κ, 0.0))

    @property
    def _halves(self) -> Tensor:
        b1, b2, b4 = self._bends
        return (1.6 * b1 < b2) & (b2 < 2.5 * b1) & (1.6 * b2 < b4) & (b4 < 2.5 * b2)

    @property
    def sides(self) -> tuple[Tensor, Tensor]:
        """Between which sums of one-sided slopes a gradient may lie at a kink; NaN without one.

        The slopes of each output from both sides, extrapolated once. Each output may take its own side: v has both signs,
        so that the sums over all outputs from either side need not enclose what is allowed. Widened by their errors.
        """
        right = [self.v * a / (k * self.t) for a, k in zip(self.up, (1, 2), strict=False)]
        left = [-self.v * b / (k * self.t) for b, k in zip(self.down, (1, 2), strict=False)]
        above, below = (2 * one - two for one, two in (right, left))
        slack = sum(self.parts.norm(one - two) for one, two in (right, left)) + 2 * self.noise
        low, high = self.parts.sum(torch.minimum(above, below)), self.parts.sum(torch.maximum(above, below))
        return torch.where(self.kinked, low - slack, torch.nan), torch.where(self.kinked, high + slack, torch.nan)
