"""The same again: from another forward and backward, a second call of one pullback, the first of a new layer, other memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import exact
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.judgement.comparison import agreement, entry_farthest_off
from harness.judgement.verdict import ROUNDINGS
from harness.oracles.differences import Differences
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session
from harness.subject import Evaluation, Gradients
from harness.tensors.arrays import rms
from harness.tensors.poison import poisoned
from harness.wavering import Wavering


def repeatable(session: Session) -> Observation:
    """A fresh forward and backward gives the same again; so does a second call of one pullback, if it may be called twice;
    the very first of a new layer gave what later ones do; and nothing is read that was never written."""
    case = session.case
    if not case.replays:
        why = f"nondeterministic: two forwards under one seed differ by {_apart(case):.0e}"
        return Observation(Outcome.INCONCLUSIVE, reason=why)
    if not case.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    if failed := _unwritten(session) or _at_first(session):
        return failed
    evaluation = case.fresh()
    first = pulled(case, evaluation)
    seen = same(session, "a second forward and backward", first, repeated=True)
    if seen.outcome is Outcome.FAIL:
        return seen
    if "wavering" in vars(session) and session.wavering is not None:  # another check has asked
        return _told(session.wavering)
    cotangents = case.base.cotangents
    try:
        second = evaluation.pullback(tuple(v.clone() for v in cotangents))
    except (Exception, SystemExit):
        return replace(seen, reason="backward is for single use: a second call raises")
    found = _second(session, first, second)
    if found.outcome is Outcome.FAIL or found.reason:
        return found
    with suppress(Exception, SystemExit):
        for _ in range(MORE):
            more = evaluation.pullback(tuple(v.clone() for v in cotangents))
            if _second(session, first, more).outcome is Outcome.FAIL and session.wavering is not None:
                return _told(session.wavering)  # else it pops what earlier forwards have left
    return found


MORE = 3
"""How often one pullback is called after the second time: what a backward does at every fifth call is suspected."""


def _told(other: Wavering) -> Observation:
    finding = entry_farthest_off(other.name, other.found, other.first)
    return Observation(Outcome.FAIL, reason=str(other), finding=finding)


def _apart(case: Case) -> float:
    other = case.outputs_at(case.leaves)
    return max(
        (float((a - b).abs().max()) for a, b in zip(case.base.outputs, other, strict=True) if a.numel()), default=0.0
    )


def _second(session: Session, first: Gradients, second: Gradients) -> Observation:
    """The second answer of one pullback is the first; but gradients kept on the layer, which may add up (`accumulation`)."""
    kept = session.case.subject.kept
    given = {n: g for n, g in second.items() if n not in kept} | {n: g for n, g in first.items() if n in kept}
    seen = same(session, "a second call of one backward", given, first, repeated=True)
    if seen.outcome is Outcome.FAIL and _goes_back_in_order(session):
        return replace(
            same(session, "", first), reason="backward takes from a stack: a second call is for the forward before"
        )
    return seen


def _goes_back_in_order(session: Session) -> bool:
    """Whether a second call answers for the forward before, as one that takes from a stack does: it is none of this one's."""
    case = session.case
    real = case.subject.real_inputs()
    before = case.at(leaves={**case.leaves, **{n: 0.75 * case.leaves[n] for n in real}})
    returned = [n for n in case.wanted if n not in case.subject.kept]
    try:
        expected = pulled(case, before.fresh())
        before.fresh()
        evaluation = case.fresh()
        pulled(case, evaluation)
        second = pulled(case, evaluation)
    except (Refused, BackwardRaised):
        return False
    return bool(returned) and all(
        agreement(session.judge.claim, n, second.get(n), expected.get(n), repeated=True).outcome is Outcome.PASS
        for n in returned
    )


def _unwritten(session: Session) -> Observation | None:
    """NaN where allocated memory is read before anything was written to it."""
    case = session.case
    try:
        with poisoned():
            base = case.evaluate(1)
    except Refused:
        return _read("output", "the outputs are not finite")
    for n in case.wanted:
        g, known = base.gradients.get(n), case.base.gradients.get(n)
        if g is not None and known is not None and g.shape == known.shape:
            new = int((g.isnan() & ~known.isnan()).sum())
            if new:
                return _read(n, f"{new} of {g.numel()} entries are NaN")
    return None


def _at_first(session: Session) -> Observation | None:
    """A FAIL where the first backward of a new layer gave other gradients of its inputs than the same one does now: whatever runs
    a layer to find out what it holds would hide it."""
    case, early = session.case, session.case.subject.earliest
    if early is None or session.random:
        return None
    there = case.at(leaves=case.subject.values(), buffers=case.subject.buffers, mode=early.mode)
    try:
        evaluation = there.fresh()
        outputs = tuple(y.detach().clone() for y in evaluation.outputs)
        if not all(map(torch.equal, outputs, early.outputs)):
            return None  # it goes by what it has seen since: other checks ask for that
        with backward_may_raise():
            now = evaluation.pullback([torch.ones_like(y) for y in outputs])
    except (Refused, BackwardRaised):
        return None
    for n in case.wanted:
        g, expected = early.gradients.get(n), now.get(n)
        if g is None or expected is None or g.shape != expected.shape:
            continue
        size = max(rms(expected), session.judge.claim.sizes[n])
        if float((g.double() - expected.double()).abs().max()) > case.tau * size:
            if case.subject.draws and _drawn(there, n, expected):
                return None
            why = f"{n}: the first backward of a new layer gives other gradients than later ones"
            return Observation(Outcome.FAIL, reason=why, finding=entry_farthest_off(n, g, expected))
    return None


def _drawn(case: Case, name: str, gradient: Tensor) -> bool:
    """Whether a gradient is another under another seed: what is drawn shows in no output beside 10¹²⁶."""
    ones = [torch.ones_like(y) for y in case.base.outputs]
    others = (case.at(seed=case.seed + k).pulled(ones).get(name) for k in range(1, 5))
    return any(g is not None and not torch.equal(g, gradient) for g in others)


def _read(name: str, what: str) -> Observation:
    why = f"{name}: memory is read that was never written to ({what} once it is filled with NaN)"
    return Observation(Outcome.FAIL, reason=why, finding=exact(name, what, "no dependence on what memory held before"))


def same_evaluation(session: Session, what: str, evaluation: Evaluation) -> Observation:
    """Whether its outputs and gradients are the base's.

    Raises:
        BackwardRaised: the backward raised.
    """
    outputs = tuple(y.detach().clone() for y in evaluation.outputs)
    if not (moved := moved_outputs(session.case, outputs)):
        return same(session, what, pulled(session.case, evaluation))
    with suppress(BackwardRaised):
        gradients = pulled(session.case, evaluation)  # before another forward runs
        if _left_by_rounding(session.case, outputs):
            return same(session, what, gradients)
    return Observation(Outcome.FAIL, reason=f"{what}: {moved.analytic}", finding=moved)


def _left_by_rounding(case: Case, outputs: tuple[Tensor, ...]) -> bool:
    """Whether outputs differ by no more than the last digits of what they change by over a step of the spread: what rounding
    leaves of larger numbers, as of 1 − cos of two equal rows, is as coarse as they."""
    f, sizes = Differences(case), [y.numel() for y in outputs]
    changes = [torch.split(c.abs(), sizes) for side in (1.0, -1.0) if (c := f.far(case.wanted, side)) is not None]
    noise = torch.split(f.noise, sizes)

    def left(k: int, z: Tensor) -> float:
        far = max((rms(c[k]) for c in changes), default=0.0)
        near = ROUNDINGS * float(noise[k].amax())  # a constant row's, normalised
        return max(case.tau * rms(z), 64 * case.u * far, near if near <= case.tau * far else 0.0)

    return all(
        y.shape == z.shape and float((y - z).abs().amax() if y.numel() else 0.0) <= left(k, z)
        for k, (y, z) in enumerate(zip(outputs, case.base.outputs, strict=True))
    )


def moved_outputs(case: Case, outputs: tuple[Tensor, ...]) -> Finding | None:
    """Outputs that are others than the base's: the layer remembers more than its parameters and buffers."""
    for k, (y, z) in enumerate(zip(outputs, case.base.outputs, strict=True)):
        if y.shape != z.shape or float((y - z).abs().amax() if y.numel() else 0.0) > case.tau * rms(z):
            return exact(f"output{k}", "its outputs are others", "the same outputs from the same inputs")
    return None


def pulled(case: Case, evaluation: Evaluation, times: float = 1.0) -> Gradients:
    """The gradients of an evaluation for the case's own cotangents, or a multiple of them.

    Raises:
        BackwardRaised: the backward raised.
    """
    with backward_may_raise():
        return evaluation.pullback(tuple(times * v for v in case.base.cotangents))


def same(
    session: Session,
    what: str,
    found: Gradients,
    expected: Mapping[str, Tensor | None] | None = None,
    repeated: bool = False,
) -> Observation:
    """Whether gradients are the base's, or those given."""
    wanted, good = session.case.base.gradients if expected is None else expected, {}
    for n in session.case.wanted:
        verdict = agreement(session.judge.claim, n, found.get(n), wanted.get(n), repeated=repeated)
        if verdict.outcome is Outcome.FAIL:
            finding = entry_farthest_off(n, found.get(n), wanted.get(n))
            return Observation(Outcome.FAIL, reason=f"{n}, {what}: {verdict.reason}", finding=finding)
        good[n] = verdict.resolution
    return Observation(Outcome.PASS, good)


CHECKS = (
    Check(
        "repeatable",
        "contract",
        "the same again from a fresh evaluation and from a second call; no memory is read that was never written",
        repeatable,
        given=False,
        echoes=False,
    ),
)
