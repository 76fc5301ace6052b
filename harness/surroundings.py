"""What lies around a point: whether a slope found there lasts, plateaus, jumps, kinks of several pieces, singular points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise

import torch
from torch import Tensor

from harness.differences import DOWN, FIRST, UP, Differences
from harness.domain import Refused
from harness.estimate import FINE_STEP, Direction, Estimate, Residual
from harness.stencil import NOISES, weighed

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
"""How many paths past the point are halved towards where they are steepest, and how often at most: of n equal numbers the
median follows one entry on about 1/n of its way, which 24 points at random miss with probability (1 − 1/n)²⁴; halves do not."""

FEW = 8
"""How many outputs are followed along a path, those that move most."""

STEP_AROUND = 256
"""By how much finer than the distance the step of a slope around is."""

REACH = 4.0
"""How far from the point, in units of the spread, a plateau's end is looked for."""

SEEN = 1024
"""How many units in the outputs' last place a slope must move them by to be seen, in case their noise is larger."""

ABSORBED = 32
"""How many units in the last place of the numbers inside a change in dispute may be to be lost in them: one or two at each of
a few operations."""

SINGLE = (2.0**-28, 2.0**-22)
"""From how large to how large a rounding relative to an output is one of float32: that of float64 is far below, and
the changes of a function that varies are above."""

COARSEST = 0.25
"""Up to which step, in units of the spread, what finer steps refute is looked at again."""

STILL = 2.0**-16
"""Over what step, in units of the spread, outputs stand still whose rounding is measured again: that of the first measurement."""

MOVING = (2.0**-16, 2.0**-12, 2.0**-8)
"""The steps between the points at which it is."""

GROWTH = 1.1
"""By how much a one-sided quotient that diverges grows where the step is 64 times finer: 8 for √x, and still 1.2 for x log x
at the finest step looked at; 1 where it converges."""


@dataclass(frozen=True)
class Surroundings:
    """Of one case's point, seen by its differences."""

    f: Differences

    def confirms(
        self, gradients: Mapping[str, Tensor], d: Direction, found: Residual, coarser: Residual | None = None
    ) -> bool:
        """Whether plain differences at finer steps are compatible with an estimate from coarser ones.

        A function that varies faster than the coarse steps (sin 10⁸x), or stands still between jumps (round), gives slopes
        there that may agree with one another and belong to no point. The slope of a smooth function is there at every finer
        step from which the predicted change stands out of the rounding. Where the slope found is small beside the claimed
        one, the change predicted by the claim must be missing instead.
        """
        h = min(FINE_STEP, found.step / 4)
        fine, noise = self.f.quick(gradients, d, h), NOISES * self.f.rounding / h
        # its own truncation; what it must exclude is of another size
        slack = 1e-2 * (abs(fine.estimate.value) + fine.flow) + 0.1 * abs(found.off)
        if not found.agrees(replace(fine, estimate=Estimate(fine.estimate.value, noise + slack))):
            return False
        if not (self._lasts(gradients, d, found) and self._missing(gradients, d, found)):
            return False
        return not (
            self._absorbed(gradients, d, found) or self._hidden(d, [r for r in (found, coarser) if r is not None])
        )

    def _steps(self, slope: float) -> list[float]:
        """Steps up to the fine one, from where a slope moves the outputs by `SEEN` units of their last digits."""
        first = max(SEEN * self.f.case.u * float((self.f.v * self.f.y).norm()) / abs(slope), 2.0**-50) if slope else 1.0
        return [h for k in range(9) if (h := first * 64**k) < FINE_STEP]

    def _lasts(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether something moves at every finer step at which the slopes found, output by output, must move something."""
        slope, change = found.flow, self.f.change(self.f.spread(d, found.step))
        # of the outputs that move: another may lie beside a jump, which counts as noise
        moved = torch.ones_like(self.f.y) if change is None else change != 0
        rounding = float(weighed(self.f.v * moved, self.f.noise).norm())
        steps = [h for h in self._steps(slope) if slope * h > 64 * rounding]
        return all(self.f.quick(gradients, d, h).flow >= slope / 4 for h in steps)

    def _missing(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether at no finer step the claim is right."""
        finest = (self.f.quick(gradients, d, h) for h in self._steps(found.claimed))
        return not any(r.out < 0.05 * abs(r.off - found.off) for r in finest)

    def _absorbed(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether what is in dispute is a change below the last digit of numbers of order one, or of the leaves or outputs, and
        the claim is right at the coarser steps at which it stands above it.

        log(1 + s) at s = 10⁻¹⁴ is a staircase: 1 + s has no finer digits. On one of its steps every finer difference agrees
        that the term is constant, and nothing moves that could be measured as noise. A function that varies faster than the
        coarse steps has changes in dispute far above any last digit.
        """
        steps = [h for k in range(1, 50) if (h := found.step * 2**k) <= COARSEST]
        digit = ABSORBED * self.f.case.u * self._numbers(d) * float(self.f.v.abs().amax())
        most = 4 * NOISES * SINGLE[1] * float((self.f.v * self.f.y).norm())
        if not steps or abs(found.off) * steps[0] > max(digit, most):
            return False
        single = self._single(d)
        if abs(found.off) * COARSEST <= single:
            return True
        digit = max(digit, 4 * single)
        if abs(found.off) * steps[0] > digit:
            return False
        offs = list(self._offs(gradients, d, steps))
        before = False
        for h, off, coarser in zip(steps, offs, offs[1:], strict=False):
            out = (4 * off - coarser) / 3  # one step of extrapolation: truncation falls by 16 from step to step
            right = abs(out) < 0.25 * abs(out - found.off)
            if right and before:
                return True
            # the finer of two neighbouring steps is one at which the last digit matters
            before = right and abs(found.off) * h <= digit
        return False

    def _single(self, d: Direction) -> float:
        """The rounding of outputs whose numbers inside a float64 function holds in float32: met by steps that cross them, and
        by none on one step of their staircase."""
        if self.f.case.u > 1e-10:
            return 0.0
        met, size = torch.zeros_like(self.f.y), self.f.y.abs()
        for step in MOVING[1:]:
            with suppress(Refused):
                measured = self.f.rounding_at(d, step)
                single = (measured >= SINGLE[0] * size) & (measured <= SINGLE[1] * size)
                met = torch.where(single, torch.maximum(met, measured), met)
        return NOISES * float(weighed(self.f.v, met).norm())

    def _numbers(self, d: Direction) -> float:
        """How large numbers inside may be: of order one, or as the leaves or the outputs."""
        return max([1.0, float(self.f.y.abs().amax()), *(float(self.f.case.leaves[n].abs().amax()) for n in d)])

    def _hidden(self, d: Direction, found: Sequence[Residual]) -> bool:
        """Whether numbers inside that round more coarsely than the outputs show explain what is in dispute at each step.

        An output that stands still over the steps at which rounding was measured may be far from as exact as its last digit
        says: of 1 + s at s = 10⁻¹³ a few hundred values are left. Where it moves by no more than a last digit at the coarsest
        step either, no more is known of its slope; else its rounding is measured again where it moves. What is beyond any last
        digit then is a kink, or the function.
        """
        near = self.f.change(self.f.spread(d, STILL))
        if near is None or not bool((still := near == 0).any()):
            return False
        digit = ABSORBED * self.f.case.u * self._numbers(d)
        far = [self.f.change(self.f.spread(d, side * COARSEST)) for side in (1.0, -1.0)]
        quiet = still & torch.stack([c.abs() <= digit if c is not None else ~still for c in far]).all(0)
        noise = self._noise_of(d, still & ~quiet, digit)
        slope, rounding = quiet * digit / COARSEST, 4 * NOISES * noise
        return all(abs(r.off) <= float(weighed(self.f.v, slope + rounding / r.step).norm()) for r in found)

    def _noise_of(self, d: Direction, still: Tensor, digit: float) -> Tensor:
        """The rounding of these outputs at the first steps that move them, 0 where it is beyond a last digit."""
        noise = torch.zeros_like(self.f.y)
        for size in MOVING if bool(still.any()) else ():
            with suppress(Refused):
                measured = self.f.rounding_at(d, size)
                moves = still & measured.isfinite()
                noise, still = torch.where(moves & (measured <= digit), measured, noise), still & ~moves
        return noise

    def _offs(self, gradients: Mapping[str, Tensor], d: Direction, steps: Sequence[float]) -> Iterator[float]:
        """By how much the claim is off at ever larger steps, as long as they stay inside the domain."""
        with suppress(Refused):
            for h in steps:
                yield self.f.quick(gradients, d, h).off

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
        signs = ORDERS if self.f.tied(list(d)) else ()
        ordered = [self._slope(d, self.f.ordered(list(d), sign), radius) for sign in signs]
        seen = [s for s in (*known.values(), *ordered) if s is not None]
        if not seen:
            return math.inf, -math.inf
        slopes = torch.stack(seen)
        low, high = slopes.amin(0), slopes.amax(0)
        for number in range(PATHS):
            self._steepen(low, high, d, number, radius)
        slack = 1e-6 * float(torch.maximum(low.abs(), high.abs()).sum())
        return float(low.sum()) - slack, float(high.sum()) + slack

    def _steepen(self, low: Tensor, high: Tensor, d: Direction, number: int, radius: float) -> None:
        """Widen what lies between by the slopes where a path along d past the point is steepest: a piece too narrow to be met
        at random shows in the mean over the path. Smooth outputs have no other slopes there, and are left as they are."""
        off = self.f.exact(self.f.spread(self.f.direction(60 + number, list(d)), radius))
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
        low, high = self.around(d, radii[1], ALIKE, known)
        if high - low < 1e-3 * abs(found.off):  # one piece alone
            return False
        claim = self.f.claimed(gradients, self.f.spread(d, 1.0))
        fine = self.around(d, radii[1], known=known)
        if not fine[0] <= claim <= fine[1]:  # most wrong claims: what lies farther around is not asked
            return False
        coarse = self.around(d, radii[0])
        return fine[1] - fine[0] >= 0.5 * (coarse[1] - coarse[0]) and coarse[0] <= claim <= coarse[1]

    def _slope(self, d: Direction, aside: Direction, radius: float) -> Tensor | None:
        """v ⊙ the slopes of the outputs along d at a point a little off, all entries of d's leaves moved; None outside the
        domain."""
        off = self.f.exact(self.f.spread(aside, radius))
        h = radius / STEP_AROUND
        e = self.f.exact(self.f.spread(d, h))
        try:
            ends = [self.f.at({n: off[n] + side * e[n] for n in d}, 1.0) for side in (1.0, -1.0)]
        except Refused:
            return None
        return self.f.v * (ends[0] - ends[1]) / (2 * h)

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

    def diverges(self, name: str, k: int) -> bool:
        """Whether a one-sided difference quotient of one entry grows without end, as those of √x at 0 do, and that of the angle
        of (x, y) at the origin on the side on which it jumps: then there is no slope, whatever the other side says."""
        sides = [q for side in (1.0, -1.0) if (q := self._quotients(self.f.one(name, k), side))]
        return any(all(b >= GROWTH * a > 0 for a, b in pairwise(q)) for q in sides)

    def _quotients(self, d: Direction, side: float) -> list[float]:
        found = []
        for h in (2.0**-k for k in range(6, 42, 6)):
            if (change := self.f.change(self.f.spread(d, h), side)) is None:
                return []
            found.append(float((self.f.v * change).norm()) / h)
        return found if all(map(math.isfinite, found)) else []


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


def derivative(f: Differences, name: str, k: int) -> Estimate:
    """The derivative with respect to one entry of a leaf: the rung with the least error that another confirms."""
    one, around = f.one(name, k), Surroundings(f)
    rungs: list[tuple[Residual, Estimate]] = []
    steps = [FIRST, *DOWN]
    while steps:
        r = f.residual(one, one, steps.pop(0))
        if r is None or not r.estimate.known:
            continue
        # the claim of a gradient of one is the exact displacement, which may differ from the step in its last digits
        rungs.append((r, Estimate(r.estimate.value / r.claimed, r.estimate.error / abs(r.claimed))))
        if r.noisy and len(rungs) == 1:
            steps = list(UP)
        elif r.noisy and len(rungs) > 2:
            break
    for r, best in sorted(rungs, key=lambda pair: pair[1].error):
        if r.flow == 0 and around.jumps(one):
            break
        agreed = any(e is not best and abs(e.value - best.value) <= e.error + best.error for _, e in rungs)
        if agreed and around.confirms(one, one, r):
            return best
    return Estimate(float("nan"), float("inf"))
