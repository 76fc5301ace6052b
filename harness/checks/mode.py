"""What differs between training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from harness.base import Base
from harness.case import Case
from harness.checks import Check
from harness.checks.contract import exact, verdict
from harness.checks.repetition import same_evaluation
from harness.domain import BackwardRaised, Refused
from harness.judgement.comparison import compared, entry_farthest_off
from harness.outcome import Outcome, SpecError
from harness.report import Finding, told_apart
from harness.session import Observation, Session
from harness.subject import Evaluation
from harness.tensors.arrays import same_bytes


def state(session: Session) -> Observation:
    """Running statistics move in train forwards only, as a reference moves those it is handed, and evaluation reads them."""
    case, base = session.case, session.case.base
    if not case.buffers:
        return Observation(Outcome.SKIP, reason="the layer has no buffers")
    problems: dict[str, Finding] = {}
    for n, start in case.buffers.items():
        if n not in base.buffers_after_forward or n not in base.buffers_after_backward:
            continue  # what a forward takes away again is no statistic
        if not same_bytes(base.buffers_after_forward[n], base.buffers_after_backward[n]):
            problems[n] = exact(n, "moved by backward", "moved by train forwards only")
        elif case.mode == "eval" and not same_bytes(start, base.buffers_after_forward[n]):
            problems[n] = exact(n, "moved by a forward in eval", "moved by train forwards only")
        elif start.is_floating_point() and (finding := _unused_or_unmoved(session, n)):  # a counter is no statistic
            problems[n] = finding
    problems = {n: finding for n, finding in problems.items() if not _by_noise(session, n)}
    if problems or case.mode == "eval":
        return verdict(session, problems, list(case.buffers))
    problems, said = _by_another_rule(session)
    seen = verdict(session, problems, list(case.buffers))
    return seen if problems else replace(seen, reason=said)


def _by_noise(session: Session, name: str) -> bool:
    """Whether it may be a mere cache, taken for a buffer because forwards in training differ by themselves: eval does not read it."""
    if "train" not in session.case.subject.modes:
        return False
    with suppress(Refused):
        train = session.case.at(mode="train")
        differs = train.unreplayable or any(train.differs(train.seed) for _ in range(LOOKS))
        return differs and not _reads(session, name, "eval")
    return False


LOOKS = 64
"""How many forwards show that one differs from the next: a mask that seldom drops is as it was in most."""


def _by_another_rule(session: Session) -> tuple[dict[str, Finding], str]:
    """The statistics that move in another way than the reference moves those that it is handed, from where they are and from
    where the layer begins; and why none is compared."""
    case = session.case
    if case.reference is None or not case.shares_draws:
        return {}, ""
    first = case.at(buffers=case.subject.buffers)
    try:
        moves = [(case, case.base.buffers_after_forward, _moved_by_reference(case, case.leaves))]
        moves += [(first, first.fresh().buffers(), _moved_by_reference(first, case.leaves))]
    except (SpecError, Refused):
        raise
    except Exception:  # the reference refuses the example: the check of that name says so
        return {}, ""
    if not any(expected for *_, expected in moves):
        return {}, "how they move is not compared: the reference moves none of the buffers that it is handed"
    return {n: f for at, found, expected in moves for n, t in expected.items() if (f := _off(at, n, found[n], t))}, ""


def _moved_by_reference(case: Case, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert case.reference is not None
    after = case.reference.evaluate(case.subject, leaves, case.buffers, case.mode, case.seed)[1]
    return {n: t for n, t in after.items() if not same_bytes(t, case.buffers[n])}


def _off(case: Case, name: str, found: Tensor, expected: Tensor) -> Finding | None:
    """A statistic after a train forward that is not the reference's."""
    if found.shape != expected.shape:
        return exact(name, f"shape {tuple(found.shape)}", f"shape {tuple(expected.shape)}, as the reference's")
    seen = compared(case, found, expected, lambda leaves: _moved_by_reference(case, leaves).get(name, expected))
    if seen.outcome is not Outcome.FAIL:
        return None
    finding = entry_farthest_off(name, found, expected)
    left, right = told_apart(finding.analytic, finding.expected)
    return replace(finding, analytic=f"a train forward leaves {left}", expected=f"{right}, as the reference does")


def _unused_or_unmoved(session: Session, name: str) -> Finding | None:
    """A statistic that train moves and eval ignores, or that eval reads alone and train never moves."""
    case = session.case
    if not {"train", "eval"} <= set(case.subject.modes):
        return None
    start = case.buffers[name]
    try:
        if (trained := session.trained.get(name)) is None:
            return None
        moved = not same_bytes(start, trained)
        if case.mode == "eval" and moved and not _reads(session, name, "eval"):
            return exact(name, "kept by train forwards and not used in eval", "evaluation through running statistics")
        still = case.mode == "train" and not moved and not _moves(session, name)
        if still and _reads(session, name, "eval") and not _reads(session, name, "train") and _follows(session):
            return exact(name, "used in eval and not moved by a train forward", "moved by train forwards")
    except Refused:  # one of the modes refuses the example
        return None
    return None


SHIFTS = (0.125, 64.0, -64.0)
"""By how much a buffer is moved to see whether it is read: behind a saturated function a small step changes nothing."""


def _moves(session: Session, name: str) -> bool:
    """Whether a train forward moves a statistic that stands elsewhere: it may have been where the batch's is, as a variance of
    zero is where each batch has one example."""
    at = session.case.buffers[name] * 1.25 + SHIFTS[0]
    case = session.case.at(mode="train", buffers={**session.case.buffers, name: at})
    after = case.base.buffers_after_forward.get(name)
    return after is None or not same_bytes(at, after)


def _reads(session: Session, name: str, mode: str) -> bool:
    """Whether the outputs in this mode depend on a buffer."""
    case = session.case.at(mode=mode)
    outputs = session.case.base.outputs if mode == session.case.mode else case.outputs_at(case.leaves)
    others = (case.at(buffers={**case.buffers, name: case.buffers[name] * 1.25 + by}) for by in SHIFTS)
    return any(
        not torch.equal(a, b) for other in others for a, b in zip(outputs, other.outputs_at(case.leaves), strict=True)
    )


def _follows(session: Session) -> bool:
    """Whether the outputs depend on the inputs: normalised by a batch of one they are zero, whatever they are multiplied by."""
    case = session.case
    real = case.subject.real_inputs()
    stretch = {n: torch.linspace(0.5, 1.5, case.leaves[n].numel()).reshape(case.leaves[n].shape) for n in real}
    other = {n: case.leaves[n] * by.to(case.leaves[n]) for n, by in stretch.items()}
    outputs = case.outputs_at({**case.leaves, **other})
    return any(not torch.equal(a, b) for a, b in zip(case.base.outputs, outputs, strict=True))


def mode_switch(session: Session) -> Observation:
    """Forward and backward are the same in a layer that has been in the other mode, and in one that never was."""
    case = session.case
    others = [m for m in case.subject.modes if m != case.mode]
    if not others or session.twin is None:
        return Observation(Outcome.SKIP, reason="the layer has one mode")
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    for mode in others:
        fresh = Session(case.at(subject=session.twin))
        base = fresh.case.base  # before it was ever in the other mode
        with suppress(Refused, BackwardRaised):  # a mode may refuse the example
            fresh.case.at(mode=mode).evaluate(1)
        seen = same_evaluation(fresh, f"after a forward and backward in {mode}", fresh.case.fresh())
        if seen.outcome is Outcome.FAIL:
            return seen
        # what is sticky from the first forward on: the case's layer has been in both
        what = f"in a layer that was never in {mode}"
        seen = same_evaluation(session, what, _alone(base))
        if seen.outcome is Outcome.FAIL and session.sibling is not None:  # or is it its first batch that it goes by?
            seen = same_evaluation(session, what, _alone(case.at(subject=session.sibling).base))
        if seen.outcome is Outcome.FAIL:
            return seen
    return seen


def _alone(base: Base) -> Evaluation:
    """An evaluation that answers what was seen."""
    return Evaluation(base.outputs, lambda _: base.gradients)


CHECKS = (
    Check(
        "mode_switch",
        "mode",
        "a layer that was in the other mode before answers like one that never was",
        mode_switch,
        given=False,
        echoes=False,
    ),
    Check(
        "state",
        "mode",
        "running statistics move in train forwards only, as the reference's do, and eval reads them",
        state,
        given=False,
    ),
)
