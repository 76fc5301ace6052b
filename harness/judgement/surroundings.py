"""What lies around a point: whether a slope found there lasts, or rounding inside has made it up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.domain import BackwardRaised, Refused
from harness.judgement.edges import Edges
from harness.judgement.outrun import outran
from harness.oracles.differences import DOWN, FIRST, UP, Differences
from harness.oracles.estimate import FINE_STEP, Direction, Estimate, Residual
from harness.oracles.stencil import NOISES, weighed

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

HALVINGS = 14
"""How often an interval is halved around a jump: what is smooth there has lost nearly all of its change."""

NEARER = (1, 32, 1024)
"""By how much shorter than the step that refutes an interval is in which a jump is looked for: nearer there is less that is
smooth, and fewer jumps. Three, for at one of them alone a jump may be missed."""

DOUBLINGS = 3
"""Over how many steps, each twice the one before, a claim is right where jumps make up what finer ones miss of it."""

MANY = 256
"""How many jumps there may be where the claim is right over all of them together."""

STILL = 2.0**-16
"""Over what step, in units of the spread, outputs stand still whose rounding is measured again: that of the first measurement."""

MOVING = (2.0**-16, 2.0**-12, 2.0**-8)
"""The steps between the points at which it is."""


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
            self._absorbed(gradients, d, found)
            or self._in_jumps(gradients, d, found)
            or self._on_stairs(gradients, d, found)
            or self._hidden(gradients, d, [r for r in (found, coarser) if r is not None])
            or outran(self.f, d, found)
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

    def _in_jumps(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether what is in dispute comes in jumps no larger than the last digit of a number inside, over many of which the claim
        is right: x + 10⁶ moves by 10⁻¹⁰ at a time, and beside what moves faster no output shows it standing still.

        Of the change over an interval that the slope found leaves, half the interval has half or less where the function is
        smooth, and a jump is all in one half.
        """
        most, weight = SINGLE[0] * self._numbers(d), float(self.f.v.norm())
        several, change = 4 * NOISES * weight, abs(found.off) * found.step
        if change <= several * most:
            jump = max(self._jump(d, found.step / closer)[0] for closer in NEARER)
            if 0 < jump <= most and change <= several * jump:
                return True
        # up to where there are more jumps than over which the claim need be right
        widest = min(1.0, MANY * weight * most / abs(found.off)) if found.off else 0.0
        return self._right_over_jumps(gradients, d, found, widest, most, 0.5)

    def _on_stairs(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether what is in dispute is what jumps, however large, come to where digits have run out, and the claim is right over
        one step after the other in which there are twice as many: log(1 − A) at A = 1 − 10⁻¹⁵, beside terms that have their
        digits. Over a single jump a claim may be right at one step by chance, and is off by half of it at the next."""
        steps = [h for k in range(1, 50) if (h := found.step * 2**k) <= COARSEST]

        def right(steps: Sequence[float]) -> list[bool]:
            return [abs(off) < 0.5 * abs(off - found.off) for off in self._offs(gradients, d, steps)]

        # of so many neighbours one is among these
        some = [k * DOUBLINGS - 1 for k, yes in enumerate(right(steps[DOUBLINGS - 1 :: DOUBLINGS]), 1) if yes]
        for first in (k for at in some for k in range(at - DOUBLINGS + 1, at + 1)):
            if right(among := steps[first : first + DOUBLINGS]) == [True] * DOUBLINGS:
                jump = self._jump(d, among[0])[0] * float(self.f.v.norm())
                return jump >= abs(found.off) * among[0] / 4 and self._smooth_where_small(d)
        return False

    def _smooth_where_small(self, d: Direction) -> bool:
        """Whether a fine step shows what backward gives where leaves are small: digits run out where numbers are large, and what is
        rounded on purpose is so there too."""
        with suppress(Refused, BackwardRaised):
            small = Differences(self.f.case.calmed())
            found = small.quick({n: g for n in d if (g := small.case.base.gradients.get(n)) is not None}, d, FINE_STEP)
            return abs(found.off) <= abs(found.claimed) / 16
        return False

    def stairs(self, gradients: Mapping[str, Tensor], d: Direction) -> bool:
        """Whether the claim is right over steps in which an output jumps, by however much, and not over finer ones: what digits
        leave that have run out (of 1 − A at A = 1 − 10⁻¹⁵ five values), or what is rounded on purpose."""
        found = self.f.quick(gradients, d, FINE_STEP)
        return self._right_over_jumps(gradients, d, found, 1.0, math.inf, 0.1)

    def _right_over_jumps(
        self, gradients: Mapping[str, Tensor], d: Direction, found: Residual, widest: float, most: float, share: float
    ) -> bool:
        """Whether over some step up to the widest the claim is off by no more than that share of what is in dispute, and an output
        jumps within, by no more than `most`, and not too often."""
        steps = [h for k in range(1, 50) if (h := found.step * 2**k) <= widest]
        offs = zip(steps, self._offs(gradients, d, steps), strict=False)
        h = next((h for h, off in offs if abs(off) < share * abs(off - found.off)), None)
        jump, whole = self._jump(d, h) if h is not None else (0.0, 0.0)
        return whole / MANY < jump <= most

    def _jump(self, d: Direction, h: float) -> tuple[float, float]:
        """The change that is left over ever smaller intervals, of the output that moves most beside its slope between jumps, and
        that over the whole one; none where smaller ones have less."""
        w = h / 2**HALVINGS
        at = [self.f.change(self.f.spread(d, t)) for t in (-w, w, 2 * w, -h, h)]
        if any(change is None for change in at):
            return 0.0, 0.0
        before, first, second, *ends = (t for t in at if t is not None)
        slope = torch.stack([-before, first, second - first]).median(0).values / w  # one of the three may hold a jump

        def left(t: float) -> Tensor:
            change = self.f.change(self.f.spread(d, t))
            return torch.full_like(self.f.y, torch.nan) if change is None else change - t * slope

        low, high = (-h, ends[0] + h * slope), (h, ends[1] - h * slope)
        whole = high[1] - low[1]
        j = int((self.f.v * whole).abs().nan_to_num(0.0).argmax())
        sizes: list[float] = []
        for _ in range(HALVINGS):
            middle = ((low[0] + high[0]) / 2, left((low[0] + high[0]) / 2))
            lower = abs(float(middle[1][j] - low[1][j])) >= abs(float(high[1][j] - middle[1][j]))
            low, high = (low, middle) if lower else (middle, high)
            sizes.append(abs(float((high[1] - low[1])[j])))
        return sizes[-1] if sizes[-1] > sizes[-5] / 2 else 0.0, abs(float(whole[j]))

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

    def _hidden(self, gradients: Mapping[str, Tensor], d: Direction, found: Sequence[Residual]) -> bool:
        """Whether numbers inside that round more coarsely than the outputs show explain what is in dispute at each step.

        An output that stands still over the steps at which rounding was measured may be far from as exact as its last digit
        says: of 1 + s at s = 10⁻¹³ a few hundred values are left. Where it moves by no more than a last digit at the coarsest
        step either, no more is known of its slope; else its rounding is measured again where it moves. What is beyond any last
        digit then is a kink, or the function.
        """
        near = self.f.change(self.f.spread(d, STILL))
        if near is None or not bool((still := near == 0).any()) or self._of_moving(gradients, d, found[0], ~still):
            return False
        digit = ABSORBED * self.f.case.u * self._numbers(d)
        far = [self.f.change(self.f.spread(d, side * COARSEST)) for side in (1.0, -1.0)]
        quiet = still & torch.stack([c.abs() <= digit if c is not None else ~still for c in far]).all(0)
        noise = self._noise_of(d, still & ~quiet, digit)
        slope, rounding = quiet * digit / COARSEST, 4 * NOISES * noise
        return all(abs(r.off) <= float(weighed(self.f.v, slope + rounding / r.step).norm()) for r in found)

    def _of_moving(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual, moving: Tensor) -> bool:
        """Whether the claim is off for the outputs that move: for the cotangent that is zero on them it gives nothing near what is
        in dispute, and so what the others may hide is not that."""
        case, vs = self.f.case, self.f.case.base.cotangents
        claims = ((gradients[n], case.base.gradients.get(n)) for n in d)
        whole = len(self.f.v) == sum(v.numel() for v in vs) and all(
            g is not None and torch.equal(t, g) for t, g in claims
        )
        if not (whole and case.subject.takes_cotangent and bool(moving.any())):
            return False
        parts = torch.split(moving, [v.numel() for v in vs])
        rest = case.evaluate(1, tuple(v.masked_fill(m.reshape(v.shape), 0.0) for v, m in zip(vs, parts, strict=True)))
        left = {n: g for n in d if (g := rest.gradients.get(n)) is not None and g.shape == d[n].shape}
        if left.keys() != d.keys():
            return False
        part = self.f.claimed(left, self.f.spread(d, 1.0))
        return min(abs(found.off - part), abs(found.off + part)) > abs(found.off) / 2

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


def derivative(f: Differences, name: str, k: int) -> Estimate:
    """The derivative with respect to one entry of a leaf: the rung with the least error that another confirms."""
    one, around, edges = f.one(name, k), Surroundings(f), Edges(f)
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
        if r.flow == 0 and edges.jumps(one):
            break
        agreed = any(e is not best and abs(e.value - best.value) <= e.error + best.error for _, e in rungs)
        if agreed and around.confirms(one, one, r):
            return best
    return Estimate(float("nan"), float("inf"))
