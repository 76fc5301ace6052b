"""One case as the checks see it: everything that several of them need, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.draws import rng_of
from harness.judgement.judge import Judge
from harness.judgement.verdict import Verdict
from harness.outcome import Outcome
from harness.report import Finding
from harness.subject import Gradients, Subject
from harness.tensors.arrays import dtype_name
from harness.wavering import Wavering, wavering


@dataclass(frozen=True)
class Observation:
    """What one check saw at one case."""

    outcome: Outcome
    tensors: dict[str, float] = field(default_factory=dict)
    """{verified tensor: resolution}."""
    unverified: dict[str, float] = field(default_factory=dict)
    """{tensor that was not verified: the resolution reached}."""
    reason: str = ""
    failed: tuple[str, Verdict] | None = None
    """The tensor that failed worst, with its verdict."""
    wrong: tuple[str, ...] = ()
    """All that failed."""
    at: Session | None = None
    """Where it did, if not at the point that was asked of."""
    finding: Finding | None = None
    unanswered: bool = False
    """Whether it was skipped for want of an answer that was asked for: where no example has one, nothing is verified."""
    way: str = ""
    """How the layer does what it may do in several ways, though not in one here and in another there."""


class Session:
    """One case and its judges."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.seen: dict[str, Observation] = {}  # what the checks that were asked so far saw, by name
        self._sparing: dict[frozenset[str], Session] = {}

    @cached_property
    def judge(self) -> Judge:
        """Against differences and autograd of the layer's own forward."""
        return Judge(self.case)

    @cached_property
    def reference_judge(self) -> Judge:
        """Against differences and autograd of the reference."""
        # the same forward and backward
        case = self.case.at(declared=self.case.reference).with_base(self.case.base)
        return Judge(case)

    @property
    def dtype(self) -> str:
        """The name of the working precision."""
        return dtype_name(self.case.dtype)

    @cached_property
    def twin(self) -> Subject | None:
        """The layer made again, whose first batch had twice as many rows if it takes them, and which is never put into another
        mode than the case's before `mode_switch` does; None where it can't be. Looking for its parameters takes as many
        forwards as a check, and so it is made once."""
        with suppress(Exception):  # not every layer takes another number of rows
            if (made := self._made_again(doubled=True)) is not None:
                return made
        return self.sibling

    @cached_property
    def sibling(self) -> Subject | None:
        """The same, whose first batch was like the case's."""
        recast = self.case.subject.recast
        return None if recast is None else self._made_again() or recast(self.case.dtype)

    def _made_again(self, doubled: bool = False) -> Subject | None:
        """In the case's mode alone; None where that shows another layer: what only another mode shows to be a buffer, or to be
        given back before each run, may be missing."""
        subject = self.case.subject
        if subject.recast is None:
            return None
        made = subject.recast(self.case.dtype, (self.case.mode,), doubled)
        same = made.leaves.keys() == subject.leaves.keys() and made.buffers.keys() <= subject.buffers.keys()
        return made if same and made.carries == subject.carries else None

    def anew(self) -> Session:
        """The same point of the layer made again, or of the same one where it can't be: nothing evaluated yet."""
        subject = self.case.subject
        made = subject if subject.recast is None else replace(subject.recast(self.case.dtype), recast=subject.recast)
        return Session(self.case.at(subject=made if made.leaves.keys() == subject.leaves.keys() else subject))

    @cached_property
    def trained(self) -> Mapping[str, Tensor]:
        """The buffers after a train forward.

        Raises:
            Refused: it raised.
        """
        if self.case.mode == "train":
            return self.case.base.buffers_after_forward
        return self.case.at(mode="train").fresh().buffers()

    @cached_property
    def at_ones(self) -> Gradients:
        """What backward gives for a cotangent of ones, which `sum()` sends.

        Raises:
            BackwardRaised: it raised.
        """
        return self.case.pulled([torch.ones_like(t) for t in self.case.base.cotangents])

    @cached_property
    def random(self) -> bool:
        """Whether the layer draws here."""
        return self.case.random

    @cached_property
    def wavering(self) -> Wavering | None:
        """A call at the case's very point that answers otherwise than the first; asked where something fails or stays open."""
        return wavering(self.case)

    def sparing(self, wrong: frozenset[str]) -> Session:
        """The same without judging the gradients of these; made once."""
        if wrong not in self._sparing:
            self._sparing[wrong] = Session(self.case.at(spared=wrong).with_base(self.case.base))
        return self._sparing[wrong]

    def fresh(self, number: int) -> Session | None:
        """The same layer, known to be wrong, at other values of the same spread, to test a diagnosis on; None where it refuses them."""
        case = self.case
        leaves = {
            n: t
            + 0.5
            * (t.abs() if t.numel() == 1 else t.std(correction=0).nan_to_num(0.0))  # one number has no spread
            * torch.as_tensor(rng_of(case.seed, 11, number, k).standard_normal(tuple(t.shape))).to(t)
            if t.is_floating_point()
            and (n in case.wanted or case.subject.leaves[n].role != "input")  # one-hot rows stay so
            else t
            for k, (n, t) in enumerate(case.leaves.items())
        }
        session = Session(case.at(leaves=leaves, seed=case.seed + 7919 * number, known_wrong=True))
        try:
            _ = session.case.base
        except Refused:
            return None
        return session


def observed(verdicts: dict[str, Verdict]) -> Observation:
    """Several tensors' verdicts as one observation."""
    good = {n: v.resolution for n, v in verdicts.items() if v.outcome is Outcome.PASS}
    bad = {n: v for n, v in verdicts.items() if v.outcome is Outcome.FAIL}
    open_ = {n: v for n, v in verdicts.items() if v.outcome is Outcome.INCONCLUSIVE}
    outcome = Outcome.FAIL if bad else Outcome.INCONCLUSIVE if open_ else Outcome.PASS
    reasons = [f"{n}: {v.reason}" for n, v in (bad or open_ or verdicts).items() if v.reason]
    failed = max(bad.items(), key=lambda item: _severity(item[1]), default=None)
    unverified = {n: v.resolution for n, v in open_.items()}
    return Observation(outcome, good, unverified, "; ".join(reasons), failed, tuple(bad))


def _severity(verdict: Verdict) -> Literal[0, 1]:
    return 1 if verdict.expected is not None else 0
