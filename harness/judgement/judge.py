"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from harness.case import Case
from harness.judgement.acceptance import ZERO, Acceptance
from harness.judgement.edges import Edges
from harness.judgement.inside import said_of_float32
from harness.judgement.kinks import Kinks
from harness.judgement.ladders import COARSEST
from harness.judgement.line import INSIDE, LEAST, Ladder, Line
from harness.judgement.place import Place
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.once import once
from harness.oracles.differences import FIRST, UP
from harness.oracles.estimate import Direction
from harness.outcome import Outcome
from harness.tensors.arrays import rms

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""


UNREPLAYED = (
    "two forwards under one seed differ: it draws from a generator that can't be replayed; draw from one that the layer "
    "keeps, or from that of numpy.random, random or torch"
)


class Judge(Acceptance):
    """Decides on the gradients of one case."""

    def __init__(self, case: Case, number: int = 0, held: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(case, number, held)
        self.kinks: dict[str, list[int]] = {}
        """{tensor: its entries at a kink}."""
        self.constant: dict[str, Verdict] = {}
        """The tensors that move no output beyond its last digits, and whose claim is nothing either."""
        self.quick: dict[str, Verdict] = {}
        """Those accepted by tight agreement."""

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
        found |= self.accepted(sound)
        self.quick = {n: found[n] for n in sound if n in found}
        self.constant = {n: v for n in sound if n not in found and (v := self.still(n)) is not None}
        found |= self.constant
        decided = {n: found[n] if n in found else self.escalated(n) for n in self.case.wanted}
        if len(self.kinks) > 1 and (why := Kinks(self).across()):
            decided |= {n: Verdict(Outcome.FAIL, decided[n].resolution, why) for n in self.kinks}
        return {n: self._finished(n, v) for n, v in decided.items()}

    def of(self, name: str) -> Verdict | None:
        """On one tensor alone, where the others don't matter and have not been judged; None where it is not wanted."""
        if "verdicts" in self.__dict__ or name not in self.case.wanted:
            return self.verdicts.get(name)
        found = self.claim.malformed.get(name) or self.accepted([name]).get(name) or self.escalated(name)
        return self._finished(name, found)

    def _finished(self, name: str, verdict: Verdict) -> Verdict:
        """Held against each regime, and with what is to be said beside it."""
        verdict = said_of_float32(self, name, Place(self).in_regimes(name, verdict))
        held = self.differences.held.get(name)
        if held is None:
            return verdict
        said = f"{int(held.sum())} entries of {name} sit at a singular point, where the one-sided differences diverge"
        return replace(verdict, reason="; ".join(filter(None, (said, verdict.reason))))

    def escalated(self, name: str) -> Verdict:
        """Judged in full, with every cotangent."""
        first = self._sure(name)
        if first.outcome is Outcome.FAIL:
            return first
        others = [(o.claim.malformed.get(name) or o._sure(name)) for o in self.rotated]
        # each by its own claim: what is expected there is of other cotangents
        told = [said_of_float32(o, name, v) for v, o in zip(others, self.rotated, strict=True)]
        failed = [replace(v, case=o.case) for v, o in zip(told, self.rotated, strict=True) if v.outcome is Outcome.FAIL]
        return failed[0] if failed else first

    # Everything else: estimates with bounds

    def _sure(self, name: str) -> Verdict:
        """In full, and once more where the backward rounds more coarsely than four points have shown of one that fails."""
        verdict = self._thorough(name)
        if self.case.known_wrong:
            return verdict
        unsure = verdict.outcome is Outcome.FAIL and self.claim.coarser(name) and not self._beyond(name, verdict)
        return self._thorough(name) if unsure else verdict

    def _beyond(self, name: str, verdict: Verdict) -> bool:
        """Whether an entry is off by what no rounding of it explains, however it is measured."""
        if verdict.expected is None or verdict.allowed is None:
            return False
        off = (self.claim.gradients[name].double() - verdict.expected).abs() - verdict.allowed
        return bool((off > 2 * ROUNDINGS * self.claim.rounding[name]).any())

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
