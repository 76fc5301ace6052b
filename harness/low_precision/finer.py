"""What a check can't tell where a layer takes no float64: left to the check of that precision, or to a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from harness.checks import Check
from harness.outcome import Outcome
from harness.session import Observation, Session


def finer(check: Check, session: Session, seen: Observation, others: Callable[[], set[str]]) -> Observation:
    """The observation as it is; where differences are too coarse in this dtype, what is known in another way counts.

    Args:
        check: what was asked.
        session: of what.
        seen: what it saw.
        others: the tensors that the check of this very precision compares with the reference in float64.
    """
    if session.case.dtype is torch.float64 or check.group == "precision":
        return seen
    if seen.outcome is Outcome.FAIL and check.group == "cotangent" and (name := _underflown(session, seen)):
        return Observation(Outcome.SKIP, reason=f"the gradient of {name} leaves the range of {session.dtype}")
    if seen.outcome is not Outcome.INCONCLUSIVE or not seen.unverified:
        return seen
    if session.case.reference is None:
        said = f"in {session.dtype} differences tell little: give reference="
        return seen if session.case.dtype is torch.float32 else replace(seen, reason=f"{seen.reason}; {said}")
    if not set(seen.unverified) <= others():
        return seen
    said = f"its own rounding hides {', '.join(seen.unverified)} from differences: see {session.dtype}"
    return Observation(Outcome.PASS if seen.tensors else Outcome.SKIP, seen.tensors, reason=said)


def _underflown(session: Session, seen: Observation) -> str:
    """The tensor that failed, where its gradient is below the smallest normal number: no factor can be seen there."""
    name = seen.finding.where[0] if seen.finding else seen.failed[0] if seen.failed else ""
    g = session.case.base.gradients.get(name)
    small = g is not None and g.numel() and float(g.abs().max()) < torch.finfo(session.case.dtype).smallest_normal
    return name if small else ""
