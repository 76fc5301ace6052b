"""From a claimed gradient and two independent oracles to a verdict on each tensor."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from harness.case import Case
from harness.estimate import DOWN, FIRST, UP, Differences, Direction, Residual
from harness.outcome import Outcome

ENTRIES = 600
"""Up to how many entries of a tensor are differenced one by one."""

LEAST = 0.5
"""The smallest entry of a direction, so that an error bound along it bounds one entry's error at twice its size."""


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


class Judge:
    """Decides on the gradients of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.gradients = {n: g for n, g in case.base.gradients.items() if n in case.wanted and g is not None}
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
        return {n: found[n] if n in found else self._thorough(n) for n in self.case.wanted}

    def _malformed(self, name: str) -> Verdict | None:
        """A gradient that can't be compared at all."""
        g, x = self.gradients.get(name), self.case.leaves[name]
        if g is None:
            return Verdict(Outcome.FAIL, reason=f"backward gave no gradient for {name}")
        if g.shape != x.shape:
            return Verdict(Outcome.FAIL, reason=f"the gradient has shape {tuple(g.shape)}, {name} has {tuple(x.shape)}")
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
        return bool(((g - r).abs() <= 64 * self.case.u * (r.abs() + _rms(r))).all())

    def apart(self, name: str) -> float:
        """The largest |claimed − autograd's| relative to the gradient's scale."""
        assert self.trusted is not None
        g, r = self.gradients[name].double(), self.trusted[name].double()
        return self._relative(float((g - r).abs().max()), self.scale(name, []))

    def _quick(self, names: list[str]) -> dict[str, Verdict]:
        """One joint difference where autograd agrees entry by entry, else three independent ones."""
        if not names or self.case.u > 1e-10:
            return {}
        if self.trusted is not None:
            names = [n for n in names if self.tight(n)]
        elif not self.case.subject.takes_cotangent:
            return {}
        scale = {n: _rms(self.gradients[n]) * self.differences.scales[n] for n in names}
        allowed = {n: LEAST * self.case.tau * scale[n] for n in names}
        worst = self._joint(names, 0)
        if worst is not None and self.trusted is None:
            worst = max([worst, *(self._rotated(names, k) for k in (2, 3))])
        if worst is None:
            return {}
        return {
            n: Verdict(Outcome.PASS, max(64 * self.case.u, worst / (LEAST * scale[n])))
            for n in names
            if worst <= allowed[n] and scale[n] > 0
        }

    def _joint(self, names: list[str], number: int) -> float | None:
        """|claimed − differenced| along one direction through all tensors."""
        if not names:
            return None
        d = self.differences.direction(number, names)
        return self.differences.quick(self.gradients, d).out

    def _rotated(self, names: list[str], number: int) -> float:
        """The same with another cotangent and another direction."""
        base = self.case.evaluate(number)
        case = self.case.at(seed=self.case.seed)
        case.__dict__["base"] = base
        gradients = {
            n: g for n in names if (g := base.gradients.get(n)) is not None and g.shape == case.leaves[n].shape
        }
        if len(gradients) < len(names):
            return float("inf")
        differences = Differences(case)
        return differences.quick(gradients, differences.direction(number, names)).out

    # Everything else: estimates with bounds

    def _thorough(self, name: str) -> Verdict:
        """Directions through this tensor alone, then its entries."""
        lines = [self._line(name, d) for d in self._directions(name)]
        scale = self.scale(name, lines)
        need = self.case.tau * scale
        if all(line.settled(need) for line in lines):
            return Verdict(Outcome.PASS, self._relative(max(line.bound for line in lines), scale))
        if any(line.refuted for line in lines) or self.gradients[name].numel() <= ENTRIES:
            return self._by_entries(name, scale, need, lines)
        return Verdict(Outcome.INCONCLUSIVE, self._relative(max(x.bound for x in lines), scale), self._short_of(lines))

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
        need = max(self.case.tau * _rms(self.gradients[name]), self.differences.floor(name))
        return Line.settle(self._ladder(self.gradients, d), self.differences.scales[name], need)

    def _ladder(self, gradients: dict[str, Tensor], d: Direction) -> Ladder:
        return Ladder(self.differences, gradients, d)

    def _entry(self, name: str, k: int, need: float) -> Line:
        """What it says about one entry."""
        one = torch.zeros_like(self.gradients[name])
        one.view(-1)[k] = 1.0
        return Line.settle(self._ladder(self.gradients, {name: one}), self.differences.scales[name], need, least=1.0)

    def scale(self, name: str, lines: list[Line]) -> float:
        """s: rms g, or the rms of ‖v ⊙ J u‖/‖u‖ where it is larger: the entries' size before cancellation.

        Never less than what makes the floor τ·s, so that a bound needs only one comparison.
        """
        n = math.sqrt(self.gradients[name].numel())
        floor = self.differences.floor(name) / self.case.tau
        return max([_rms(self.gradients[name]), floor, *(line.flow / n for line in lines)])

    def _relative(self, bound: float, scale: float) -> float:
        return bound / scale if scale > 0 else (0.0 if bound == 0 else bound)

    def _short_of(self, lines: list[Line]) -> str:
        worst = max(lines, key=lambda line: line.bound)
        if worst.kinked:
            return "the function has kinks here, and the tensor is too large to look at each entry"
        return "the differences are no finer: the forward's own rounding hides it"

    def _by_entries(self, name: str, scale: float, need: float, lines: list[Line]) -> Verdict:
        g = self.gradients[name]
        if self.trusted is not None and any(line.refuted for line in lines) and self.vouched(name):
            return self._against_autograd(name, scale, lines)
        expected, allowed = (
            torch.full_like(g, float("nan"), dtype=torch.float64),
            torch.zeros_like(g, dtype=torch.float64),
        )
        kinks, unknown = 0, 0
        for k in self._indices(name):
            line = self._entry(name, k, need)
            kinks += line.kinked
            unknown += not (line.settled(need) or line.refuted)
            expected.view(-1)[k] = line.expected if line.refuted else g.flatten()[k].double()
            allowed.view(-1)[k] = line.error
        return self._entry_verdict(name, scale, expected, allowed, kinks, unknown)

    def _entry_verdict(
        self, name: str, scale: float, expected: Tensor, allowed: Tensor, kinks: int, unknown: int
    ) -> Verdict:
        g = self.gradients[name].double()
        looked = ~torch.isnan(expected)
        wrong = int(((expected - g).abs() > allowed)[looked].sum())
        resolution = self._relative(float(allowed[looked].max()), scale)
        if wrong:
            return Verdict(
                Outcome.FAIL, resolution, f"{wrong} of {int(looked.sum())} entries are out", expected, allowed
            )
        if unknown or not bool(looked.all()):
            what = f"{unknown} of {g.numel()} entries could not be resolved: the forward's own rounding hides them"
            return Verdict(Outcome.INCONCLUSIVE, resolution, what)
        return Verdict(
            Outcome.PASS,
            resolution,
            f"{kinks} entries of {name} sit at a kink; accepted between the one-sided slopes" if kinks else "",
        )

    def vouched(self, name: str) -> bool:
        """Whether differences confirm autograd on this tensor."""
        assert self.trusted is not None
        trusted = {name: self.trusted[name]}
        lines = []
        for d in self._directions(name):
            unit = self.differences.scales[name]
            lines.append(Line.settle(self._ladder(trusted, d), unit, self.case.tau * _rms(trusted[name])))
        return not any(line.refuted or line.kinked for line in lines)

    def _against_autograd(self, name: str, scale: float, lines: list[Line]) -> Verdict:
        """The claim is refuted along a line and autograd is confirmed: autograd says where."""
        assert self.trusted is not None
        g, r = self.gradients[name].double(), self.trusted[name].double()
        bound = 64 * self.case.u * (r.abs() + scale)
        wrong = int(((g - r).abs() > bound).sum())
        resolution = self._relative(min(line.bound for line in lines if line.refuted), scale)
        return Verdict(Outcome.FAIL, resolution, f"{wrong} of {g.numel()} entries are out", r, bound)

    def _indices(self, name: str) -> list[int]:
        """The entries to look at: all, or where autograd and the claim differ most, or evenly spread."""
        n = self.gradients[name].numel()
        if n <= ENTRIES:
            return list(range(n))
        if self.trusted is not None:
            apart = (self.gradients[name] - self.trusted[name].to(self.gradients[name])).abs().flatten()
            return [int(k) for k in apart.topk(64).indices]
        return [k * n // ENTRIES for k in range(ENTRIES)]


@dataclass(frozen=True)
class Ladder:
    """A claim along one direction, to be met at steps of any size."""

    differences: Differences
    gradients: Mapping[str, Tensor]
    d: Direction

    def rung(self, k: int) -> Residual | None:
        """Richardson's estimate with the largest step 2⁻ᵏ."""
        return self.differences.residual(self.gradients, self.d, k)

    def confirms(self, found: Residual) -> bool:
        """Whether a fine plain difference is compatible with it."""
        return self.differences.confirms(self.gradients, self.d, found)


@dataclass(frozen=True)
class Line:
    """What a ladder of steps along one direction came to, in units of the gradient."""

    expected: float
    error: float
    out: float
    flow: float
    refuted: bool = False
    kinked: bool = False
    accepted: bool = False
    least: float = LEAST
    """The smallest entry of the direction."""

    @property
    def bound(self) -> float:
        """The error of a single entry that could hide on this line."""
        return (self.error + self.out) / self.least

    def settled(self, need: float) -> bool:
        """Whether the claim is inside, and the bound as fine as needed."""
        return not self.refuted and (self.accepted or self.bound <= need)

    @classmethod
    def settle(cls, ladder: Ladder, unit: float, need: float, least: float = LEAST) -> Line:
        """Climb the ladder until the claim is accepted at the resolution needed, refuted three times, or hidden by noise."""
        best: Residual | None = None
        previous: Residual | None = None
        kink: Residual | None = None
        steps = deque([FIRST, *DOWN])
        while steps:
            r = ladder.rung(steps.popleft())
            if r is None:
                continue
            if r.sides is not None and kink is not None and previous is kink:
                return cls.of(r, unit, least, refuted=not r.between, kinked=True, accepted=r.between)
            kink = r if r.sides is not None else kink
            if previous is not None and previous.refuted and r.refuted and r.agrees(previous) and ladder.confirms(r):
                return cls.of(min(previous, r, key=lambda x: x.estimate.error), unit, least, refuted=True)
            if r.estimate.known and not r.refuted and (r.estimate.error + r.out) / unit / least <= need:
                return cls.of(r, unit, least)
            if best is None and r.noisy and not r.refuted:
                steps = deque(UP)
            elif best is not None and best.noisy and not best.refuted and r.estimate.error > 64 * best.estimate.error:
                break
            best = r if best is None or r.estimate.error < best.estimate.error else best
            previous = r
        return cls.of(best, unit, least) if best else cls(float("nan"), float("inf"), float("inf"), 0.0)

    @classmethod
    def of(
        cls, r: Residual, unit: float, least: float, refuted: bool = False, kinked: bool = False, accepted: bool = False
    ) -> Line:
        """A residual in units of the gradient."""
        error = 0.0 if accepted else r.estimate.error / unit
        out = 0.0 if accepted else r.out / unit
        if kinked and refuted and r.sides is not None:
            low, high = r.sides
            nearest = low if r.claimed < low else high
            return cls(nearest / unit, 0.0, abs(r.claimed - nearest) / unit, r.flow / unit, True, True, False, least)
        return cls(r.estimate.value / unit, error, out, r.flow / unit, refuted, kinked, accepted, least)


def _rms(t: Tensor) -> float:
    return float(t.detach().double().square().mean().sqrt()) if t.numel() else 0.0
