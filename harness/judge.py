"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from harness.arrays import rms
from harness.case import Case
from harness.estimate import FIRST, Differences, Direction
from harness.line import LEAST, Ladder, Line
from harness.outcome import Outcome

LOCAL = 150
"""Up to how many entries of a tensor that is wrong somewhere are all differenced to say where; beyond, it is bisected."""

KINK_DIRECTIONS = 8
"""How many random directions through the entries at a kink are tried beside the one that moves them together."""

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""

COARSEST = 1e-3
"""The largest share of the gradient that a verified bound may be, however coarse the forward's last digit is."""

NEIGHBOURS = 4
"""At how many neighbouring points the backward's rounding is measured."""

ROUNDINGS = 16
"""How many times its own response to changes in the last digits of the leaves a gradient may be off by rounding."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one tensor's gradient."""

    outcome: Outcome
    resolution: float = float("inf")
    """The relative size of an error that would have been seen."""
    reason: str = ""
    expected: Tensor | None = field(default=None, repr=False)
    """The oracle's gradient where the claim fails; NaN where it was not evaluated."""
    allowed: Tensor | None = field(default=None, repr=False)
    """The bound on each entry's error."""
    case: Case | None = field(default=None, repr=False)
    """Where it was found, if not with the base cotangents."""


class Judge:
    """Decides on the gradients of one case."""

    def __init__(self, case: Case, number: int = 0) -> None:
        self.case, self.number = case, number
        found = case.base.gradients
        self.gradients = {n: g.contiguous() for n in case.wanted if (g := found.get(n)) is not None}
        self.differences = Differences(case)

    @cached_property
    def trusted(self) -> dict[str, Tensor] | None:
        """Autograd's gradients, None where autograd is no second opinion."""
        found = self.case.autograd
        return found if isinstance(found, dict) else None

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """A verdict on every tensor whose gradient is wanted."""
        found = {n: v for n in self.case.wanted if (v := self._malformed(n)) is not None}
        sound = [n for n in self.case.wanted if n not in found]
        found |= self._quick(sound)
        return {n: found[n] if n in found else self._escalated(n) for n in self.case.wanted}

    def _malformed(self, name: str) -> Verdict | None:
        """A gradient that can't be compared at all."""
        g, x = self.gradients.get(name), self.case.leaves[name]
        if g is None:
            return Verdict(Outcome.FAIL, reason="backward gave no gradient of it")
        if g.shape != x.shape:
            return Verdict(Outcome.FAIL, reason=f"its gradient has shape {tuple(g.shape)}, it has {tuple(x.shape)}")
        if g.numel() == 0:
            return Verdict(Outcome.PASS, 0.0)
        if not bool(torch.isfinite(g).all()):
            bad = int((~torch.isfinite(g)).sum())
            return Verdict(Outcome.FAIL, reason=f"{bad} of {g.numel()} entries of the gradient are not finite")
        return None

    # Acceptance by tight agreement

    def tight(self, name: str) -> bool:
        """Whether the claim equals autograd's gradient to 64 u in every entry."""
        if self.trusted is None:
            return False
        g, r = self.gradients[name].double(), self.trusted[name].double()
        return bool(((g - r).abs() <= 64 * self.case.u * (r.abs() + rms(r))).all())

    def apart(self, name: str) -> float:
        """The largest |claimed − autograd's| relative to the gradient's scale."""
        assert self.trusted is not None
        g, r = self.gradients[name].double(), self.trusted[name].double()
        scale = max(self.scale(name, []), self._zero(name) / self.case.tau)
        return self._relative(float((g - r).abs().max()), scale)

    def _quick(self, names: list[str]) -> dict[str, Verdict]:
        """One joint difference where autograd agrees entry by entry, else three independent ones."""
        if not names or self.case.u > 1e-10:
            return {}
        if self.trusted is not None:
            names = [n for n in names if self.tight(n)]
        elif not self.case.subject.takes_cotangent:
            return {}
        scale = {n: rms(self.gradients[n]) * self.differences.unit(n) for n in names}
        allowed = {n: LEAST * self.case.tau * scale[n] for n in names}
        if not names:
            return {}
        worst = max([self._joint(names), *(other.missed(names) for other in self.rotated)])
        return {
            n: Verdict(Outcome.PASS, max(64 * self.case.u, worst / (LEAST * scale[n])))
            for n in names
            if worst <= allowed[n] and scale[n] > 0
        }

    def _joint(self, names: list[str]) -> float:
        """|claimed − differenced| along one direction through all tensors."""
        d = self.differences.direction(self.number, names)
        return self.differences.quick(self.gradients, d).out

    def missed(self, names: list[str]) -> float:
        """The same, infinite where a gradient is missing or malformed."""
        return float("inf") if any(self._malformed(n) for n in names) else self._joint(names)

    @cached_property
    def rotated(self) -> tuple[Judge, ...]:
        """Where autograd can't vouch: the same point with other cotangents and directions."""
        if self.trusted is not None or self.number or not self.case.subject.takes_cotangent:
            return ()
        return tuple(Judge(self.case.with_base(self.case.evaluate(k)), k) for k in (2, 3))

    def _escalated(self, name: str) -> Verdict:
        """Judged in full, with every cotangent."""
        first = self._thorough(name)
        if first.outcome is Outcome.FAIL:
            return first
        others = [(o._malformed(name) or o._thorough(name)) for o in self.rotated]
        failed = [
            replace(v, case=o.case) for v, o in zip(others, self.rotated, strict=True) if v.outcome is Outcome.FAIL
        ]
        return failed[0] if failed else first

    # Everything else: estimates with bounds

    def _thorough(self, name: str) -> Verdict:
        """Directions through this tensor alone, then its entries."""
        directions = self._directions(name)
        lines = [self._line(name, d) for d in directions]
        scale = self.scale(name, lines)
        need = self.need(name, scale)
        if all(line.settled(need) for line in lines):
            return Verdict(Outcome.PASS, self._relative(max(line.bound for line in lines), scale))
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
            return self._refuted(name, scale, lines, directions)
        if self.gradients[name].numel() <= ENTRIES:
            return self._by_entries(name, scale)
        return Verdict(Outcome.INCONCLUSIVE, self._relative(max(x.bound for x in lines), scale), self._short_of(lines))

    def _slack(self, name: str, d: Direction) -> float:
        """What the claim's rounding may add up to along a direction."""
        return ROUNDINGS * float((self.rounding[name] * d[name].double()).norm())

    @cached_property
    def rounding(self) -> dict[str, Tensor]:
        """The rounding of each entry of the claimed gradients: their spread over neighbouring points.

        Their spread, not their distance from the claim: a claim that is wrong at this very point alone stands out. Never
        less than the median entry's, as a spread over few points may be small by chance.
        """
        near = [self.case.neighbour(k).gradients for k in range(NEIGHBOURS)]
        found = {}
        for n, g in self.gradients.items():
            others = [h.double() for near_by in near if (h := near_by.get(n)) is not None and h.shape == g.shape]
            spread = torch.stack(others).std(0) if len(others) > 1 else torch.zeros_like(g, dtype=torch.float64)
            found[n] = spread + spread.median() if spread.numel() else spread
        return found

    def _zero(self, name: str) -> float:
        """For a gradient that is nothing but rounding, how small it is known to be; 0 for any other.

        A true zero (a bias in front of a centring) has no size of its own to compare a bound with: what is left of it is
        the rounding of both passes, of the forward's as much as the ladder's first rung shows where nothing moves.
        """
        backward = ROUNDINGS * rms(self.rounding[name])
        if rms(self.gradients[name]) > backward:
            return 0.0
        first = 2.0 ** -(FIRST + 2) * LEAST
        return backward + self.differences.rounding / first / self.differences.unit(name)

    def _directions(self, name: str) -> list[Direction]:
        """Random ones, and the one along which the claim and autograd differ most."""
        count = 1 if self.trusted is not None else 3
        found: list[Direction] = [self.differences.direction(10 + k, [name]) for k in range(count)]
        if self.trusted is not None and not self.tight(name):
            apart = self.gradients[name] - self.trusted[name].to(self.gradients[name])
            found.append({name: apart / apart.abs().max()})
        return found

    def _line(self, name: str, d: Direction) -> Line:
        """What the ladder says along a direction through one tensor."""
        need = self.need(name, rms(self.gradients[name]))
        return Line.settle(Ladder(self.differences, self.gradients, d), self.differences.unit(name), need)

    def _entry(self, name: str, k: int, need: float) -> Line:
        """What it says about one entry."""
        one = torch.zeros_like(self.gradients[name])
        one.view(-1)[k] = 1.0
        return Line.settle(
            Ladder(self.differences, self.gradients, {name: one}), self.differences.unit(name, k), need, least=1.0
        )

    def scale(self, name: str, lines: list[Line]) -> float:
        """s: rms g, or the rms of ‖v ⊙ J u‖/‖u‖ where it is larger: the entries' size before cancellation."""
        n = math.sqrt(self.gradients[name].numel())
        return max([rms(self.gradients[name]), *(line.flow / n for line in lines)])

    def need(self, name: str, scale: float) -> float:
        """How fine a bound must be: τ·s, or the smallest slope that the forward can express, as long as that is small."""
        return max(self.case.tau * scale, min(self.differences.floor(name), COARSEST * scale))

    def _relative(self, bound: float, scale: float) -> float:
        return bound / scale if scale > 0 else (0.0 if bound == 0 else bound)

    def _short_of(self, lines: list[Line]) -> str:
        worst = max(lines, key=lambda line: line.bound)
        if worst.kinked:
            return "the function has kinks here, and the tensor is too large to look at each entry"
        return "the differences are no finer: the forward's own rounding hides it"

    # Where it is wrong

    def _refuted(self, name: str, scale: float, lines: list[Line], directions: list[Direction]) -> Verdict:
        """A smooth line is outside its bound: say where, by autograd if it is confirmed, by entries, or by bisection."""
        if self.trusted is not None and self.vouched(name):
            return self._against_autograd(name, scale, lines)
        if self.gradients[name].numel() <= LOCAL:
            return self._by_entries(name, scale)
        worst = next(k for k, line in enumerate(lines) if line.refuted)
        return self._bisected(name, scale, lines[worst], directions[worst])

    def _bisected(self, name: str, scale: float, line: Line, d: Direction) -> Verdict:
        """Halve the entries that the line goes through as long as one half alone refutes the claim; then look at them."""
        g, flat = self.gradients[name], d[name].flatten()
        left = torch.arange(g.numel())
        while len(left) > 16:
            halves = (left[: len(left) // 2], left[len(left) // 2 :])
            narrowed = next((h for h in halves if self._line(name, self._through(name, flat, h)).refuted), None)
            if narrowed is None:
                break
            left = narrowed
        spread = torch.arange(0, g.numel(), max(1, g.numel() // 16))
        verdict = self._by_entries(name, scale, sorted({*left[:16].tolist(), *spread.tolist()}))
        if verdict.outcome is Outcome.FAIL:
            return verdict
        return Verdict(
            Outcome.FAIL,
            line.bound,
            f"along a direction through all of {name} backward is off by {line.out:.2e} ± {line.error:.1e}",
        )

    def _through(self, name: str, flat: Tensor, entries: Tensor) -> Direction:
        part = torch.zeros_like(flat)
        part[entries] = flat[entries]
        return {name: part.reshape(self.gradients[name].shape)}

    def _by_entries(self, name: str, scale: float, entries: list[int] | None = None) -> Verdict:
        """Entry by entry; those at a kink together too."""
        g, need = self.gradients[name], self.need(name, scale)
        looked = list(range(g.numel())) if entries is None else entries
        expected = torch.full(g.shape, float("nan"), dtype=torch.float64)
        allowed = torch.zeros(g.shape, dtype=torch.float64)
        kinks, unknown, outside = [], 0, False
        for k in looked:
            line = self._entry(name, k, need).forgiven(ROUNDINGS * float(self.rounding[name].flatten()[k]))
            kinks += [k] * line.kinked
            unknown += not (line.settled(need) or line.outside or line.kinked)
            outside = outside or line.outside
            known = math.isfinite(line.error)
            expected.view(-1)[k] = line.expected if known else g.flatten()[k].double()
            allowed.view(-1)[k] = line.error if known else 0.0
        resolution = self._relative(float(allowed.max()), scale)
        if outside:
            wrong = int(((expected - g.double()).abs() > allowed).sum())
            return Verdict(Outcome.FAIL, resolution, f"{wrong} of {len(looked)} entries are out", expected, allowed)
        if kinks and (why := self._kinks_together(name, kinks, need)):
            return Verdict(Outcome.FAIL, resolution, why)
        if unknown or len(looked) < g.numel():
            what = f"{unknown} of {len(looked)} entries could not be resolved: the forward's own rounding hides them"
            return Verdict(Outcome.INCONCLUSIVE, resolution, what)
        said = f"{len(kinks)} entries of {name} sit at a kink; accepted between the one-sided slopes" if kinks else ""
        return Verdict(Outcome.PASS, resolution, said)

    def _kinks_together(self, name: str, kinks: list[int], need: float) -> str:
        """Whether the gradient is impossible along a direction through several entries at a kink; empty if it is not.

        Entry by entry alone, a max that gives each of three tied entries the full gradient would pass. Along directions
        that keep the kink (all of them together) the function is smooth, and along others the claim must lie between the
        one-sided slopes too.
        """
        n = self.gradients[name].numel()
        together = torch.ones(n, dtype=self.case.dtype)
        others = [self.differences.direction(40 + k, [name])[name].flatten() for k in range(KINK_DIRECTIONS)]
        for flat in (together, *others):
            line = self._line(name, self._through(name, flat.to(together), torch.tensor(kinks)))
            if line.outside:
                return (
                    f"{len(kinks)} entries sit at a kink, each between its one-sided slopes, but together they are not a "
                    f"gradient: along a direction through them backward gives {line.expected + line.out:.6g} or "
                    f"{line.expected - line.out:.6g}, possible is {line.expected:.6g}"
                )
        return ""

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

    def _against_autograd(self, name: str, scale: float, lines: list[Line]) -> Verdict:
        """The claim is refuted along a line and autograd is confirmed: autograd says where."""
        assert self.trusted is not None
        g, r = self.gradients[name].double(), self.trusted[name].double()
        bound = 64 * self.case.u * (r.abs() + scale) + ROUNDINGS * self.rounding[name]
        wrong = int(((g - r).abs() > bound).sum())
        resolution = self._relative(min(line.bound for line in lines if line.refuted), scale)
        return Verdict(Outcome.FAIL, resolution, f"{wrong} of {g.numel()} entries are out", r, bound)
