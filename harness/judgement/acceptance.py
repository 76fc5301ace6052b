"""Acceptance: a claimed gradient that few differences meet, or that equals autograd's, and tensors on which nothing depends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from harness.case import Case
from harness.judgement.edges import REACH
from harness.judgement.ladders import COARSEST, Ladders
from harness.judgement.line import CLOSER, LEAST
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.once import once
from harness.oracles.estimate import FINE_STEP
from harness.outcome import Outcome
from harness.tensors.arrays import rms

ZERO = "its gradient is zero up to rounding, {:.0e}"


class Acceptance(Ladders):
    """What of one case's gradients is accepted without a ladder."""

    def __init__(self, case: Case, number: int = 0, held: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(case, held)
        self.number = number
        self._off: dict[tuple[str, ...], float] = {}
        self.truncated: frozenset[str] = frozenset()
        """Those that autograd agrees on, and a fine difference does not by more than rounding: the function bends there."""

    @once
    def trusted(self) -> dict[str, Tensor] | None:
        """Autograd's gradients, None where autograd is no second opinion."""
        found = self.case.autograd
        if not isinstance(found, dict):
            return None
        held = self.differences.held
        found = {n: r.masked_fill(held[n], 0.0) if n in held else r for n, r in found.items()}
        return None if any(map(self._lost, found, found.values())) else found

    def _lost(self, name: str, r: Tensor) -> bool:
        """Whether autograd has no number where the claim has one (eigenvectors at equal eigenvalues, a root in a branch that is
        not taken): no difference could tell the two apart."""
        if bool(r.isfinite().all()) or name in self.claim.malformed:
            return False
        return bool((self.claim.gradients[name].isfinite() & ~r.isfinite()).any())

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

    def accepted(self, names: list[str]) -> dict[str, Verdict]:
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

    def still(self, name: str) -> Verdict | None:
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
    def rotated(self) -> tuple[Self, ...]:
        """Where autograd can't vouch: the same point with other cotangents and directions."""
        if self.trusted is not None or self.number or not self.case.subject.takes_cotangent:
            return ()
        return tuple(type(self)(self.case.with_base(self.case.evaluate(k)), k, self.differences.held) for k in (2, 3))
