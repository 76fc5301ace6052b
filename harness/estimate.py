"""Central differences that know their own error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from harness.arrays import rms
from harness.case import Case
from harness.domain import Refused
from harness.draws import VANISHING, directions_like, scales_of, unit_of
from harness.stencil import NOISES, Stencil

Direction = Mapping[str, Tensor]

FIRST = 4
"""The first rung's largest step is 2⁻⁴, in units of each tensor's spread: a smooth function at home on that scale is exact
to rounding there after two extrapolations."""

DOWN = tuple(range(FIRST + 4, 50, 4))
"""Where truncation rules: down to 2⁻⁴⁸, where a step meets the last digits of float64."""

UP = (2, 1, -2)
"""Where rounding rules, as where the function hardly depends on the tensor: up to four times the spread. No further: from afar
every bounded function is flat."""

AROUND = 24
"""At how many points around a kink its pieces are looked for: one of three is missed with probability (2/3)²⁴ = 6e-5."""

RADII = (2.0**-14, 2.0**-20)
"""How far around, in units of the spread; a kink is there at both."""

STEP_AROUND = 256
"""By how much finer than the distance the step of a slope around is."""

REACH = 4.0
"""How far from the point, in units of the spread, a plateau's end is looked for."""

FINE_STEP = 2.0**-17
"""About u^⅓ in float64, where truncation h² and rounding u/h of a plain central difference balance."""

SEEN = 1024
"""How many units in the outputs' last place a slope must move them by to be seen, in case their noise is larger."""

GROWTH = 1.1
"""By how much a one-sided quotient that diverges grows where the step is 64 times finer: 8 for √x, and still 1.2 for x log x
at the finest step looked at; 1 where it converges."""

NOISE_STEP = 2.0**-20
"""Where noise is measured, in units of the spread: fine enough for fourth differences of the smooth part to vanish, and
coarse enough to cross the quanta of a float32 computation inside a float64 layer."""


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

    def agrees(self, other: Residual) -> bool:
        """Whether two estimates of one derivative are compatible, their directions alike to a thousandth."""
        apart = abs(self.off - other.off)
        return apart <= self.estimate.error + other.estimate.error + 1e-3 * max(abs(self.off), abs(other.off))

    def same_kink(self, other: Residual) -> bool:
        """Whether both see a kink with the same one-sided slopes; a jump, or a step too large, has others at each step."""
        if self.sides is None or other.sides is None:
            return False
        width = max(self.sides[1] - self.sides[0], other.sides[1] - other.sides[0])
        return all(abs(a - b) <= 0.05 * width for a, b in zip(self.sides, other.sides, strict=True))


class Differences:
    """Central differences of one case's outputs along directions, contracted with its cotangents."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.v = _flat(case.base.cotangents)
        self.held: dict[str, Tensor] = {}
        """Entries that no direction moves: singular points."""

    def within(self, mask: Tensor) -> Differences:
        """The same, of some of the outputs alone: the noise of the others does not count."""
        part = copy(self)
        part.v = self.v * mask
        part.__dict__.pop("variation", None)
        return part

    def measured(self, name: str, scales: Tensor) -> Differences:
        """The same in other units of one leaf's steps, its noise measured in them."""
        part = copy(self)
        part.__dict__["scales"] = {**self.scales, name: scales}
        part.__dict__["noise"] = part.noise_along(part.spread(part.direction(0, [name]), NOISE_STEP))
        return part

    @cached_property
    def y(self) -> Tensor:
        """The outputs, of one axis."""
        return _flat(self.case.base.outputs if self.case.declared is None else self.case.function(self.case.leaves))

    @cached_property
    def scales(self) -> dict[str, Tensor]:
        """The unit of a step in each leaf, or in each entry of it."""
        return {n: scales_of(t) for n, t in self.case.leaves.items() if t.is_floating_point()}

    @cached_property
    def units(self) -> dict[str, float]:
        """One unit for each leaf."""
        return {n: unit_of(t) for n, t in self.case.leaves.items() if t.is_floating_point()}

    @cached_property
    def noise(self) -> Tensor:
        """The standard deviation of each output's rounding, measured (Moré & Wild, "Estimating computational noise",
        SIAM J. Sci. Comput. 33, 2011): fourth to sixth differences over twelve close points hold nothing but noise.

        Never less than half a unit in the last place, which no measurement at few points can rule out.
        """
        return self.noise_along(self.spread(self.direction(0, self.case.wanted), NOISE_STEP))

    def noise_along(self, step: Direction) -> Tensor:
        """The same, from points a given step apart."""
        samples = self._beside(step)
        size = float(self.y.abs().amax().nan_to_num(0.0)) if self.y.numel() else 1.0
        size = size if 0 < size < VANISHING else 1.0  # else the squares below would underflow
        samples = samples / size
        parts = []
        for order, scale in ((4, 70.0), (5, 252.0), (6, 924.0)):  # binomial(2k, k): the variance of a kth difference
            parts.append((torch.diff(samples, order, dim=0).square() / scale).mean(0))
        measured = torch.stack(parts).mean(0).sqrt() * size
        # an output that stands still from point to point and jumps by more than 2⁻¹² of its size is rounded on purpose
        changes = torch.diff(samples, dim=0).abs()
        stairs = (changes == 0).sum(0) >= 8
        measured[stairs & (changes.amax(0) > 2.0**-12 * rms(self.y / size))] = torch.inf
        floor = self.y.abs() * self.case.u
        return torch.maximum(torch.nan_to_num(measured, nan=float("inf")), floor)

    def _beside(self, step: Direction) -> Tensor:
        """The outputs' changes at twelve points beside x, on the other side where the domain ends on one.

        Not around x: there the function may have a kink, whose differences are no noise. The steps are taken as they round:
        on a coarse grid they may be free of the rounding that other numbers meet.

        Raises:
            Refused: the domain ends on both sides.
        """
        for side in (1.0, -1.0):
            changes = [c for k in range(5, 17) if (c := self.change(step, side * k)) is not None]
            if len(changes) == 12:
                return torch.stack(changes)
        raise Refused("the forward refuses points on both sides, very near")

    def unit(self, name: str, k: int | None = None) -> float:
        """The unit of a step in one entry; the smallest over all entries, in which an error bound is largest."""
        scales = self.scales[name]
        return float(scales.min() if k is None or scales.numel() == 1 else scales.flatten()[k])

    def length(self, name: str) -> float:
        """The length of a random direction through one leaf, in units of its smallest step."""
        scales = self.scales[name]
        n = self.case.leaves[name].numel()
        return math.sqrt(n) if scales.numel() == 1 else float(scales.norm() / scales.min())

    def direction(self, number: int, names: list[str]) -> dict[str, Tensor]:
        """A random direction over some leaves: sign × U(0.5, 1.5) in every entry."""
        found = directions_like([self.case.leaves[n] for n in names], self.case.seed, 7, number)
        drawn = dict(zip(names, found, strict=True))
        return {n: d.masked_fill(self.held[n], 0.0) if n in self.held else d for n, d in drawn.items()}

    def spread(self, d: Direction, step: float) -> dict[str, Tensor]:
        """The direction in units of each tensor's scale, times `step`."""
        return {n: t * (self.scales[n].to(t) * step) for n, t in d.items()}

    def exact(self, d: Direction, reach: int = 1) -> dict[str, Tensor]:
        """The displacement next to d for which x ± reach·d are exact in working precision.

        A step that rounds is a step along another direction: at x = 10⁶ and a step of 10⁻⁶ it would be off by 10⁻⁴.
        """
        found = {}
        for n, t in d.items():
            x = self.case.leaves[n]
            top = x.abs() + reach * t.abs()
            # twice the spacing of floats at the farther point: both x + d and x − d then lie on the grid
            grid = torch.ldexp(torch.ones_like(top), torch.frexp(top).exponent) * (4 * self.case.u)
            # a step that would vanish becomes one grid step
            steps = torch.round(t / grid)
            found[n] = torch.where(t == 0, 0.0, torch.where(steps == 0, torch.sign(t), steps)) * grid
        return found

    def at(self, d: Direction, factor: float) -> Tensor:
        """The outputs at x + factor·d, of one axis."""
        moved = {n: t + factor * d[n] if n in d else t.clone() for n, t in self.case.leaves.items()}
        return _flat(self.case.function(moved))

    def change(self, d: Direction, factor: float = 1.0) -> Tensor | None:
        """By how much the outputs change from x to x + factor·d; None where the forward refuses that point."""
        try:
            return self.at(d, factor) - self.y
        except Refused:
            return None

    def far(self, names: list[str], side: float = 1.0) -> Tensor | None:
        """The change over a step of the spread in some leaves."""
        return self.change(self.spread(self.direction(1, names), 1.0), side)

    def one(self, name: str, k: int) -> dict[str, Tensor]:
        """The direction through one entry of a leaf."""
        d = torch.zeros_like(self.case.leaves[name])
        d.view(-1)[k] = 1.0
        return {name: d}

    def claimed(self, gradients: Mapping[str, Tensor], d: Direction) -> float:
        """⟨g, d⟩ in float64."""
        return sum(float((gradients[n].double() * t.double()).sum()) for n, t in d.items())

    def quick(self, gradients: Mapping[str, Tensor], d: Direction, step: float = FINE_STEP) -> Residual:
        """Two forwards at ± a fine step, for acceptance by tight agreement; they know no error."""
        e = self.exact(self.spread(d, step))
        y = (self.at(e, 1.0) - self.at(e, -1.0)) / (2 * step)
        value = float((self.v * y).sum())
        claim = self.claimed(gradients, e) / step
        return Residual(claim, Estimate(value, float("inf")), float((self.v * y).norm()))

    def missed(self, gradients: Mapping[str, Tensor], d: Direction, step: float = FINE_STEP) -> float:
        """|claimed − differenced| of two forwards at x ± step·d, d in units of each tensor's spread.

        What the claim predicts is taken along the displacement that floating point made of the direction.
        """
        up, down = (self._moved(d, side * step) for side in (1.0, -1.0))
        # before the forwards, which may write to their inputs
        claim = sum(float((gradients[n] * (up[n] - down[n])).sum()) for n in d)
        try:
            change = _flat(self.case.function(up)) - _flat(self.case.function(down))
        except Refused:  # nothing is accepted so; smaller steps, or steps by entry, may stay inside the domain
            return math.inf
        return abs(claim - float(torch.dot(self.v, change))) / (2 * step)

    def _moved(self, d: Direction, step: float) -> dict[str, Tensor]:
        """The leaves at x + step·d, d in units of each tensor's spread."""
        leaves, units = self.case.leaves, self.units
        return {n: torch.add(t, d[n], alpha=step * units[n]) if n in d else t.clone() for n, t in leaves.items()}

    def confirms(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether plain differences at finer steps are compatible with an estimate from coarser ones.

        A function that varies faster than the coarse steps (sin 10⁸x), or stands still between jumps (round), gives slopes
        there that may agree with one another and belong to no point. The slope of a smooth function is there at every finer
        step from which the predicted change stands out of the rounding. Where the slope found is small beside the claimed
        one, the change predicted by the claim must be missing instead.
        """
        h = min(FINE_STEP, found.step / 4)
        fine, noise = self.quick(gradients, d, h), NOISES * self.rounding / h
        # its own truncation; what it must exclude is of another size
        slack = 1e-2 * (abs(fine.estimate.value) + fine.flow) + 0.1 * abs(found.off)
        if not found.agrees(replace(fine, estimate=Estimate(fine.estimate.value, noise + slack))):
            return False
        return self._lasts(gradients, d, found) and self._missing(gradients, d, found)

    def _steps(self, slope: float) -> list[float]:
        """Steps up to the fine one, from where a slope moves the outputs by `SEEN` units of their last digits."""
        first = max(SEEN * self.case.u * float((self.v * self.y).norm()) / abs(slope), 2.0**-50) if slope else 1.0
        return [h for k in range(9) if (h := first * 64**k) < FINE_STEP]

    def _lasts(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether something moves at every finer step at which the slopes found, output by output, must move something."""
        slope, change = found.flow, self.change(self.spread(d, found.step))
        # of the outputs that move: another may lie beside a jump, which counts as noise
        moved = torch.ones_like(self.y) if change is None else change != 0
        rounding = float((self.v * self.noise * moved).norm())
        steps = [h for h in self._steps(slope) if slope * h > 64 * rounding]
        return all(self.quick(gradients, d, h).flow >= slope / 4 for h in steps)

    def _missing(self, gradients: Mapping[str, Tensor], d: Direction, found: Residual) -> bool:
        """Whether at no finer step the claim is right."""
        finest = (self.quick(gradients, d, h) for h in self._steps(found.claimed))
        return not any(r.out < 0.05 * abs(r.off - found.off) for r in finest)

    def around(self, d: Direction, radius: float) -> tuple[float, float]:
        """Between which values the derivative along d lies at points around: each output takes its own least and largest.

        At a kink of several pieces (the middle one of three equal entries, sorted) what lies around the point may be no
        one-sided slope at it: any convex combination of nearby gradients is one of the point (Clarke, "Optimization and
        Nonsmooth Analysis", 1983).
        """
        slopes = torch.stack([self._slope(d, number, radius) for number in range(AROUND)])
        low, high = slopes.amin(0).sum(), slopes.amax(0).sum()
        slack = 1e-6 * float(slopes.abs().amax(0).sum())
        return float(low) - slack, float(high) + slack

    def among(self, gradients: Mapping[str, Tensor], d: Direction, off: float) -> bool:
        """Whether the claim is a slope of the pieces that meet at the point, as the median of equal numbers has them: between
        the slopes around however near one looks. A smooth function's slopes close in on one, and rounding must not make up
        what lies between."""
        if NOISES * self.rounding / (RADII[-1] / STEP_AROUND) > 0.05 * abs(off):
            return False
        claim = self.claimed(gradients, self.spread(d, 1.0))
        coarse, fine = (self.around(d, radius) for radius in RADII)
        lasting = fine[1] - fine[0] >= 0.5 * (coarse[1] - coarse[0])
        return lasting and all(low <= claim <= high for low, high in (coarse, fine))

    def _slope(self, d: Direction, number: int, radius: float) -> Tensor:
        """v ⊙ the slopes of the outputs along d at a point a little off, all entries of d's leaves moved."""
        off = self.exact(self.spread(self.direction(60 + number, list(d)), radius))
        h = radius / STEP_AROUND
        e = self.exact(self.spread(d, h))
        ends = [self.at({n: off[n] + side * e[n] for n in d}, 1.0) for side in (1.0, -1.0)]
        return self.v * (ends[0] - ends[1]) / (2 * h)

    def jumps(self, d: Direction) -> bool:
        """Whether the plateau on which no output moves ends in a jump on either side, as where a function rounds coarsely.

        At a kink, as of relu, it ends without one. Looked for within `REACH`.
        """
        return any(self._jump(d, side) for side in (1.0, -1.0))

    def _jump(self, d: Direction, side: float) -> bool:
        whole = {n: side * t for n, t in self.spread(d, REACH).items()}
        still, moved = 0.0, 1.0
        if self._change(whole, moved) <= 20 * self.rounding:  # what moves at all is rounding
            return False
        for _ in range(24):
            middle = (still + moved) / 2
            still, moved = (still, middle) if self._change(whole, middle) > 0 else (middle, moved)
        edge = self._change(whole, moved)
        if edge <= 20 * self.rounding:  # a step of the outputs' own last digit, which every bound allows for
            return False
        # past a kink the change grows with the distance from the edge, past a jump it is there at once; and where a
        # function rounds coarsely, other steps follow: a jump alone, as of sign, leaves the slope 0 around it
        at_once = self._change(whole, moved + 64 * (moved - still)) < 8 * edge
        return at_once and self._change(whole, 8 * moved) > 2 * edge

    def _change(self, whole: Direction, part: float) -> float:
        change = self.change(whole, part)  # outside the domain nothing is known to move
        return 0.0 if change is None else float((self.v * change).norm().nan_to_num(0.0))

    def diverges(self, name: str, k: int) -> bool:
        """Whether the one-sided difference quotients of one entry grow without end, as those of √x at 0; from the side or
        sides on which the function is finite."""
        sides = [q for side in (1.0, -1.0) if (q := self._quotients(self.one(name, k), side))]
        return bool(sides) and all(all(b >= GROWTH * a > 0 for a, b in pairwise(q)) for q in sides)

    def _quotients(self, d: Direction, side: float) -> list[float]:
        found = []
        for h in (2.0**-k for k in range(6, 42, 6)):
            if (change := self.change(self.spread(d, h), side)) is None:
                return []
            found.append(float((self.v * change).norm()) / h)
        return found if all(map(math.isfinite, found)) else []

    def residual(self, gradients: Mapping[str, Tensor], d: Direction, k: int) -> Residual | None:
        """The claim against Richardson's estimate with the largest step 2⁻ᵏ; None where it leaves the domain."""
        try:
            return self._rung(gradients, d, 2.0**-k)
        except Refused:
            return None

    def _rung(self, gradients: Mapping[str, Tensor], d: Direction, h: float) -> Residual:
        t = h / 4
        e = self.exact(self.spread(d, t), reach=4)
        stencil = Stencil(lambda k: self.at(e, k), self.y, self.v, self.noise, self.case.u, t)
        claim = self.claimed(gradients, e) / t
        rounding = 32 * self.case.u * abs(claim)
        error, noise = float(stencil.error), float(stencil.noise)
        sides = tuple(map(float, stencil.sides)) if bool(stencil.kinked) else None
        estimate = Estimate(float(stencil.value), error + rounding)
        return Residual(
            claim, estimate, float(stencil.flow), sides, error < 2 * (noise + rounding), h, float(stencil.shared)
        )

    def entry(self, name: str, k: int) -> Estimate:
        """The derivative with respect to one entry of a leaf: the rung with the least error that another confirms."""
        one = self.one(name, k)
        rungs: list[tuple[Residual, Estimate]] = []
        steps = [FIRST, *DOWN]
        while steps:
            r = self.residual(one, one, steps.pop(0))
            if r is None or not r.estimate.known:
                continue
            # the claim of a gradient of one is the exact displacement, which may differ from the step in its last digits
            rungs.append((r, Estimate(r.estimate.value / r.claimed, r.estimate.error / abs(r.claimed))))
            if r.noisy and len(rungs) == 1:
                steps = list(UP)
            elif r.noisy and len(rungs) > 2:
                break
        for r, best in sorted(rungs, key=lambda pair: pair[1].error):
            if r.flow == 0 and self.jumps(one):
                break
            agreed = any(e is not best and abs(e.value - best.value) <= e.error + best.error for _, e in rungs)
            if agreed and self.confirms(one, one, r):
                return best
        return Estimate(float("nan"), float("inf"))

    @property
    def rounding(self) -> float:
        """‖v ⊙ n‖: the noise of the contracted outputs."""
        return float((self.v * self.noise).norm())

    @cached_property
    def variation(self) -> float:
        """‖v ⊙ Δy‖ over a step of the spread in all leaves: the outputs' size without what is constant in them."""
        far = self.far(self.case.wanted)
        return 0.0 if far is None else float((self.v * far).norm())

    def secant(self, name: str) -> float:
        """‖v ⊙ Δy‖ over a step of one leaf's spread, in units of its gradient's entries: how steep the function is from afar."""
        if (far := self.far([name])) is None:
            return 0.0
        size = float((self.v * far).norm()) / self.units[name] / math.sqrt(self.case.leaves[name].numel())
        return size if math.isfinite(size) else 0.0

    def floor(self, name: str) -> float:
        """64 u ‖v ⊙ y‖ / spread(x): the smallest slope that the forward can express in its last digits."""
        return 64 * self.case.u * float((self.v * self.y).norm()) / float(self.scales[name].max())


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])
