"""What a few forwards say of a claim where autograd is no second opinion: block by block along few directions, each output at a
kink between its one-sided slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from harness.domain import Refused
from harness.judgement.coarse import FAINTEST, Coarse, UnsettledError
from harness.judgement.edges import REACH
from harness.judgement.judge import ZERO
from harness.judgement.line import CLOSER
from harness.judgement.verdict import Verdict
from harness.oracles.differences import SECOND, Differences
from harness.oracles.estimate import FINE_STEP
from harness.oracles.nudge import Claimed, Six, Step, least, share
from harness.oracles.pairing import Pairing
from harness.oracles.stencil import NOISES
from harness.outcome import Outcome
from harness.tensors.arrays import narrow

FINER = FINE_STEP / 32
"""The step that is tried where a fine one is too large for the function, as in a constant row of a normalisation."""

FINEST = FINE_STEP / 256
"""The step at which a kink must still be one: what a jump makes of a slope is 256 times as much there."""

INNER = (FINE_STEP / 512, FINE_STEP / 64)
"""The steps next to a point with ties, where four of them keep these apart, so that none meets the next tie."""

BENT = 1e-3
"""What share of a gradient's size the slopes of an output to both sides must differ by for a kink."""

STEEPER = 4
"""By how much slopes at a kink may differ along other directions at a finer step; entries of a direction differ by 3."""

STEEP = 16
"""By how much slopes over the spread may exceed the outputs: beyond, fine steps are taken to be too large."""

ALIKE = 64
"""By what factor slopes that are looked at together may differ."""

AGAIN = 3
"""How often six points are tried for what fine steps do not show, each time at the smallest step that what is left allows."""


class TruncatedError(UnsettledError):
    """At this step; the function may be at home on a finer scale."""


class Unaided(Coarse):
    """Few forwards at one case, for acceptance alone: where they do not suffice nothing is said."""

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

    def verdicts(self) -> dict[str, Verdict] | None:
        """A PASS for every tensor of which something is known; None where that takes more."""
        names = self.case.wanted
        if self.judge.trusted is not None or self.judge.claim.malformed or self.f.held or self.case.u > 1e-10:
            return None
        if not names or any(narrow(self.judge.claim.gradients[n]) for n in names):
            return None
        none = [n for n in names if self._nothing([n])]
        try:
            return self._of(none) | self._of([n for n in names if n not in none])
        except (UnsettledError, Refused):
            return None

    def _nothing(self, names: list[str]) -> bool:
        """Whether the claim is nothing that the forward can express."""
        return all(self.judge.claim.sizes[n] <= self.f.floor(n) for n in names)

    def _of(self, names: list[str]) -> dict[str, Verdict]:
        """A PASS for each of these leaves: those whose slopes are of one size are moved together, else one by one.

        Raises:
            UnsettledError: neither suffices.
        """
        found: dict[str, Verdict] = {}
        for group in self._alike(names):
            try:
                found |= self._together(group)
            except UnsettledError:
                if len(group) == 1:
                    raise
                for name in group:
                    found |= self._together([name])
        return found

    def _alike(self, names: list[str]) -> list[list[str]]:
        """Leaves whose slopes, over a step of their spread, are of the same size within a factor of `ALIKE`."""
        size = {n: self.judge.claim.sizes[n] * self.f.units[n] for n in names}
        groups: list[list[str]] = []
        for n in sorted(names, key=lambda n: -size[n]):
            if groups and size[groups[-1][0]] <= ALIKE * size[n]:
                groups[-1].append(n)
            else:
                groups.append([n])
        return groups

    def _together(self, names: list[str]) -> dict[str, Verdict]:
        if not self._nothing(names) and self._hidden(self._scales(names)):
            return self._coarse(names)
        step = Step.of(self.f, self.f.direction(90, names), FINER if self._steep(names) else FINE_STEP)
        if self._nothing(names) and step.still(self.f.v, self.judge.digits):
            return self._constant(names, step)
        if self._hidden(self._scales(names, step)):
            return self._coarse(names)
        try:
            return self._fine(names, step)
        except UnsettledError as why:
            if len(names) > 1:
                raise
            if isinstance(why, TruncatedError):
                with suppress(UnsettledError):
                    return self._fine(names, Step.of(self.f, self.f.direction(93, names), FINER))
            if self.f.tied(names) and (found := self._adjacent(names[0])) is not None:
                return found
            return self._coarse(names)

    def _steep(self, names: list[str]) -> bool:
        """Whether slopes are so large that the function can't be at home on the spread: a normalisation of constant rows."""
        size = math.sqrt(float((self.f.v * self.f.y).square().mean()))
        return any(self.judge.claim.sizes[n] * self.f.units[n] > STEEP * size > 0 for n in names)

    def _scales(self, names: list[str], step: Step | None = None) -> dict[str, float]:
        """The sizes of the gradients; of a leaf alone that of its slopes before they cancel, where that is larger."""
        sizes = {n: self.judge.claim.sizes[n] for n in names}
        if step is None or len(names) > 1:
            return sizes
        flow = float((self.f.v * step.central).norm()) / step.length
        return {n: max(size, flow) for n, size in sizes.items()}

    def _hidden(self, scales: Mapping[str, float]) -> bool:
        """Whether at a fine step the outputs' last digits may be more than what must be seen of gradients of these sizes."""
        return any(self.f.floor(n) > self.case.tau * scale * FINE_STEP for n, scale in scales.items())

    # Where nothing moves

    def _constant(self, names: list[str], near: Step) -> dict[str, Verdict]:
        """Leaves that move no output near or far beyond its last digits, and whose claim is nothing either."""
        far = Step.of(self.f, self.f.direction(90, names), REACH)
        zero = not any(bool(self.judge.claim.gradients[n].any()) for n in names)
        if zero and all(s.still(self.f.v, 0.0) for s in (near, far)):
            return dict.fromkeys(names, Verdict(Outcome.PASS, 0.0))
        if not self.judge.digits:  # the smallest slope would show
            return dict.fromkeys(names, Verdict(Outcome.PASS, 0.0))
        if not far.still(self.f.v, self.judge.digits):
            far = Step.of(
                self.f, self.f.direction(90, names), SECOND
            )  # not for ever: down to what is expressed (rule b)
        floor = {n: self.f.floor(n) / SECOND for n in names}
        if far.still(self.f.v, self.judge.digits) and all(self.judge.slight(n, floor[n]) for n in names):
            return {n: Verdict(Outcome.PASS, self.case.tau, ZERO.format(floor[n])) for n in names}
        return self._coarse(names)

    # Fine steps

    def _fine(self, names: list[str], step: Step) -> dict[str, Verdict]:
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

    def _adjacent(self, name: str) -> dict[str, Verdict] | None:
        """A leaf with ties whose claim is the gradient next to the point, where equal numbers differ as they follow each other, up or
        down: in every block, along two directions and with every cotangent. A stable sort takes that piece, of three tied entries
        one between whose one-sided slopes it need not be; a gradient next to the point is one of Clarke's."""
        need, none = {name: self.case.tau * self.judge.claim.sizes[name]}, torch.zeros_like(self.f.y, dtype=torch.bool)
        x = self.case.leaves[name]
        if self.judge.uneven(name):
            return None
        for sign, h in product((1.0, -1.0), INNER):
            beside = self.f.spread({name: sign * 4 * h * place_among_ties(x)}, 1.0)
            near = Differences(self.case.at(leaves={**self.case.leaves, name: x + beside[name]}))
            steps = [Step.of(near, near.direction(k, [name]), h) for k in (90, 91)]
            for paired in self._pairings([name]):
                hidden = NOISES * self.case.u * paired.of_outputs((self.f.v * near.y).square()).sqrt()
                if not bool((hidden <= least(steps[0].e, need, paired)).all()):
                    continue
                worst = max(self._worst(need, step, paired, none) for step in steps)
                if worst <= 1:
                    said = f"{name} has ties; accepted as the gradient where equal numbers differ in their order"
                    return {name: Verdict(Outcome.PASS, max(64 * self.case.u, worst * self.case.tau), said)}
        return None

    # Directions

    def _keeping_ties(self, names: list[str]) -> dict[str, Tensor]:
        """Random, but equal entries of a leaf are moved by the same."""
        kinds = {n: kinds_of(self.case.leaves[n]) for n in names}
        return {n: d.reshape(-1)[kinds[n]] for n, d in self.f.direction(91, names).items()}


def kinds_of(x: Tensor) -> Tensor:
    """For each entry how many are smaller, the same for equal ones; in the tensor's shape."""
    return torch.searchsorted(x.detach().reshape(-1).sort().values, x.detach())


def place_among_ties(x: Tensor) -> Tensor:
    """For each entry how many equal ones come before it; in the tensor's shape and dtype."""
    place = torch.empty(x.numel(), dtype=torch.long, device=x.device)
    place[x.detach().reshape(-1).argsort(stable=True)] = torch.arange(x.numel(), device=x.device)
    return (place - kinds_of(x).reshape(-1)).reshape(x.shape).to(x)
