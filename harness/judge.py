"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from harness.arrays import rms
from harness.blocks import Blocks, Units, blocks_of
from harness.case import Case
from harness.claim import Claim
from harness.differences import FIRST, SECOND, Differences
from harness.domain import Refused
from harness.estimate import Direction
from harness.inside import said_of_float32
from harness.line import LEAST, Ladder, Line
from harness.outcome import Outcome
from harness.place import Place
from harness.verdict import ROUNDINGS, Verdict

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""

COARSEST = 1e-3
"""The largest share of the gradient that a verified bound may be, however coarse the forward's last digit is."""


CLOSER = 16
"""How much closer than allowed one difference must be to stand alone: by chance an error of the relative size δ in all of N
entries is that small in one of 3·10⁷ δ √N draws, and an error in a single entry never (no entry of a direction is below 0.5)."""


class Judge:
    """Decides on the gradients of one case."""

    def __init__(self, case: Case, number: int = 0) -> None:
        self.case, self.number = case, number
        self.differences = Differences(case)
        self.claim = Claim(self.differences)
        self._along: dict[str, Differences] = {}
        self._blocks: dict[str, Blocks | None] = {}
        self._secants: dict[str, float] = {}
        self.kinks: dict[str, list[int]] = {}
        """{tensor: its entries at a kink}."""

    @cached_property
    def trusted(self) -> dict[str, Tensor] | None:
        """Autograd's gradients, None where autograd is no second opinion."""
        found = self.case.autograd
        if not isinstance(found, dict):
            return None
        held = self.differences.held
        return {n: r.masked_fill(held[n], 0.0) if n in held else r for n, r in found.items()}

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """A verdict on every tensor whose gradient is wanted."""
        found = dict(self.claim.malformed)
        sound = [n for n in self.case.wanted if n not in found]
        found |= self._quick(sound)
        decided = {n: found[n] if n in found else self.escalated(n) for n in self.case.wanted}
        if len(self.kinks) > 1 and (why := Place(self).across()):
            decided |= {n: Verdict(Outcome.FAIL, decided[n].resolution, why) for n in self.kinks}
        return {n: self._said(n, said_of_float32(self, n, Place(self).in_regimes(n, v))) for n, v in decided.items()}

    def _said(self, name: str, verdict: Verdict) -> Verdict:
        held = self.differences.held.get(name)
        if held is None:
            return verdict
        said = f"{int(held.sum())} entries of {name} sit at a singular point, where the one-sided differences diverge"
        return replace(verdict, reason="; ".join(filter(None, (said, verdict.reason))))

    # Acceptance by tight agreement

    @cached_property
    def tight(self) -> frozenset[str]:
        """The tensors whose claim equals autograd's gradient to 64 u in every entry."""
        return frozenset(n for n in self.trusted or () if n not in self.claim.malformed and self._equals(n))

    def _equals(self, name: str) -> bool:
        assert self.trusted is not None
        g, r = self.claim.gradients[name], self.trusted[name]
        if torch.equal(g, r):
            return True
        g, r = g.double(), r.double()
        apart, allowed = g - r, 64 * self.case.u
        if float(torch.linalg.vector_norm(apart, math.inf)) <= allowed * rms(r):
            return True
        return bool((apart.abs() <= allowed * (r.abs() + rms(r))).all())

    def apart(self, name: str) -> float:
        """The largest |claimed − autograd's| relative to the gradient's scale."""
        assert self.trusted is not None
        g, r = self.claim.gradients[name].double(), self.trusted[name].double()
        scale = max(self.scale(name, []), self._zero(name) / self.case.tau)
        return self.relative(float((g - r).abs().max()), scale)

    def _quick(self, names: list[str]) -> dict[str, Verdict]:
        """One joint difference, if it is `CLOSER` than allowed or autograd agrees entry by entry; else three independent
        ones. Where autograd is no second opinion on this layer there are always three."""
        if not names or self.case.u > 1e-10:
            return {}
        scale = {n: self.claim.sizes[n] * self.differences.units[n] for n in names}
        allowed = {n: LEAST * self.case.tau * scale[n] for n in names}
        worst = self._joint(names) if self.case.echo or self.case.traceable else math.inf
        if not CLOSER * worst <= min(allowed.values()):
            if self.trusted is not None:
                agreed = [n for n in names if n in self.tight]
            else:
                agreed = names if self.case.subject.takes_cotangent else []
            if not agreed:
                return {}
            if agreed != names or worst == math.inf:
                worst = self._joint(agreed)
            names = agreed
            worst = max([worst, *(other.missed(names) for other in self.rotated)])
        return {
            n: Verdict(Outcome.PASS, max(64 * self.case.u, worst / (LEAST * scale[n])))
            for n in names
            if worst <= allowed[n] and scale[n] > 0
        }

    def _joint(self, names: list[str]) -> float:
        """|claimed − differenced| along one direction through all tensors."""
        return self.differences.missed(self.claim.gradients, self.differences.direction(self.number, names))

    def missed(self, names: list[str]) -> float:
        """The same, infinite where a gradient is missing or malformed."""
        return float("inf") if any(n in self.claim.malformed for n in names) else self._joint(names)

    @cached_property
    def rotated(self) -> tuple[Judge, ...]:
        """Where autograd can't vouch: the same point with other cotangents and directions."""
        if self.trusted is not None or self.number or not self.case.subject.takes_cotangent:
            return ()
        return tuple(Judge(self.case.with_base(self.case.evaluate(k)), k) for k in (2, 3))

    def escalated(self, name: str) -> Verdict:
        """Judged in full, with every cotangent."""
        first = self._thorough(name)
        if first.outcome is Outcome.FAIL:
            return first
        others = [(o.claim.malformed.get(name) or o._thorough(name)) for o in self.rotated]
        failed = [
            replace(v, case=o.case) for v, o in zip(others, self.rotated, strict=True) if v.outcome is Outcome.FAIL
        ]
        return failed[0] if failed else first

    # Everything else: estimates with bounds

    def _thorough(self, name: str) -> Verdict:
        """Directions through this tensor alone, then its entries."""
        directions = self._directions(name)
        lines = [self.line(name, d) for d in directions]
        scale = self.scale(name, lines)
        need = self.need(name, scale)
        if not all(line.settled(need) for line in lines) and self._finer(name):
            lines = [self.line(name, d) for d in directions]
        if all(line.settled(need) for line in lines):
            return Verdict(Outcome.PASS, self.relative(max(line.bound for line in lines), scale))
        if not self.case.replays:
            return Verdict(
                Outcome.INCONCLUSIVE,
                reason="two forwards under one seed differ: it draws from a generator that can't be replayed",
            )
        # Short of that the backward's own rounding counts too: it is measured only here, for it costs evaluations
        known = max(line.error / line.least for line in lines)
        lines = [
            line.forgiven(self._slack(name, d), self._hidden(name, line) if line.refuted else 0.0)
            for line, d in zip(lines, directions, strict=True)
        ]
        zero = self._zero(name)
        # small beside what the outputs vary by: beside a large constant in them anything is
        varies = COARSEST * self.differences.variation / self.differences.unit(name)
        small = known <= zero and (zero <= varies or not varies)
        if small and not any(line.refuted or line.kinked for line in lines):
            return Verdict(Outcome.PASS, self.case.tau, f"its gradient is zero up to rounding, {zero:.0e}")
        if any(line.refuted for line in lines):
            return Place(self).refuted(name, scale, lines, directions)
        if self.claim.gradients[name].numel() <= ENTRIES or self.blocks(name) is not None:
            return Place(self).by_entries(name, scale)
        return Verdict(Outcome.INCONCLUSIVE, self.relative(max(x.bound for x in lines), scale), self._short_of(lines))

    def _finer(self, name: str) -> bool:
        """Whether less rounding is met along this tensor alone than along all together, as by a γ behind a normalisation
        of nearly constant columns; if so that is what its differences are held to from here on."""
        if len(self.case.wanted) < 2:
            return False
        own = self.differences.measured(name, self.differences.scales[name])
        if 4 * own.rounding > self.differences.rounding:
            return False
        self._along[name] = own
        return True

    def along(self, name: str) -> Differences:
        """The differences along one tensor."""
        return self._along.get(name, self.differences)

    def _slack(self, name: str, d: Direction) -> float:
        """What the claim's rounding may add up to along a direction."""
        return ROUNDINGS * float((self.claim.rounding[name] * d[name].double()).norm())

    def level(self, name: str, blocks: Blocks | None) -> Tensor:
        """The change of the outputs where the entries of each block, or all of a tensor, are equal; 0 where that is unknown."""
        x = self.case.leaves[name]
        flat = x.detach().reshape(-1).clone()
        entries = torch.arange(len(flat)).reshape(-1, 1) if blocks is None else blocks.entries
        flat[entries] = flat[entries].mean(0).expand_as(entries)
        found = self.differences.change({name: flat.reshape(x.shape) - x})
        zero = torch.zeros_like(self.differences.y)
        return zero if found is None else torch.where(found.isfinite(), found, zero)

    def _hidden(self, name: str, line: Line) -> float:
        units = Units(self.differences.scales[name], self.differences.scales[name])
        return self.hidden(name, self.differences, units, line.flow == 0) / self.differences.unit(name)

    def hidden(self, name: str, differences: Differences, units: Units, still: bool) -> float:
        """What may be lost inside, beside numbers as large as the outputs are nearby or where the entries are equal, of order
        one at least where nothing moves at all: over the second rung's step it changes them by less than their last digits.
        As a slope times the unit of a step; what is in dispute below it is not refuted: of softmax's p − 1 no digit is left
        where p is nearly 1, whatever autograd makes of it."""
        step = {name: differences.direction(1, [name])[name] * units.reach.to(self.case.leaves[name])}
        sides = [c.abs() for side in (1.0, -1.0) if (c := differences.change(step, side)) is not None]
        sides = [torch.where(c.isfinite(), c, 0.0) for c in (*sides, self.level(name, self.blocks(name)).abs())]
        numbers = torch.stack(sides).amax(0)
        return (
            64 * self.case.u * float((differences.v * (numbers.clamp(min=1.0) if still else numbers)).norm()) / SECOND
        )

    def _zero(self, name: str) -> float:
        """For a gradient that is nothing but rounding, how small it is known to be; 0 for any other.

        A true zero (a bias in front of a centring) has no size of its own to compare a bound with: what is left of it is
        the rounding of both passes, of the forward's as much as the ladder's first rung shows where nothing moves.
        """
        backward = ROUNDINGS * rms(self.claim.rounding[name])
        if self.claim.sizes[name] > max(backward, self.differences.floor(name)):
            return 0.0
        first = 2.0 ** -(FIRST + 2) * LEAST
        return backward + self.along(name).rounding / first / self.differences.unit(name)

    def _directions(self, name: str) -> list[Direction]:
        """Random ones, and the one along which the claim and autograd differ most."""
        count = 1 if self.trusted is not None else 3
        found: list[Direction] = [self.differences.direction(10 + k, [name]) for k in range(count)]
        if self.trusted is not None and name not in self.tight:
            apart = self.claim.gradients[name] - self.trusted[name].to(self.claim.gradients[name])
            found.append({name: apart / apart.abs().max()})
        return found

    def line(self, name: str, d: Direction) -> Line:
        """What the ladder says along a direction through one tensor."""
        need = self.need(name, self.claim.sizes[name])
        return Line.settle(Ladder(self.along(name), self.claim.gradients, d), self.differences.unit(name), need)

    def blocks(self, name: str) -> Blocks | None:
        """The tensor's entries in blocks that do not interact."""
        if name not in self._blocks:
            self._blocks[name] = blocks_of(self.differences, name)
        return self._blocks[name]

    def entry(self, name: str, k: int, need: float, slack: float) -> Line:
        """What it says about one entry, the claim's rounding forgiven: in steps of the whole's spread, else of its block's, or
        of its own size."""
        blocks = self._blocks.get(name)
        f, g = self.along(name), self.claim.gradients[name]
        whole = Units(f.scales[name], f.scales[name])
        if blocks is None:
            return self._entry(f, g, name, k, need, slack, whole)
        f, g = self._part(name, blocks.outputs_of(k))
        line = self._entry(f, g, name, k, need, slack, whole)
        for units in () if line.outside or line.settled(need) else blocks.units(self.differences, name):
            try:
                line = self._entry(f.measured(name, units.step), g, name, k, need, slack, units)
            except Refused:
                continue
            if line.outside or line.settled(need):
                break
        return line

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
        self, differences: Differences, g: Tensor, name: str, k: int, need: float, slack: float, units: Units
    ) -> Line:
        ladder = Ladder(differences, {name: g}, differences.one(name, k))
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

    def _short_of(self, lines: list[Line]) -> str:
        worst = max(lines, key=lambda line: line.bound)
        if worst.kinked:
            return "the function has kinks here, and the tensor is too large to look at each entry"
        return "the differences are no finer: the forward's own rounding hides it"

    def vouched(self, name: str) -> bool:
        """Whether differences confirm autograd on this tensor."""
        assert self.trusted is not None
        trusted = {name: self.trusted[name]}
        need = self.need(name, rms(trusted[name]))
        lines = [
            Line.settle(Ladder(self.along(name), trusted, d), self.differences.unit(name), need)
            for d in self._directions(name)
        ]
        return not any(line.refuted or line.kinked for line in lines)
