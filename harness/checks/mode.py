"""What differs between training and evaluation."""

from __future__ import annotations

from contextlib import suppress

import torch

from harness.arrays import same_bytes
from harness.checks import Check
from harness.checks.contract import exact, verdict
from harness.checks.repetition import same_evaluation
from harness.domain import BackwardRaised, Refused
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session


def state(session: Session) -> Observation:
    """Running statistics move in train forwards only, and evaluation is what reads them."""
    case, base = session.case, session.case.base
    if not case.buffers:
        return Observation(Outcome.SKIP, reason="the layer has no buffers")
    problems: dict[str, Finding] = {}
    for n, start in case.buffers.items():
        if not same_bytes(base.buffers_after_forward[n], base.buffers_after_backward[n]):
            problems[n] = exact(n, "moved by backward", "moved by train forwards only")
        elif case.mode == "eval" and not same_bytes(start, base.buffers_after_forward[n]):
            problems[n] = exact(n, "moved by a forward in eval", "moved by train forwards only")
        elif start.is_floating_point() and (finding := _unused_or_unmoved(session, n)):  # a counter is no statistic
            problems[n] = finding
    return verdict(session, problems, list(case.buffers))


def _unused_or_unmoved(session: Session, name: str) -> Finding | None:
    """A statistic that train moves and eval ignores, or that eval reads alone and train never moves."""
    case = session.case
    if not {"train", "eval"} <= set(case.subject.modes):
        return None
    try:
        start = case.buffers[name]
        moved = not same_bytes(start, case.at(mode="train").forward(session.case.subject.values()).buffers()[name])
        read = {mode: _reads(session, name, mode) for mode in ("train", "eval")}
    except Refused:  # one of the modes refuses the example
        return None
    if case.mode == "eval" and moved and not read["eval"]:
        return exact(name, "kept by train forwards and not used in eval", "evaluation through running statistics")
    if case.mode == "train" and not moved and read["eval"] and not read["train"]:
        return exact(name, "used in eval and not moved by a train forward", "moved by train forwards")
    return None


def _reads(session: Session, name: str, mode: str) -> bool:
    """Whether the outputs in this mode depend on a buffer."""
    case = session.case.at(mode=mode)
    other = case.at(buffers={**case.buffers, name: case.buffers[name] * 1.25 + 0.125})
    pairs = zip(case.outputs_at(case.leaves), other.outputs_at(case.leaves), strict=True)
    return not all(torch.equal(a, b) for a, b in pairs)


def mode_switch(session: Session) -> Observation:
    """Forward and backward are the same in a layer that has been in the other mode, and in one that never was."""
    case = session.case
    others = [m for m in case.subject.modes if m != case.mode]
    if not others or case.subject.recast is None:
        return Observation(Outcome.SKIP, reason="the layer has one mode")
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    for mode in others:
        fresh = Session(case.at(subject=case.subject.recast(case.dtype, (case.mode,))))
        _ = fresh.case.base  # before it was ever in the other mode
        with suppress(Refused, BackwardRaised):  # a mode may refuse the example
            fresh.case.at(mode=mode).evaluate(1)
        evaluation = fresh.case.fresh()
        seen = same_evaluation(fresh, f"after a forward and backward in {mode}", evaluation)
        if seen.outcome is Outcome.FAIL:
            return seen
    return seen


CHECKS = (
    Check(
        "mode_switch",
        "mode",
        "a layer that was in the other mode before answers like one that never was",
        mode_switch,
        given=False,
        echoes=False,
    ),
    Check("state", "mode", "running statistics move in train forwards only, and eval reads them", state, given=False),
)
