"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.judgement.edges import REACH, Edges
from harness.judgement.inside import said_of_float32
from harness.judgement.kinks import Kinks
from harness.judgement.ladders import COARSEST, Ladders
from harness.judgement.line import CLOSER, INSIDE, LEAST, Ladder, Line
from harness.judgement.place import Place
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.once import once
from harness.oracles.differences import FIRST, UP
from harness.oracles.estimate import FINE_STEP, Direction
from harness.outcome import Outcome
from harness.tensors.arrays import rms

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""

ZERO = "its gradient is zero up to rounding, {:.0e}"


UNREPLAYED = (
    "two forwards under one seed differ: it draws from a generator that can't be replayed; draw from one that the layer "
    "keeps, or from that of numpy.random, random or torch"
)


class Judge(Ladders):
    """Decides on the gradients of one case."""

    def __init__(self, case: Case, number: int = 0, held: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(case, held)
        self.number = number
        self.kinks: dict[str, list[int]] = {}
        """{tensor: its entries at a kink}."""
        self.constant: dict[str, Verdict] = {}
        """The tensors that move no output beyond its last digits, and whose claim is nothing either."""
        self._off: dict[tuple[str, ...], float] = {}
        self.quick: dict[str, Verdict] = {}
        """Those accepted by tight agreement."""
        self.truncated: frozenset[str] = frozenset()
        """Those that autograd agrees on, and a fine difference does not by more than rounding: the function bends there."""

    @once
    def trusted(self) -> dict[str, Tensor] | None:
        """Autograd's gradients, None where autograd is no second opinion."""
        found = self.case.autograd
        if not isinstance(found, dict):
            return None
        held = self.differences.held
        return {n: r.masked_fill(held[n], 0.0) if n in held else r for n, r in found.items()}

    @once
    def verdicts(self) -> dict[str, Verdict]:
        """A verdict on every tensor whose gradient is wanted; beside singular points where these leave one open."""
        found = self._decided()
        open_ = [n for n, v in found.items() if v.outcome is Outcome.INCONCLUSIVE]
        if not open_ or not self.case.steady or self.case.u > 1e-10:
            return found
        edges = Edges(self.differences)
        singular = {
            n: held for n in open_ if n not in self.differences.held and (held := edges.singular(n)) is not None
        }
        if not singular:
            return found
        beside = Judge(self.case, self.number, self.differences.held | singular)._decided()
        return found | {n: beside[n] for n in open_}

    def _decided(self) -> dict[str, Verdict]:
        found = dict(self.claim.malformed)
        sound = [n for n in self.case.wanted if n not in found]
        found |= self._quick(sound)
        self.quick = {n: found[n] for n in sound if n in found}
        self.constant = {n: v for n in sound if n not in found and (v := self._constant(n)) is not None}
        found |= self.constant
        decided = {n: found[n] if n in found else self.escalated(n) for n in self.case.wanted}
        if len(self.kinks) > 1 and (why := Kinks(self).across()):
            decided |= {n: Verdict(Outcome.FAIL, decided[n].resolution, why) for n in self.kinks}
        return {n: self._finished(n, v) for n, v in decided.items()}

    def of(self, name: str) -> Verdict | None:
        """On one tensor alone, where the others don't matter and have not been judged; None where it is not wanted."""
        if "verdicts" in self.__dict__ or name not in self.case.wanted:
            return self.verdicts.get(name)
        found = self.claim.malformed.get(name) or self._quick([name]).get(name) or self.escalated(name)
        return self._finished(name, found)

    def _finished(self, name: str, verdict: Verdict) -> Verdict:
        """Held against each regime, and with what is to be said beside it."""
        verdict = said_of_float32(self, name, Place(self).in_regimes(name, verdict))
        held = self.differences.held.get(name)
        if held is None:
            return verdict
        said = f"{int(held.sum())} entries of {name} sit at a singular point, where the one-sided differences diverge"
        return replace(verdict, reason="; ".join(filter(None, (said, verdict.reason))))

    # Acceptance by tight agreement

    @once
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
        if max(map(abs, map(float, torch.aminmax(apart)))) <= allowed * rms(r):
            return True
        return bool((apart.abs() <= allowed * (r.abs() + rms(r))).all())

    def _near(self, name: str) -> bool:
        """Whether the claim differs from autograd's gradient by no more than its own measured rounding, all of it far below what
        must be seen: in front of a norm of equal numbers the rounding of either is thousands of last digits."""
        assert self.trusted is not None
        g, r = self.claim.gradients[name].double(), self.trusted[name].double()
        apart = (g - r).abs()
        if not CLOSER * float(apart.max()) <= self.case.tau * rms(r):
            return False
        return bool((apart <= ROUNDINGS * self.claim.rounding[name] + 64 * self.case.u * (r.abs() + rms(r))).all())

    def apart(self, name: str) -> float:
        """The largest |claimed − autograd's| relative to the gradient's scale."""
        assert self.trusted is not None
        g, r = self.claim.gradients[name].double(), self.trusted[name].double()
        scale = max(self.scale(name, []), self.zero(name) / self.case.tau)
        return self.relative(float((g - r).abs().max()), scale)

    def _quick(self, names: list[str]) -> dict[str, Verdict]:
        """One joint difference, if it is `CLOSER` than allowed, at one step or extrapolated from two, or autograd agrees entry
        by entry; else three independent ones. Where autograd is no second opinion on this layer there are always three."""
        if not names or self.case.u > 1e-10:
            return {}
        scale = {n: self.claim.sizes[n] * self.differences.units[n] for n in names}
        allowed = {n: LEAST * self.case.tau * scale[n] for n in names}
        off = self._joint(names) if self.case.echo or self.case.traceable else math.inf
        alone = min(allowed.values()) / CLOSER
        if alone < abs(off) < math.inf and abs(nearer := self._nearer(names, 2.0)) <= alone:
            off = nearer
        if not abs(off) <= alone:
            if self.trusted is not None:
                agreed = [n for n in names if n in self.tight or self._near(n)]
            else:
                agreed = names if self.case.subject.takes_cotangent else []
            if not agreed:
                return {}
            if agreed != names or off == math.inf:
                off = self._joint(agreed)
            names = agreed
            # what may be rounding is no truncation
            least = max(min(allowed[n] for n in names), self.digits / FINE_STEP)
            if self.trusted is not None and least < abs(off) < math.inf:
                self.truncated = frozenset(names)
                off = self._nearer(names, 0.5)  # where many kinks are near, the smaller step crosses fewer
            off = max([abs(off), *(other.missed(names) for other in self.rotated)])
        worst = abs(off)
        return {
            n: Verdict(Outcome.PASS, max(64 * self.case.u, worst / (LEAST * scale[n])))
            for n in names
            if worst <= allowed[n] and scale[n] > 0
        }

    def _constant(self, name: str) -> Verdict | None:
        """For a claim of zero, or of what the forward can't express, where nothing in this tensor moves the outputs, near or
        far, beyond their last digits: a bias in front of a centring, or what is multiplied by zeros."""
        f, zero = self.differences, not self.claim.gradients[name].any()
        digits = max(self.digits, self.cancelled)
        floor = digits / float(f.scales[name].max())
        if name in f.held or not self.case.replays or self.claim.sizes[name] > floor:
            return None
        d = f.direction(self.number, [name])
        for step in (f.spread(d, side * h) for h in (REACH, FINE_STEP) for side in (1.0, -1.0)):
            if (change := f.change(step)) is None or not float((f.v * change).norm()) <= digits:
                return None
            zero = zero and not change.any()
        if zero:
            return Verdict(Outcome.PASS, 0.0)
        # small beside what the outputs vary by: beside a large constant in them anything is
        if digits > COARSEST * f.variation and not self.cancelled:
            return None
        return Verdict(Outcome.PASS, self.case.tau, ZERO.format(floor))

    @once
    def digits(self) -> float:
        """What rounding may change the outputs by: 64 u ‖v ⊙ y‖."""
        return 64 * self.case.u * float((self.differences.v * self.differences.y).norm())

    def _joint(self, names: list[str]) -> float:
        """Claimed − differenced along one direction through all tensors."""
        if (key := tuple(names)) not in self._off:
            d = self.differences.direction(self.number, names)
            self._off[key] = self.differences.off(self.claim.gradients, d)
        return self._off[key]

    def _nearer(self, names: list[str], k: float) -> float:
        """The same with the truncation, h² in the step, extrapolated from h and kh: over N entries it adds up like √N."""
        d = self.differences.direction(self.number, names)
        other = self.differences.off(self.claim.gradients, d, k * FINE_STEP)
        return (k**2 * self._joint(names) - other) / (k**2 - 1)

    def missed(self, names: list[str]) -> float:
        """How far off, infinite where a gradient is missing or malformed."""
        return math.inf if any(n in self.claim.malformed for n in names) else abs(self._joint(names))

    @once
    def rotated(self) -> tuple[Judge, ...]:
        """Where autograd can't vouch: the same point with other cotangents and directions."""
        if self.trusted is not None or self.number or not self.case.subject.takes_cotangent:
            return ()
        return tuple(Judge(self.case.with_base(self.case.evaluate(k)), k, self.differences.held) for k in (2, 3))

    def escalated(self, name: str) -> Verdict:
        """Judged in full, with every cotangent."""
        first = self._thorough(name)
        if first.outcome is Outcome.FAIL:
            return first
        others = [(o.claim.malformed.get(name) or o._thorough(name)) for o in self.rotated]
        # each by its own claim: what is expected there is of other cotangents
        told = [said_of_float32(o, name, v) for v, o in zip(others, self.rotated, strict=True)]
        failed = [replace(v, case=o.case) for v, o in zip(told, self.rotated, strict=True) if v.outcome is Outcome.FAIL]
        return failed[0] if failed else first

    # Everything else: estimates with bounds

    def _thorough(self, name: str) -> Verdict:
        """Directions through this tensor alone, then its entries."""
        directions = self._directions(name)
        if (vanishing := self._vanishing(name, directions[0])) is not None:
            return vanishing
        lines = [self.line(name, d, INSIDE if name in self.truncated else None) for d in directions]
        scale = self.scale(name, lines)
        need = self.need(name, scale)
        hidden = [line for line in lines if not line.settled(need) and not line.kinked and not line.refuted]
        if hidden and self.finer(name):
            lines = [self.line(name, d) for d in directions]
        if all(line.settled(need) for line in lines):
            return Verdict(Outcome.PASS, self.relative(max(line.bound for line in lines), scale))
        if not self.case.steady:
            return Verdict(
                Outcome.INCONCLUSIVE,
                reason=UNREPLAYED,
            )
        # Short of that the backward's own rounding counts too: it is measured only here, for it costs evaluations
        known = max(line.error / line.least for line in lines)
        lines = [
            line.forgiven(self.slack(name, d), self.hidden_along(name, line) if line.refuted else 0.0)
            for line, d in zip(lines, directions, strict=True)
        ]
        zero = self.zero(name)
        smooth = not any(line.refuted or line.kinked for line in lines)
        if smooth and known <= zero and self.slight(name, zero):
            return Verdict(Outcome.PASS, self.case.tau, ZERO.format(zero))
        if smooth and all(line.out <= line.error for line in lines) and known <= self.stationary(name):
            return Verdict(Outcome.PASS, self.case.tau, ZERO.format(known))
        if any(line.refuted for line in lines):
            return Place(self).refuted(name, scale, lines, directions)
        if self.claim.gradients[name].numel() <= ENTRIES or self.blocks(name) is not None:
            return Place(self).by_entries(name, scale)
        return Verdict(Outcome.INCONCLUSIVE, self.relative(max(x.bound for x in lines), scale), self.short_of(lines))

    def slight(self, name: str, zero: float) -> bool:
        """Whether a slope is small beside what the outputs vary by: beside a large constant in them anything is."""
        varies = COARSEST * self.differences.variation / self.differences.unit(name)
        return zero <= varies or not varies

    def _vanishing(self, name: str, d: Direction) -> Verdict | None:
        """A claim of nothing but rounding, where autograd has no more, which neither the first rung nor the farthest refutes:
        what the whole ladder would come to, most of whose rungs rounding hides."""
        f, size = self.differences, self.claim.sizes[name]
        if self.trusted is None or not max(size, rms(self.trusted[name])) <= ROUNDINGS**2 * f.floor(name):
            return None
        if not (zero := self.zero(name)) or not self.case.replays or not self.slight(name, zero):
            return None
        ladder = Ladder(f, self.claim.gradients, d)
        for rung in (ladder.rung(UP[-1]), ladder.rung(FIRST)):
            if rung is None or not rung.estimate.known or rung.refuted or (rung.flow == 0 and ladder.jumps):
                return None
            if rung.step > 1 and (rung.estimate.error + rung.out) / f.unit(name) / LEAST > zero:
                return None
        return Verdict(Outcome.PASS, self.case.tau, ZERO.format(zero))

    def _directions(self, name: str) -> list[Direction]:
        """Random ones, and the one along which the claim and autograd differ most."""
        count = 1 if self.trusted is not None else 3
        found: list[Direction] = [self.differences.direction(10 + k, [name]) for k in range(count)]
        if self.trusted is not None and name not in self.tight:
            apart = self.claim.gradients[name] - self.trusted[name].to(self.claim.gradients[name])
            found.append({name: apart / apart.abs().max()})
        return found

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
