"""What ladders of steps show of the gradients that one backward claims: along directions and at entries, on which scale, and
how fine that must be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.judgement.claim import Claim
from harness.judgement.edges import REACH
from harness.judgement.line import LEAST, Ladder, Line
from harness.judgement.verdict import ROUNDINGS
from harness.oracles.blocks import Blocks, Units, blocks_of
from harness.oracles.differences import DOWN, FIRST, NOISE_STEP, SECOND, Differences
from harness.oracles.estimate import Direction
from harness.oracles.noise import POINTS
from harness.tensors.arrays import least, ratio, rms

COARSEST = 1e-3
"""The largest share of the gradient that a verified bound may be, however coarse the forward's last digit is."""


REGIMES = 2.0**26
"""The square root of 1/u: entries so many times smaller than others are smaller than τ times them, so that the bound of the
whole says nothing of them."""


WITHIN = 36
"""The step, 2⁻³⁶ of the spread: nearly always within one step of float32's staircase."""


NEARER = 1 / 16
"""How far from the point, as a share of where outputs show how large numbers inside may be, these are looked at once more."""

GROWTH = NEARER**-6
"""By how much larger than there they may be: as far as a polynomial of degree six grows, and no exponential."""

ROUGH = 64
"""By how much outputs that are nothing but rounding may vary less next to the point than a spread away, where numbers are
larger; those of a slope vary 2¹⁶ times less."""


class Ladders:
    """The differences of one case beside its claim."""

    def __init__(self, case: Case, held: Mapping[str, Tensor] | None = None) -> None:
        self.case = case
        self.differences = Differences(case, held)
        self.claim = Claim(self.differences)
        self._along: dict[str, Differences] = {}
        self._blocks: dict[str, Blocks | None] = {}
        self._secants: dict[str, float] = {}

    @cached_property
    def cancelled(self) -> float:
        """What rounding may change the outputs by, 64 u ‖v‖ max ‖x‖, where these are nothing but what rounding leaves of
        their difference, as of log Z − score where only one path exists: they vary next to the point by as much as a spread
        away, as no slope does; else 0."""
        f = self.differences
        largest = max(float(t.norm()) for t in self.case.leaves.values() if t.is_floating_point())
        most = 64 * self.case.u * float(f.v.norm()) * largest
        if not float((f.v * f.y).norm()) <= most:
            return 0.0
        d = f.direction(1, self.case.wanted)

        def varies(steps: list[float]) -> float:
            found = [f.change(f.spread(d, h)) for h in steps]
            return max(math.inf if c is None else float((f.v * c).norm().nan_to_num(math.inf)) for c in found)

        first, *others = ([NOISE_STEP * k for k in some] for some in POINTS.reshape(-1, 2).tolist())
        if not (near := varies(first)):  # they stand still
            return 0.0
        near = max([near, *map(varies, others)])
        far = varies([side * h for h in (REACH, 1.0, SECOND) for side in (1.0, -1.0)])
        return most if max(near, far) <= min(most, ROUGH * near) else 0.0

    def finer(self, name: str) -> bool:
        """Whether less rounding is met along this tensor alone, or nearer to the point, than along all together, as by a γ
        behind a normalisation of nearly constant columns; if so its differences are held to that from here on."""
        try:
            own = self.differences.alone(name)
            if 4 * own.rounding > self.differences.rounding or self._steps(name, own):
                return False
        except Refused:  # steps of the whole's spread leave the domain
            return False
        self._along[name] = own
        return True

    def _steps(self, name: str, own: Differences) -> bool:
        """Whether there is a staircase on which less rounding is met because it is finer than its steps: a float32 computation
        inside. The slope is another there than the one that larger steps measure, with all the rounding that they cross."""
        d = own.direction(10, [name])
        near = own.residual(self.claim.gradients, d, WITHIN)
        afar = (self.differences.residual(self.claim.gradients, d, k) for k in (FIRST, *DOWN[:2]))
        known = [r for r in afar if r is not None and r.estimate.known]
        return near is not None and any(
            abs(r.off - near.off) > r.estimate.error + r.shared + near.estimate.error + near.shared for r in known
        )

    def along(self, name: str) -> Differences:
        """The differences along one tensor."""
        return self._along.get(name, self.differences)

    def slack(self, name: str, d: Direction) -> float:
        """What the claim's rounding may add up to along a direction."""
        return ROUNDINGS * float((self.claim.rounding[name] * d[name].double()).norm())

    def level(self, name: str, blocks: Blocks | None) -> Tensor:
        """The change of the outputs, of one axis, where the entries of each block, or all of a tensor, are equal; 0 where that is
        unknown."""
        x = self.case.leaves[name]
        flat = x.detach().reshape(-1).clone()
        entries = torch.arange(len(flat)).reshape(-1, 1) if blocks is None else blocks.entries
        flat[entries] = flat[entries].mean(0).expand_as(entries)
        found = self.differences.change({name: flat.reshape(x.shape) - x})
        zero = torch.zeros_like(self.differences.y)
        return zero if found is None else torch.where(found.isfinite(), found, zero)

    def hidden_along(self, name: str, line: Line) -> float:
        """What may be lost inside along a direction through one tensor."""
        units = Units(self.differences.scales[name], self.differences.scales[name])
        return self.hidden(name, self.differences, units, line.flow == 0) / self.differences.unit(name)

    def hidden(self, name: str, differences: Differences, units: Units, still: bool) -> float:
        """What may be lost inside, beside numbers as large as the outputs are nearby or where the entries are equal, of order
        one at least where nothing moves at all: over the second rung's step it changes them by less than their last digits.
        As a slope times the unit of a step; what is in dispute below it is not refuted: of softmax's p − 1 no digit is left
        where p is nearly 1, whatever autograd makes of it."""
        step = {name: differences.direction(1, [name])[name] * units.reach.to(self.case.leaves[name])}
        far = torch.maximum(_largest(differences, step, 1.0), self.level(name, self.blocks(name)).abs())
        # exp(x) one spread away says nothing of the numbers at x
        plain = max(1.0, float(differences.y.abs().amax()), float(self.case.leaves[name].abs().amax()))
        numbers = torch.minimum(far, (GROWTH * _largest(differences, step, NEARER)).clamp(min=plain))
        return (
            64 * self.case.u * float((differences.v * (numbers.clamp(min=1.0) if still else numbers)).norm()) / SECOND
        )

    def zero(self, name: str) -> float:
        """For a gradient that is nothing but rounding, how small it is known to be; 0 for any other.

        A true zero (a bias in front of a centring) has no size of its own to compare a bound with: what is left of it is
        the rounding of both passes, of the forward's as much as the ladder's first rung shows where nothing moves.
        """
        backward = ROUNDINGS * rms(self.claim.rounding[name])
        if self.claim.sizes[name] > max(backward, self.differences.floor(name)):
            return 0.0
        first = 2.0 ** -(FIRST + 2) * LEAST
        return backward + self.along(name).rounding / first / self.differences.unit(name)

    def stationary(self, name: str) -> float:
        """How small the gradient of a function at an extremum must be known to be, as of a loss where what is predicted is what
        is wanted: nothing beside the slope from afar. Its digits hide more than they would of a slope. 0 for a claim that is
        more than rounding."""
        return COARSEST * self.case.tau * self.differences.secant(name) if self.zero(name) else 0.0

    def line(self, name: str, d: Direction, first: int | None = None) -> Line:
        """What the ladder says along a direction through one tensor."""
        need = self.need(name, self.claim.sizes[name])
        ladder = Ladder(self.along(name), self.claim.gradients, d, self.case.known_wrong, whole=True)
        return Line.settle(ladder, self.differences.unit(name), need, first=first)

    def blocks(self, name: str) -> Blocks | None:
        """The tensor's entries in blocks that do not interact."""
        if name not in self._blocks:
            self._blocks[name] = blocks_of(self.differences, name)
        return self._blocks[name]

    def uneven(self, name: str) -> bool:
        """Whether the sizes of a gradient's entries, or of the leaf's own, spread over more than a factor 2²⁶."""
        g, x = self.claim.gradients[name], self.case.leaves[name]
        if g.numel() < 2:
            return False
        # no entry is larger than the norm of all: nearly always that settles it
        norm = self.claim.sizes[name] * math.sqrt(g.numel())
        if norm > REGIMES * least(g) and ratio(g) > REGIMES:
            return True
        low, high = self.differences.ranges[name]
        near, far = sorted((abs(low), abs(high)))
        return far > REGIMES * (least(x) if low <= 0 <= high and far else near)

    def regimes(self, name: str, seen: float) -> Blocks | None:
        """The same where some block is so small that an error of the relative size τ of it may be smaller than what was
        `seen`; None where none is, whichever the blocks would be. A block of zeros has no size."""
        g = self.claim.gradients[name].double().reshape(-1)

        def enough(entries: Tensor) -> bool:
            sizes = g[entries].square().mean(0).sqrt()
            return bool(((self.case.tau * sizes >= seen) | (sizes == 0)).all())

        if (known := self._blocks.get(name)) is None:
            known = blocks_of(self.differences, name, enough)
        if known is None or enough(known.entries):
            return None
        self._blocks[name] = known
        return known

    def entry(self, name: str, k: int, need: float, slack: float, plain: bool = False) -> Line:
        """What it says about one entry, the claim's rounding forgiven: in steps of the whole's spread, else of its block's, or
        of its own size.

        Args:
            plain: whether the tensor is known to be wrong, and two steps that refute the entry are enough.
        """
        blocks = self._blocks.get(name)
        f, g = self.along(name), self.claim.gradients[name]
        whole = Units(f.scales[name], f.scales[name])
        if blocks is None:
            return self._entry(f, g, name, k, need, slack, whole, plain)
        mask = blocks.outputs_of(k)
        part, own = self._part(name, mask)
        line = self._entry(part, own, name, k, need, slack, whole)
        for units in () if line.outside or line.settled(need) else blocks.units(self.differences, name):
            try:
                line = self._entry(part.measured(name, units.step), own, name, k, need, slack, units)
            except Refused:
                continue
            if line.outside or line.settled(need):
                break
        return line if line.outside or own is g else self._elsewhere(line, name, k, need, slack, ~mask, own)

    def _elsewhere(self, line: Line, name: str, k: int, need: float, slack: float, mask: Tensor, own: Tensor) -> Line:
        """The rest of the claim against the outputs that the entry is not seen to move: where a backward carries cotangents
        from one block into another (a sum over the batch of a function of rows), the block's own part alone is right."""
        f, g = self.along(name), self.claim.gradients[name]
        mine, rest = float(own.flatten()[k]), g.double() - own.double()
        slack += 64 * self.case.u * (abs(mine) + abs(float(g.flatten()[k])))
        if abs(float(rest.flatten()[k])) <= slack:
            return line
        units = Units(f.scales[name], f.scales[name])
        found = self._entry(f.within(mask), rest, name, k, need, slack, units)
        return replace(found, expected=found.expected + mine) if found.outside else line

    def _part(self, name: str, mask: Tensor) -> tuple[Differences, Tensor]:
        """The differences and the claim of some of the outputs alone.

        The claim of a cotangent that is zero elsewhere: what the others depend on by less than their last digit is in
        neither.
        """
        if bool(mask.all()) or not self.case.subject.takes_cotangent:
            return self.along(name), self.claim.gradients[name]
        vs = self.case.base.cotangents
        parts = torch.split(mask, [v.numel() for v in vs])
        claimed = self.case.evaluate(1, tuple(v * m.reshape(v.shape) for v, m in zip(vs, parts, strict=True)))
        g = claimed.gradients.get(name)
        if g is None or g.shape != self.claim.gradients[name].shape:
            return self.along(name), self.claim.gradients[name]
        held = self.differences.held.get(name)
        return self.along(name).within(mask), g if held is None else g.masked_fill(held, 0.0)

    def _entry(
        self,
        differences: Differences,
        g: Tensor,
        name: str,
        k: int,
        need: float,
        slack: float,
        units: Units,
        plain: bool = False,
    ) -> Line:
        ladder = Ladder(differences, {name: g}, differences.one(name, k), plain or self.case.known_wrong)
        line = Line.settle(ladder, differences.unit(name, k), need, least=1.0)
        if not line.refuted:
            return line.forgiven(slack)
        return line.forgiven(slack, self.hidden(name, differences, units, line.flow == 0) / differences.unit(name, k))

    def scale(self, name: str, lines: list[Line]) -> float:
        """s: rms g, or the rms of ‖v ⊙ J u‖/‖u‖ where it is larger: the entries' size before cancellation.

        A zero at a point where nothing moves (x² at 0) has the scale τ times the slope from afar.
        """
        flows = (line.flow / self.differences.length(name) for line in lines)
        return max([self.claim.sizes[name], *flows, self.case.tau * self._afar(name)])

    def need(self, name: str, scale: float) -> float:
        """How fine a bound must be: τ·s, or the smallest slope that the forward can express, as long as that is small.

        Small beside the gradient, or beside the slopes of the outputs in whatever they depend on.
        """
        fine, floor = self.case.tau * scale, self.differences.floor(name)
        if floor <= fine:
            return fine
        share = COARSEST * max(scale, self.differences.variation / self.differences.unit(name))
        return max(fine, min(floor, share))

    def _afar(self, name: str) -> float:
        """The slope of the function from afar where the claim is nothing that the forward can express; else 0."""
        if name not in self._secants:
            zero = self.claim.sizes[name] <= self.differences.floor(name)
            self._secants[name] = self.differences.secant(name) if zero else 0.0
        return self._secants[name]

    def relative(self, bound: float, scale: float) -> float:
        """A bound as a share of the gradient's scale; the bound itself where there is no scale."""
        return bound / scale if scale > 0 else (0.0 if bound == 0 else bound)

    def short_of(self, lines: list[Line]) -> str:
        """Why lines are no finer."""
        worst = max(lines, key=lambda line: line.bound)
        if worst.kinked:
            return "the function has kinks here, and the tensor is too large to look at each entry"
        return "the differences are no finer: the forward's own rounding hides it"


def _largest(differences: Differences, step: Direction, share: float) -> Tensor:
    """By how much each output changes over a share of a step to either side, 0 where that is unknown."""
    sides = [c for side in (share, -share) if (c := differences.change(step, side)) is not None]
    return torch.stack([torch.zeros_like(differences.y), *(c.abs().nan_to_num(0.0, 0.0) for c in sides)]).amax(0)
