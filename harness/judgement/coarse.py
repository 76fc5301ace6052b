"""Large steps for a claim that fine ones do not show, where autograd is no second opinion: along one direction, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.judgement.judge import Judge
from harness.judgement.ladders import COARSEST
from harness.judgement.verdict import Verdict
from harness.oracles.differences import FIRST, SECOND, UP
from harness.oracles.estimate import FINE_STEP, Direction
from harness.oracles.nudge import Claimed, Six, Step, flat, least, share
from harness.oracles.pairing import Pairing, pairings, whole
from harness.oracles.stencil import NOISES
from harness.outcome import Outcome

FAINTEST = 1 / SECOND
"""How many times the smallest slope that the forward can express may stay unknown where fine steps can't show it: what the judge
would not refute either (docs/verdict.md 4, rule b)."""

BETWEEN = (2.0**-9, 2.0**-12)
"""The steps of six points at saturation: where rounding hides about as much as may be (rule b), and more."""

Allowed = Callable[[Pairing, Direction], Tensor]
"""By how much a claim may be off in each block along a displacement."""


class UnsettledError(Exception):
    """So few forwards do not settle it."""


class Coarse:
    """Six points at one case, for acceptance alone."""

    def __init__(self, judge: Judge, bare: bool = False) -> None:
        self.judge, self.case, self.f = judge, judge.case, judge.differences
        self.bare = bare
        """Whether what the forward can't express may be left unknown."""
        self.first = Claimed(self.f.v, judge.claim.gradients)

    def _coarse(self, names: list[str]) -> dict[str, Verdict]:
        """Six points as far as a function at home on the spread allows, where rounding hides what finer ones see. What is saturated
        need not be seen beyond the slopes that its outputs can express (rule b).

        Raises:
            UnsettledError: they do not say enough.
        """
        if self.bare:
            return self._saturated(names)
        scales = {n: self.judge.scale(n, []) for n in names}
        need = {n: self.judge.need(n, scale) for n, scale in scales.items()}
        steps = self._wide(min(need[n] * self.f.unit(n) for n in names))
        if not self._climbed(names, steps, self._pairings(names), lambda paired, e: least(e, need, paired)):
            raise UnsettledError
        reached = {n: max(64 * self.case.u, self.judge.relative(need[n], scale)) for n, scale in scales.items()}
        return {n: Verdict(Outcome.PASS, min(r, COARSEST)) for n, r in reached.items()}

    def _saturated(self, names: list[str]) -> dict[str, Verdict]:
        """Nothing to be said of these leaves, as far as their outputs can express slopes; at fine steps where larger ones are too
        large for the function."""
        expressed = {n: FAINTEST * self.f.floor(n) for n in names}

        def allowed(paired: Pairing, e: Direction) -> Tensor:
            found = least(e, expressed, paired)
            if len(names) > 1:
                return found
            return torch.maximum(found, self._own(names, paired) * least(e, dict.fromkeys(names, 1.0), paired))

        if self._climbed(names, BETWEEN, self._pairings(names), allowed, self._fine_digits(names)):
            return {}
        raise UnsettledError

    def _fine_digits(self, names: list[str]) -> Callable[[Pairing], Tensor]:
        """In which blocks a fine step shows the claim to be off by no more than the outputs' last digits."""
        steps: list[Step] = []  # asked for at few points

        def met(paired: Pairing) -> Tensor:
            steps[:] = steps or [Step.of(self.f, self.f.direction(90, names), FINE_STEP)]
            return steps[0].off(self.first, paired, torch.zeros_like(self.f.y, dtype=torch.bool)) <= self._digits(
                paired
            )

        return met

    def _digits(self, paired: Pairing) -> Tensor:
        """What rounding may change the outputs of each block by."""
        return 64 * self.case.u * paired.of_outputs((self.f.v * self.f.y).square()).sqrt()

    def _wide(self, need: float) -> list[float]:
        """Sixteen times, four times, and the smallest step at which rounding hides no more than what must be seen; no larger ones
        than a ladder's first, unless they must be."""
        rounding = NOISES * self.case.u * float((self.f.v * self.f.y).norm())
        first, last = 2.0 ** -(FIRST + 2), 2.0 ** -(UP[-1] + 2)
        smallest = min(4 * rounding / need, last) if need > 0 else last
        return [min(4 * smallest, first), smallest, smallest / 4] if smallest < first else [smallest]

    def _climbed(
        self,
        names: list[str],
        steps: Sequence[float],
        among: Sequence[Pairing],
        allowed: Allowed,
        unknown: Callable[[Pairing], Tensor] | None = None,
    ) -> bool:
        """Whether six points at one of these steps, or at another in each block, show the claim to be off by no more; blocks of which
        none of them knows enough may be right otherwise."""
        best = [self.f.y.new_full((paired.count,), math.inf) for paired in among]
        known = [b.isnan() for b in best]
        for t in steps:
            six = Six.of(self.f, self.f.direction(90, names), t)
            for k, paired in enumerate(among):
                (out, error), most = six.off(self.first, paired), allowed(paired, six.e)
                best[k], known[k] = torch.minimum(best[k], share(out + error, most)), known[k] | (error <= most)
                if bool((best[k] <= 1).all()):
                    return True
        if unknown is None:
            return False
        return any(
            bool(((b <= 1) | (~k & unknown(paired))).all()) for b, k, paired in zip(best, known, among, strict=True)
        )

    def _own(self, names: list[str], paired: Pairing) -> Tensor:
        """What must be seen of each block by the size of its own gradient."""
        squares = flat(self.first.gradients, names).square()
        return self.case.tau * (paired.of_entries(squares) / paired.of_entries(squares**0).clamp(min=1)).sqrt()

    def _pairings(self, names: list[str]) -> list[Pairing]:
        leaves = self.case.leaves
        if len(names) > 1:
            found = [whole(sum(leaves[n].numel() for n in names), len(self.f.y))]
        else:
            found = pairings(leaves[names[0]].shape, [y.shape for y in self.case.base.outputs])
        return [paired.to(self.f.y.device) for paired in found]
