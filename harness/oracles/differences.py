"""Central differences that know their own error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.draws import directions_like, range_of, scales_of, unit_between
from harness.once import once
from harness.oracles.estimate import FINE_STEP, Direction, Estimate, Residual
from harness.oracles.noise import rounding_of
from harness.oracles.stencil import Parts, Stencil, weighed

FIRST = 4
"""The first rung's largest step is 2⁻⁴, in units of each tensor's spread: a smooth function at home on that scale is exact
to rounding there after two extrapolations."""

SECOND = 2.0 ** -(FIRST + 4)
"""The second rung's largest step: FAIL needs two, so that a slope which moves nothing by a last digit over it is not refuted."""

DOWN = tuple(range(FIRST + 4, 50, 4))
"""Where truncation rules: down to 2⁻⁴⁸, where a step meets the last digits of float64."""

UP = (2, 1, -2)
"""Where rounding rules, as where the function hardly depends on the tensor: up to four times the spread. No further: from afar
every bounded function is flat."""


NOISE_STEP = 2.0**-20
"""Where noise is measured, in units of the spread: fine enough for fourth differences of the smooth part to vanish, and
coarse enough to cross the quanta of a float32 computation inside a float64 layer."""


INWARDS = (1.0, 2.0**-2, 2.0**-4)
"""How far, in units of the spread, is from afar: less where the domain ends before, as that of √(1 − x²) around 0."""


FINE_NOISE_STEP = 2.0**-36
"""Where it is measured again for a function that is not smooth on the scale of 2⁻²⁰, as 1/√(σ² + ε) in constant columns; only
of outputs that still move from point to point."""


class Differences:
    """Central differences of one case's outputs along directions, contracted with its cotangents."""

    def __init__(self, case: Case, held: Mapping[str, Tensor] | None = None) -> None:
        self.case = case
        self.v = _row(case.base.cotangents)
        self.held: dict[str, Tensor] = {**(held or {})}
        """Entries that no direction moves: singular points."""
        self.moving: list[str] = case.wanted
        """The leaves along which noise is measured."""
        self.noise_steps: tuple[float, ...] = (NOISE_STEP,)
        """The steps at which it is: the smaller of what is found counts."""

    def within(self, mask: Tensor) -> Differences:
        """The same, of some of the outputs alone: the noise of the others does not count."""
        part = copy(self)
        part.v = self.v * mask
        part.__dict__.pop("variation", None)
        return part

    def measured(self, name: str, scales: Tensor) -> Differences:
        """The same in other units of one leaf's steps, its noise measured in them."""
        part = copy(self)
        part.moving, part.noise_steps = [name], (NOISE_STEP,)
        part.__dict__["scales"] = {**self.scales, name: scales}
        part.__dict__["noise"] = part._noise_on(1.0)
        part.__dict__.pop("noise_around", None)
        return part

    def alone(self, name: str) -> Differences:
        """The same with the noise along one leaf alone, at two steps the smaller."""
        part = copy(self) if self.case.wanted == [name] else self.measured(name, self.scales[name])
        fine = part._rounding(part.direction(0, [name]), FINE_NOISE_STEP)
        part.__dict__["noise"] = torch.minimum(part.noise, fine)
        part.noise_steps = (NOISE_STEP, FINE_NOISE_STEP)
        part.__dict__.pop("noise_around", None)
        return part

    @once
    def y(self) -> Tensor:
        """The outputs, of one axis."""
        if self.case.declared is None:
            return _row(self.case.base.outputs)
        return _flat(self.case.function(self.case.leaves))

    @once
    def scales(self) -> dict[str, Tensor]:
        """The unit of a step in each leaf, or in each entry of it."""
        return {n: scales_of(t) for n, t in self.case.leaves.items() if t.is_floating_point()}

    @once
    def units(self) -> dict[str, float]:
        """One unit for each leaf."""
        return {n: unit_between(*ends) for n, ends in self.ranges.items()}

    @once
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The smallest and the largest entry of each leaf."""
        return {n: range_of(t) for n, t in self.case.leaves.items() if t.is_floating_point()}

    @once
    def noise(self) -> Tensor:
        """The standard deviation of each output's rounding, measured."""
        return self._noise_on(1.0)

    @once
    def noise_around(self) -> Tensor:
        """The same where it is larger on the other side: at a kink the function may be another there, and coarser."""
        return torch.maximum(self.noise, self._noise_on(-1.0))

    def _noise_on(self, side: float) -> Tensor:
        d = {n: side * t for n, t in self.direction(0, self.moving).items()}
        return torch.stack([self._rounding(d, step) for step in self.noise_steps]).amin(0)

    def stencil(self, e: Direction, t: float, parts: Parts | None = None) -> Stencil:
        """f at x ± e, ± 2e, ± 4e, at a kink with the noise of both sides."""
        made = [Stencil(lambda k: self.at(e, k), self.y, self.v, self.noise, self.case.u, t, parts)]
        if bool(made[0].kinked.any()) and not torch.equal(self.noise_around, self.noise):
            made.append(Stencil(lambda k: self.at(e, k), self.y, self.v, self.noise_around, self.case.u, t, parts))
        return made[-1]

    def _rounding(self, d: Direction, size: float = NOISE_STEP) -> Tensor:
        step = self.spread(d, size)
        measured = rounding_of(lambda k: self.change(step, k), self.y, self.case.u, moving=size < NOISE_STEP)
        return measured if self.case.replays else torch.maximum(measured, self.case.jitter)

    def rounding_at(self, d: Direction, size: float) -> Tensor:
        """The same along a direction and between points so far apart; infinite for outputs that stand still."""
        step = self.spread(d, size)
        return rounding_of(lambda k: self.change(step, k), self.y, self.case.u, moving=True)

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
        if not self.held:
            return drawn
        return {n: d.masked_fill(self.held[n], 0.0) if n in self.held else d for n, d in drawn.items()}

    def tied(self, names: list[str]) -> bool:
        """Whether two entries of these leaves are equal."""
        entries = torch.cat([self.case.leaves[n].detach().reshape(-1).double() for n in names])
        return int(torch.unique(entries).numel()) < entries.numel()

    def ordered(self, names: list[str], sign: float) -> dict[str, Tensor]:
        """The direction along which entries grow (or fall) with their place along every axis, and from leaf to leaf."""
        found = {}
        for k, n in enumerate(names):
            x = self.case.leaves[n]
            ramp = torch.full_like(x, float(k))
            for axis, size in enumerate(x.shape):
                place = torch.arange(1, size + 1, device=x.device) / ((size + 1) * x.ndim)
                ramp += place.to(x).reshape(-1, *[1] * (x.ndim - axis - 1))
            ramp *= sign / len(names)
            found[n] = ramp.masked_fill(self.held[n], 0.0) if n in self.held else ramp
        return found

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
        d = torch.zeros_like(self.case.leaves[name], memory_format=torch.contiguous_format)
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

    def off(self, gradients: Mapping[str, Tensor], d: Direction, step: float = FINE_STEP) -> float:
        """Claimed − differenced by two forwards at x ± step·d, d in units of each tensor's spread; infinite where the forward
        refuses one of the two.

        What the claim predicts is taken along the displacement that floating point made of the direction.
        """
        up, down = (self._moved(d, side * step) for side in (1.0, -1.0))
        # before the forwards, which may write to their inputs
        claim = sum(float((gradients[n] * (up[n] - down[n])).sum()) for n in d)
        try:
            change = _flat(self.case.function(up)) - _row(self.case.function(down))
        except Refused:  # nothing is accepted so; smaller steps, or steps by entry, may stay inside the domain
            return math.inf
        return (claim - float(torch.dot(self.v, change))) / (2 * step)

    def _moved(self, d: Direction, step: float) -> dict[str, Tensor]:
        """The leaves at x + step·d, d in units of each tensor's spread."""
        leaves, units = self.case.leaves, self.units
        return {n: torch.add(t, d[n], alpha=step * units[n]) if n in d else t.clone() for n, t in leaves.items()}

    def residual(self, gradients: Mapping[str, Tensor], d: Direction, k: int) -> Residual | None:
        """The claim against Richardson's estimate with the largest step 2⁻ᵏ; None where it leaves the domain."""
        try:
            return self._rung(gradients, d, 2.0**-k)
        except Refused:
            return None

    def _rung(self, gradients: Mapping[str, Tensor], d: Direction, h: float) -> Residual:
        t = h / 4
        e = self.exact(self.spread(d, t), reach=4)
        stencil = self.stencil(e, t)
        claim = self.claimed(gradients, e) / t
        rounding = 32 * self.case.u * abs(claim)
        error, noise = float(stencil.error), float(stencil.noise)
        sides = tuple(map(float, stencil.sides)) if bool(stencil.kinked) else None
        estimate, noisy = Estimate(float(stencil.value), error + rounding), error < 2 * (noise + rounding)
        shared, hinge = float(stencil.shared), float(stencil.hinge)
        return Residual(claim, estimate, float(stencil.flow), sides, noisy, h, shared, hinge)

    @property
    def rounding(self) -> float:
        """‖v ⊙ n‖: the noise of the contracted outputs."""
        return float(weighed(self.v, self.noise).norm())

    @once
    def variation(self) -> float:
        """‖v ⊙ Δy‖ over a step of the spread in all leaves: the outputs' size without what is constant in them."""
        return self._afar(self.case.wanted)[0]

    def secant(self, name: str) -> float:
        """‖v ⊙ Δy‖ over a step of one leaf's spread, in units of its gradient's entries: how steep the function is from afar."""
        change, step = self._afar([name])
        return change / step / self.units[name] / math.sqrt(self.case.leaves[name].numel())

    def _afar(self, names: list[str]) -> tuple[float, float]:
        """‖v ⊙ Δy‖ over a step of the spread in some leaves, to the side on which more moves (relu² of numbers that are not
        positive), or over less where that leaves the domain; and the step."""
        for step in INWARDS:
            found = (self.change(self.spread(self.direction(1, names), step), side) for side in (1.0, -1.0))
            sizes = [float((self.v * far).norm()) for far in found if far is not None]
            if finite := [size for size in sizes if math.isfinite(size)]:
                return max(finite), step
        return 0.0, 1.0

    def floor(self, name: str) -> float:
        """64 u ‖v ⊙ y‖ / spread(x): the smallest slope that the forward can express in its last digits."""
        return 64 * self.case.u * float((self.v * self.y).norm()) / float(self.scales[name].max())

    def finest(self, name: str) -> float:
        """‖v ⊙ n‖ / spread(x): the smallest slope that the forward's measured rounding leaves visible."""
        return self.rounding / float(self.scales[name].max())


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    """All entries of one axis, in memory of their own: another forward may write where these outputs lie."""
    if len(tensors) == 1:
        return tensors[0].detach().reshape(-1).to(torch.float64, copy=True)
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])


def _row(tensors: tuple[Tensor, ...]) -> Tensor:
    """The same of what nothing writes to any more; of a single tensor where it lies."""
    return tensors[0].detach().reshape(-1).double() if len(tensors) == 1 else _flat(tensors)
