"""What a few forwards say of a claim where autograd is no second opinion: by fine steps, next to ties, or by large ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from itertools import product

import torch
from torch import Tensor

from harness.domain import Refused
from harness.judgement.acceptance import ZERO
from harness.judgement.coarse import UnsettledError
from harness.judgement.edges import REACH
from harness.judgement.fine import Fine, TruncatedError, kinds_of
from harness.judgement.verdict import Verdict
from harness.oracles.differences import SECOND, Differences
from harness.oracles.estimate import FINE_STEP
from harness.oracles.nudge import Step, least
from harness.oracles.stencil import NOISES
from harness.outcome import Outcome
from harness.tensors.arrays import narrow

FINER = FINE_STEP / 32
"""The step that is tried where a fine one is too large for the function, as in a constant row of a normalisation."""

INNER = (FINE_STEP / 512, FINE_STEP / 64)
"""The steps next to a point with ties, where four of them keep these apart, so that none meets the next tie."""

STEEP = 16
"""By how much slopes over the spread may exceed the outputs: beyond, fine steps are taken to be too large."""

ALIKE = 64
"""By what factor slopes that are looked at together may differ."""


class Unaided(Fine):
    """Few forwards at one case, for acceptance alone: where they do not suffice nothing is said."""

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
        """A PASS for each of these leaves, moved together: by a fine step, else by a finer one, next to ties, by large steps.

        Raises:
            UnsettledError: none of these suffices.
        """
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
            # not for ever: down to what is expressed (rule b)
            far = Step.of(self.f, self.f.direction(90, names), SECOND)
        floor = {n: self.f.floor(n) / SECOND for n in names}
        if far.still(self.f.v, self.judge.digits) and all(self.judge.slight(n, floor[n]) for n in names):
            return {n: Verdict(Outcome.PASS, self.case.tau, ZERO.format(floor[n])) for n in names}
        return self._coarse(names)

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


def place_among_ties(x: Tensor) -> Tensor:
    """For each entry how many equal ones come before it; in the tensor's shape and dtype."""
    place = torch.empty(x.numel(), dtype=torch.long, device=x.device)
    place[x.detach().reshape(-1).argsort(stable=True)] = torch.arange(x.numel(), device=x.device)
    return (place - kinds_of(x).reshape(-1)).reshape(x.shape).to(x)
