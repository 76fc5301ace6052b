"""Kinks of several pieces: between which slopes of the functions that meet at a point a claim may lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from harness.domain import Refused
from harness.oracles.differences import Differences
from harness.oracles.estimate import Direction, Residual
from harness.oracles.stencil import NOISES, weighed

AROUND = 24
"""At how many points around a kink its pieces are looked for: one of three is missed with probability (2/3)²⁴ = 6e-5."""

ORDERS = (1.0, -1.0)
"""At two points more, equal numbers differ as they follow each other, up and down: ties are mostly broken by position, and
two entries of n have two given ranks with probability 2/(n(n − 1)) at random."""

ALIKE = 12
"""At how many points around slopes that are all alike say that no pieces meet: of three they are so with probability 6e-6."""

RADII = (2.0**-14, 2.0**-20)
"""How far around, in units of the spread; a kink is there at both."""

PATHS, HALVINGS = 4, 14
"""How many paths at random past the point are halved towards where they are steepest, and how often at most: of n equal numbers the
median follows one entry on about 1/n of its way, which 24 points at random miss with probability (1 − 1/n)²⁴; halves do not."""

FEW = 8
"""How many outputs are followed along a path, those that move most."""

STEP_AROUND = 256
"""By how much finer than the distance the step of a slope around is."""


@dataclass(frozen=True)
class Pieces:
    """Of one case's point, seen by its differences."""

    f: Differences

    def around(
        self, d: Direction, radius: float, points: int = AROUND, known: dict[int, Tensor | None] | None = None
    ) -> tuple[float, float]:
        """Between which values the derivative along d lies at points around: each output takes its own least and largest.

        At a kink of several pieces (the middle one of three equal entries, sorted) what lies around the point may be no
        one-sided slope at it: any convex combination of nearby gradients is one of the point (Clarke, "Optimization and
        Nonsmooth Analysis", 1983). Points outside the domain say nothing; where all are, nothing lies between. The slopes at
        the first points may be `known`, and those found are added.
        """
        known = {} if known is None else known
        known |= {k: self._slope(d, self.f.direction(60 + k, list(d)), radius) for k in range(len(known), points)}
        orders = [self.f.ordered(list(d), sign) for sign in ORDERS] if self.f.tied(list(d)) else []
        finest = max([STEP_AROUND, *map(_finer, orders)])
        ordered = [self._slope(d, aside, radius, finest) for aside in orders]
        seen = [s for s in (*known.values(), *ordered) if s is not None]
        if not seen:
            return math.inf, -math.inf
        slopes = torch.stack(seen)
        low, high = slopes.amin(0), slopes.amax(0)
        for aside in self._asides(d):
            self._steepen(low, high, d, aside, radius)
        rounding = NOISES * weighed(self.f.v, self.f.noise)[slopes.ne(0).any(0)] / (radius / finest)
        slack = 1e-6 * float(torch.maximum(low.abs(), high.abs()).sum()) + float(rounding.norm())
        return float(low.sum()) - slack, float(high.sum()) + slack

    def _asides(self, d: Direction) -> list[Direction]:
        """By where paths go past the point: at random, and with all entries to one side, where the largest of several zeros is as
        far below 0 as they are, which of n zeros it is at random in one of 2ⁿ."""
        drawn = [self.f.direction(60 + number, list(d)) for number in range(PATHS)]
        return [*drawn, *({n: side * t.abs() for n, t in drawn[0].items()} for side in (1.0, -1.0))]

    def _steepen(self, low: Tensor, high: Tensor, d: Direction, aside: Direction, radius: float) -> None:
        """Widen what lies between by the slopes where a path along d past the point is steepest: a piece too narrow to be met
        at random shows in the mean over the path. Smooth outputs have no other slopes there, and are left as they are."""
        off = self.f.exact(self.f.spread(aside, radius))
        whole, rounding = self.f.spread(d, 1.0), 2 * NOISES * weighed(self.f.v, self.f.noise).abs()

        @lru_cache(None)
        def along(t: float) -> Tensor:
            return self.f.v * self.f.at({n: off[n] + t * whole[n] for n in d}, 1.0)

        def output(j: int, side: float, t: float) -> float:
            return side * float(along(t)[j])

        left, right = -3 * radius, 3 * radius  # past every entry that is moved by up to 1.5
        with suppress(Refused):
            change, length = along(right) - along(left), right - left
            apart = 1e-3 * torch.maximum(high.abs(), low.abs())  # what a smooth function's curvature stays below
            wide = high - low > apart + rounding * STEP_AROUND / radius
            beyond = (change > (high + apart) * length + rounding) | (change < (low - apart) * length - rounding)
            open_ = torch.where((wide | beyond) & (change.abs() > rounding), change.abs(), 0.0)
            for j in open_.topk(min(FEW, len(open_))).indices[: int((open_ > 0).sum())].tolist():
                for side, bound, better in ((1.0, high, max), (-1.0, low, min)):
                    steepest = _steepest(partial(output, j, side), 3 * radius, float(rounding[j]))
                    bound[j] = better(float(bound[j]), side * steepest)

    def among(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether the claim is a slope of the pieces that meet at the point, as the median of equal numbers has them: between
        the slopes around however near one looks, as near at least as the steps that refute it. A smooth function's slopes close
        in on one, and rounding must not make up what lies between."""
        radii = (RADII[0], min(RADII[1], found.step))
        if NOISES * self.f.rounding / (radii[1] / STEP_AROUND) > 0.05 * abs(found.off):
            return False
        known: dict[int, Tensor | None] = {}
        # where numbers are equal, pieces may be many and some of them narrow: |x| of the smallest of several zeros
        if not self.f.tied(list(d)):
            low, high = self.around(d, radii[1], ALIKE, known)
            if high - low < 1e-3 * abs(found.off):  # one piece alone
                return False
        claim = self.f.claimed(gradients, self.f.spread(d, 1.0))
        fine = self.around(d, radii[1], known=known)
        if not fine[0] <= claim <= fine[1]:  # most wrong claims: what lies farther around is not asked
            return False
        coarse = self.around(d, radii[0])
        return fine[1] - fine[0] >= 0.5 * (coarse[1] - coarse[0]) and coarse[0] <= claim <= coarse[1]

    def _slope(self, d: Direction, aside: Direction, radius: float, finer: float = STEP_AROUND) -> Tensor | None:
        """v ⊙ the slopes of the outputs along d at a point a little off, all entries of d's leaves moved, at a step so many times
        finer than that; None outside the domain."""
        off = self.f.exact(self.f.spread(aside, radius))
        h = radius / finer
        e = self.f.exact(self.f.spread(d, h))
        try:
            ends = [self.f.at({n: off[n] + side * e[n] for n in d}, 1.0) for side in (1.0, -1.0)]
        except Refused:
            return None
        return self.f.v * (ends[0] - ends[1]) / (2 * h)


def _finer(ordered: Direction) -> float:
    """By how much a step must be finer so that it leaves neighbours along any axis in their order: of its entries, up to 1.5, two
    differ by up to 1."""
    apart = [t.diff(dim=k).abs() for t in ordered.values() for k in range(t.ndim)]
    closest = min((float(t[t > 0].min()) for t in apart if bool((t > 0).any())), default=1.0)
    return max(STEP_AROUND, 4 / closest)


def _steepest(f: Callable[[float], float], reach: float, rounding: float) -> float:
    """The mean slope of f over ever shorter parts of [−reach, reach], always the steeper half, as long as rounding allows."""
    left, right = -reach, reach
    a, b = f(left), f(right)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        m = f(middle)
        halves = (left, middle, a, m), (middle, right, m, b)
        steeper = halves[0] if m - a > b - m else halves[1]
        if rounding > 1e-3 * abs(steeper[3] - steeper[2]):
            break
        left, right, a, b = steeper
    return (b - a + rounding) / (right - left)
