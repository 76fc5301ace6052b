"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from harness.arrays import RESOLUTION, all_finite, narrow, ratio, rms
from harness.blocks import Blocks, blocks_of
from harness.case import Case
from harness.estimate import FIRST, Differences, Direction
from harness.line import LEAST, Ladder, Line
from harness.outcome import Outcome
from harness.place import Place
from harness.verdict import ROUNDINGS, Verdict

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""

COARSEST = 1e-3
"""The largest share of the gradient that a verified bound may be, however coarse the forward's last digit is."""

REGIMES = 2.0**26
"""The square root of 1/u: entries so many times smaller than others are smaller than τ times them, so that the bound of the
whole says nothing of them."""

CLOSER = 16
"""How much closer than allowed one difference must be to stand alone: by chance an error of the relative size δ in all of N
entries is that small in one of 3·10⁷ δ √N draws, and an error in a single entry never (no entry of a direction is below 0.5)."""

SINGULAR = 64
"""Up to how many entries that are not finite are looked at one by one for a singular point."""

NEIGHBOURS = 4
"""At how many neighbouring points the backward's rounding is measured."""


class Judge:
    """Decides on the gradients of one case."""

    def __init__(self, case: Case, number: int = 0) -> None:
        self.case, self.number = case, number
        found = case.base.gradients
        self.gradients = {n: g.contiguous() for n in case.wanted if (g := found.get(n)) is not None}
        self.differences = Differences(case)
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
        found = dict(self.malformed)
        sound = [n for n in self.case.wanted if n not in found]
        found |= self._quick(sound)
        decided = {n: found[n] if n in found else self.escalated(n) for n in self.case.wanted}
        if len(self.kinks) > 1 and (why := Place(self).across()):
            decided |= {n: Verdict(Outcome.FAIL, decided[n].resolution, why) for n in self.kinks}
        return {n: self._said(n, self._in_float32(n, self._in_regimes(n, v))) for n, v in decided.items()}

    def _in_float32(self, name: str, verdict: Verdict) -> Verdict:
        """A layer that computes in float32 behind a float64 interface is told so, and not that its gradient is wrong.

        Its outputs or gradients are numbers of float32 at a point whose own numbers are not. What is off by no more than
        float32's resolution is then not verified, and no fault.
        """
        if name in self.malformed or (verdict.outcome is Outcome.PASS and not narrow(self.gradients[name])):
            return verdict
        where = self._narrow(name)
        if not where:
            return verdict
        scale = self.scale(name, [])
        off = torch.zeros(1) if verdict.expected is None else (self.gradients[name] - verdict.expected).nan_to_num(0.0)
        worst = self.relative(float(off.abs().max()), scale)
        if verdict.outcome is Outcome.FAIL and (verdict.expected is None or not worst <= RESOLUTION[torch.float32]):
            return verdict
        why = f"{where} computed in float32 inside a float64 interface"
        if verdict.outcome is Outcome.PASS:
            return replace(verdict, reason="; ".join(filter(None, (why, verdict.reason))))
        reached = max(worst, verdict.resolution if verdict.resolution < 1 else 0.0)
        why += f", which hides what is finer than {reached:.0e}: where that is intended ask for no more with resolution=1e-3"
        return Verdict(Outcome.INCONCLUSIVE, reached, why)

    def _narrow(self, name: str) -> str:
        """What is computed in float32: "outputs are", "its gradient is", or nothing."""
        if self.case.u > 1e-10 or all(narrow(t) or not t.is_floating_point() for t in self.case.nearby(0).values()):
            return ""
        near = self.case.neighbour(0)
        if all(narrow(y) for y in near.outputs):
            return "outputs are"
        g = near.gradients.get(name)
        return "its gradient is" if g is not None and narrow(g) else ""

    def _in_regimes(self, name: str, verdict: Verdict) -> Verdict:
        """A tensor whose entries differ widely in size is judged by blocks too: beside 10⁸ an error of 10⁻⁸ is none."""
        if verdict.outcome is not Outcome.PASS or self.case.echo or not self._uneven(name):
            return verdict
        blocks = self.blocks(name)
        return verdict if blocks is None else Place(self).by_regimes(name, blocks) or verdict

    def _uneven(self, name: str) -> bool:
        """Whether the sizes of a gradient's entries, or of the leaf's own, spread over more than a factor 2²⁶."""
        if self.gradients[name].numel() < 2:
            return False
        return any(ratio(t) > REGIMES for t in (self.gradients[name], self.case.leaves[name]))

    @cached_property
    def malformed(self) -> dict[str, Verdict]:
        """The gradients that can't be compared at all."""
        return {n: v for n in self.case.wanted if (v := self._malformed(n)) is not None}

    def _malformed(self, name: str) -> Verdict | None:
        g, x = self.gradients.get(name), self.case.leaves[name]
        if g is None:
            return Verdict(Outcome.FAIL, reason="backward gave no gradient of it")
        if g.shape != x.shape:
            return Verdict(Outcome.FAIL, reason=f"its gradient has shape {tuple(g.shape)}, it has {tuple(x.shape)}")
        if g.numel() == 0:
            return Verdict(Outcome.PASS, 0.0)
        if not math.isfinite(self.sizes[name]) and not all_finite(g) and not self._singular(name):
            bad = int((~torch.isfinite(g)).sum())
            return Verdict(Outcome.FAIL, reason=f"{bad} of {g.numel()} entries of the gradient are not finite")
        return None

    def _singular(self, name: str) -> bool:
        """Whether the function has no slope wherever the gradient is not finite; if so these entries are set aside."""
        g = self.gradients[name]
        bad = ~torch.isfinite(g)
        places = bad.flatten().nonzero().flatten().tolist()
        if len(places) > SINGULAR or not all(self.differences.diverges(name, k) for k in places):
            return False
        self.differences.held[name] = bad
        self.gradients[name] = g.masked_fill(bad, 0.0)
        self.sizes[name] = rms(self.gradients[name])
        return True

    def _said(self, name: str, verdict: Verdict) -> Verdict:
        held = self.differences.held.get(name)
        if held is None:
            return verdict
        said = f"{int(held.sum())} entries of {name} sit at a singular point, where the one-sided differences diverge"
        return replace(verdict, reason="; ".join(filter(None, (said, verdict.reason))))

    # Acceptance by tight agreement

    @cached_property
    def sizes(self) -> dict[str, float]:
        """The rms of each claimed gradient."""
        return {n: rms(g) for n, g in self.gradients.items()}

    @cached_property
    def tight(self) -> frozenset[str]:
        """The tensors whose claim equals autograd's gradient to 64 u in every entry."""
        return frozenset(n for n in self.trusted or () if n not in self.malformed and self._equals(n))

    def _equals(self, name: str) -> bool:
        assert self.trusted is not None
        g, r = self.gradients[name], self.trusted[name]
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
        g, r = self.gradients[name].double(), self.trusted[name].double()
        scale = max(self.scale(name, []), self._zero(name) / self.case.tau)
        return self.relative(float((g - r).abs().max()), scale)

    def _quick(self, names: list[str]) -> dict[str, Verdict]:
        """One joint difference, if it is `CLOSER` than allowed or autograd agrees entry by entry; else three independent
        ones. Where autograd is no second opinion on this layer there are always three."""
        if not names or self.case.u > 1e-10:
            return {}
        scale = {n: self.sizes[n] * self.differences.units[n] for n in names}
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
        return self.differences.missed(self.gradients, self.differences.direction(self.number, names))

    def missed(self, names: list[str]) -> float:
        """The same, infinite where a gradient is missing or malformed."""
        return float("inf") if any(n in self.malformed for n in names) else self._joint(names)

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
        others = [(o.malformed.get(name) or o._thorough(name)) for o in self.rotated]
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
        if all(line.settled(need) for line in lines):
            return Verdict(Outcome.PASS, self.relative(max(line.bound for line in lines), scale))
        if not self.case.replays:
            return Verdict(
                Outcome.INCONCLUSIVE,
                reason="two forwards under one seed differ: it draws from a generator that can't be replayed",
            )
        # Short of that the backward's own rounding counts too: it is measured only here, for it costs evaluations
        known = max(line.error / line.least for line in lines)
        lines = [line.forgiven(self._slack(name, d)) for line, d in zip(lines, directions, strict=True)]
        zero = self._zero(name)
        # small beside what the outputs vary by: beside a large constant in them anything is
        varies = COARSEST * self.differences.variation / self.differences.unit(name)
        small = known <= zero and (zero <= varies or not varies)
        if small and not any(line.refuted or line.kinked for line in lines):
            return Verdict(Outcome.PASS, self.case.tau, f"its gradient is zero up to rounding, {zero:.0e}")
        if any(line.refuted for line in lines):
            return Place(self).refuted(name, scale, lines, directions)
        if self.gradients[name].numel() <= ENTRIES or self.blocks(name) is not None:
            return Place(self).by_entries(name, scale)
        return Verdict(Outcome.INCONCLUSIVE, self.relative(max(x.bound for x in lines), scale), self._short_of(lines))

    def _slack(self, name: str, d: Direction) -> float:
        """What the claim's rounding may add up to along a direction."""
        return ROUNDINGS * float((self.rounding[name] * d[name].double()).norm())

    @cached_property
    def spreads(self) -> dict[str, Tensor]:
        """The spread of the claimed gradients over neighbouring points, entry by entry.

        Their spread, not their distance from the claim: a claim that is wrong at this very point alone stands out.
        """
        near = [self.case.neighbour(k).gradients for k in range(NEIGHBOURS)]
        found = {}
        for n, g in self.gradients.items():
            others = [h.double() for near_by in near if (h := near_by.get(n)) is not None and h.shape == g.shape]
            if n in self.differences.held:
                others = [h.masked_fill(self.differences.held[n], 0.0) for h in others]
            found[n] = torch.stack(others).std(0) if len(others) > 1 else torch.zeros_like(g, dtype=torch.float64)
        return found

    @cached_property
    def rounding(self) -> dict[str, Tensor]:
        """The rounding of each entry of the claimed gradients: never less than the median entry's, as a spread over few
        points may be small by chance."""
        return {n: s + s.median() if s.numel() else s for n, s in self.spreads.items()}

    def _zero(self, name: str) -> float:
        """For a gradient that is nothing but rounding, how small it is known to be; 0 for any other.

        A true zero (a bias in front of a centring) has no size of its own to compare a bound with: what is left of it is
        the rounding of both passes, of the forward's as much as the ladder's first rung shows where nothing moves.
        """
        backward = ROUNDINGS * rms(self.rounding[name])
        if self.sizes[name] > max(backward, self.differences.floor(name)):
            return 0.0
        first = 2.0 ** -(FIRST + 2) * LEAST
        return backward + self.differences.rounding / first / self.differences.unit(name)

    def _directions(self, name: str) -> list[Direction]:
        """Random ones, and the one along which the claim and autograd differ most."""
        count = 1 if self.trusted is not None else 3
        found: list[Direction] = [self.differences.direction(10 + k, [name]) for k in range(count)]
        if self.trusted is not None and name not in self.tight:
            apart = self.gradients[name] - self.trusted[name].to(self.gradients[name])
            found.append({name: apart / apart.abs().max()})
        return found

    def line(self, name: str, d: Direction) -> Line:
        """What the ladder says along a direction through one tensor."""
        need = self.need(name, self.sizes[name])
        return Line.settle(Ladder(self.differences, self.gradients, d), self.differences.unit(name), need)

    def blocks(self, name: str) -> Blocks | None:
        """The tensor's entries in blocks that do not interact."""
        if name not in self._blocks:
            self._blocks[name] = blocks_of(self.differences, name)
        return self._blocks[name]

    def entry(self, name: str, k: int, need: float) -> Line:
        """What it says about one entry: in steps of the whole's spread, else in steps of its block's."""
        blocks = self._blocks.get(name)
        if blocks is None:
            return self._entry(self.differences, self.gradients[name], name, k, need)
        part, g = self._part(name, blocks.outputs_of(k))
        line = self._entry(part, g, name, k, need)
        if line.outside or line.settled(need) or len(blocks.entries) == 1:
            return line
        return self._entry(part.measured(name, blocks.units(self.differences, name)), g, name, k, need)

    def _part(self, name: str, mask: Tensor) -> tuple[Differences, Tensor]:
        """The differences and the claim of some of the outputs alone.

        The claim of a cotangent that is zero elsewhere: what the others depend on by less than their last digit is in
        neither.
        """
        if bool(mask.all()) or not self.case.subject.takes_cotangent:
            return self.differences, self.gradients[name]
        vs = self.case.base.cotangents
        parts = torch.split(mask, [v.numel() for v in vs])
        claimed = self.case.evaluate(1, tuple(v * m.reshape(v.shape) for v, m in zip(vs, parts, strict=True)))
        g = claimed.gradients.get(name)
        if g is None or g.shape != self.gradients[name].shape:
            return self.differences, self.gradients[name]
        held = self.differences.held.get(name)
        return self.differences.within(mask), g if held is None else g.masked_fill(held, 0.0)

    def _entry(self, differences: Differences, g: Tensor, name: str, k: int, need: float) -> Line:
        ladder = Ladder(differences, {name: g}, differences.one(name, k))
        return Line.settle(ladder, differences.unit(name, k), need, least=1.0)

    def scale(self, name: str, lines: list[Line]) -> float:
        """s: rms g, or the rms of ‖v ⊙ J u‖/‖u‖ where it is larger: the entries' size before cancellation.

        A zero at a point where nothing moves (x² at 0) has the scale τ times the slope from afar.
        """
        flows = (line.flow / self.differences.length(name) for line in lines)
        return max([self.sizes[name], *flows, self.case.tau * self._afar(name)])

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
            zero = self.sizes[name] <= self.differences.floor(name)
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
            Line.settle(Ladder(self.differences, trusted, d), self.differences.unit(name), need)
            for d in self._directions(name)
        ]
        return not any(line.refuted or line.kinked for line in lines)
