"""Fine steps for a claim where autograd is no second opinion: block by block along few directions, each output at a kink between
its one-sided slopes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from harness.judgement.coarse import FAINTEST, Coarse, UnsettledError
from harness.judgement.line import CLOSER
from harness.judgement.verdict import Verdict
from harness.oracles.estimate import FINE_STEP
from harness.oracles.nudge import Claimed, Six, Step, least, share
from harness.oracles.pairing import Pairing
from harness.oracles.stencil import NOISES
from harness.outcome import Outcome

FINEST = FINE_STEP / 256
"""The step at which a kink must still be one: what a jump makes of a slope is 256 times as much there."""

BENT = 1e-3
"""What share of a gradient's size the slopes of an output to both sides must differ by for a kink."""

STEEPER = 4
"""By how much slopes at a kink may differ along other directions at a finer step; entries of a direction differ by 3."""

AGAIN = 3
"""How often six points are tried for what fine steps do not show, each time at the smallest step that what is left allows."""


class TruncatedError(UnsettledError):
    """At this step; the function may be at home on a finer scale."""


class Fine(Coarse):
    """Steps at which a right function is linear, at one case, for acceptance alone."""

    @cached_property
    def claims(self) -> list[Claimed]:
        """For two cotangents, where backward takes any."""
        if not self.case.subject.takes_cotangent:
            return [self.first]
        other = self.case.evaluate(2)
        found = {n: g for n in self.case.wanted if (g := other.gradients.get(n)) is not None}
        if any(n not in found or found[n].shape != self.case.leaves[n].shape for n in self.case.wanted):
            raise UnsettledError
        return [self.first, Claimed(torch.cat([v.detach().reshape(-1).double() for v in other.cotangents]), found)]

    def _scales(self, names: list[str], step: Step | None = None) -> dict[str, float]:
        """The sizes of the gradients; of a leaf alone that of its slopes before they cancel, where that is larger."""
        sizes = {n: self.judge.claim.sizes[n] for n in names}
        if step is None or len(names) > 1:
            return sizes
        flow = float((self.f.v * step.central).norm()) / step.length
        return {n: max(size, flow) for n, size in sizes.items()}

    def _fine(self, names: list[str], step: Step) -> dict[str, Verdict]:
        """A PASS for each of these leaves, where the claim is met at this step in every block.

        Raises:
            TruncatedError: it may be met at a finer one.
            UnsettledError: it is not met.
        """
        need = {n: self.case.tau * scale for n, scale in self._scales(names, step).items()}
        paired, bent, worst = self._met(need, step)
        if bool(bent.any()):
            bent, worst = self._kinks(need, step, bent, paired)
        elif not CLOSER * worst <= 1:
            if step.h == FINE_STEP:
                raise TruncatedError
            other = Step.of(self.f, self.f.direction(91, names), step.h)
            worst = max(self._worst(need, s, paired, bent) for s in (step, other))
        if not worst <= 1:
            raise UnsettledError
        if not self.bare:
            self._left(need, step, paired, bent)
        many = int(bent.sum())
        said = f"{many} outputs sit at a kink in {names[0]}; accepted between the one-sided slopes" if many else ""
        return dict.fromkeys(names, Verdict(Outcome.PASS, max(64 * self.case.u, worst * self.case.tau), said))

    def _met(self, need: Mapping[str, float], step: Step) -> tuple[Pairing, Tensor, float]:
        """The finest blocks in which the claim is met, the outputs at kinks, and how far off it is at most, as a share of what
        is allowed.

        Raises:
            UnsettledError: there are none.
        """
        for paired in self._pairings([*need]):
            bent = self._bent(need, step, paired)
            if (off := self._worst(need, step, paired, bent, self.first)) <= 1:
                return paired, bent, off
        raise UnsettledError if step.h < FINE_STEP else TruncatedError

    def _worst(
        self, need: Mapping[str, float], step: Step, paired: Pairing, bent: Tensor, claim: Claimed | None = None
    ) -> float:
        """How far off one claim, or that of every cotangent, is in the worst block, as a share of what is allowed."""
        allowed = least(step.e, need, paired)
        claims = self.claims if claim is None else [claim]
        return max(float(share(step.off(c, paired, bent), allowed).max()) for c in claims)

    def _bent(self, need: Mapping[str, float], step: Step, paired: Pairing) -> Tensor:
        """The outputs whose slopes to both sides differ by much and that have a block each: in others each would excuse what is wrong
        beside it. Nor does a kink excuse anything of several leaves."""
        changes = torch.cat([need[n] / self.case.tau * t.double().reshape(-1) for n, t in step.e.items()])
        size = paired.of_entries(changes.square()).sqrt()[paired.outputs]
        alone = torch.bincount(paired.outputs, minlength=paired.count)[paired.outputs] == 1
        return alone & ((self.f.v * step.bend).abs() > BENT * size) & (len(need) == 1)

    def _kinks(self, need: Mapping[str, float], step: Step, bent: Tensor, paired: Pairing) -> tuple[Tensor, float]:
        """The outputs at kinks and how far off the claim is, where blocks at kinks are of one entry, whose slopes to both sides are
        all that may be claimed, or smooth along the direction that keeps ties, as of a maximum; and where a finer step finds
        kinks of the same slopes, with the claim between them.

        Raises:
            UnsettledError: not so.
        """
        ties = Step.of(self.f, self._keeping_ties([*need]), step.h)
        apart = self._bent(need, ties, paired)
        entries = torch.bincount(paired.entries, minlength=paired.count)
        if bool((apart & (entries[paired.outputs] > 1)).any()):
            raise UnsettledError
        bent = bent | apart
        near = Step.of(self.f, self.f.direction(92, [*need]), FINEST)
        far, close = step.steepest[bent], near.steepest[bent]
        if bool(((close > STEEPER * far) | (far > STEEPER * close)).any()):
            raise UnsettledError
        allowed = least(near.e, need, paired)
        at_kink = paired.of_outputs(bent.double()) > 0
        if any(float(share(near.off(c, paired, bent), allowed)[at_kink].max()) > 1 for c in self.claims):
            raise UnsettledError
        return bent, max(self._worst(need, step, paired, bent), self._worst(need, ties, paired, apart))

    def _left(self, need: Mapping[str, float], step: Step, paired: Pairing, bent: Tensor) -> None:
        """Whether what so fine a step can't show of some blocks is right by larger ones: those whose outputs' last digits may be more
        than what must be seen, of each by its own size where these differ much; down to what they can express (rule b).

        Raises:
            UnsettledError: not so.
        """
        digits = self._digits(paired)
        whole = allowed = least(step.e, need, paired)
        if any(map(self.judge.uneven, need)):
            if paired.count < 2:
                raise UnsettledError
            shortest = least(step.e, dict.fromkeys(need, 1.0), paired)
            allowed = torch.minimum(allowed, self._own([*need], paired) * shortest)
        left = (step.off(self.first, paired, bent) > allowed) | (digits > allowed)
        if not bool(left.any()):
            return
        part = torch.maximum(allowed, FAINTEST * step.h * digits) / whole
        for _ in range(AGAIN):
            t = 2 * NOISES * step.h / 32 * float((digits / (part * whole))[left].max())
            six = Six.of(self.f, self.f.direction(90, [*need]), min(t, 1.0))
            left = left & ~(
                share(torch.stack(six.off(self.first, paired)).sum(0), part * least(six.e, need, paired)) <= 1
            )
            if not bool(left.any()):
                return
        raise UnsettledError

    def _keeping_ties(self, names: list[str]) -> dict[str, Tensor]:
        """Random, but equal entries of a leaf are moved by the same."""
        kinds = {n: kinds_of(self.case.leaves[n]) for n in names}
        return {n: d.reshape(-1)[kinds[n]] for n, d in self.f.direction(91, names).items()}


def kinds_of(x: Tensor) -> Tensor:
    """For each entry how many are smaller, the same for equal ones; in the tensor's shape."""
    return torch.searchsorted(x.detach().reshape(-1).sort().values, x.detach())
