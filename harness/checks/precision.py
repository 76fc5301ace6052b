"""Whether a layer is as exact in lower precisions as rounding allows: its backward, and its forward where a reference is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import torch

from harness.checks import Check
from harness.domain import BackwardRaised, Refused, forward_may_refuse
from harness.low_precision.outputs import Outputs
from harness.low_precision.precision import Lowered
from harness.low_precision.scales import Scales, same_outputs
from harness.low_precision.upcast import upcast
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session, observed
from harness.tensors.arrays import dtype_name

NO_KERNEL = ("not implemented for", "is unsupported in linalg")
"""What torch and NumPy say where they have no kernel of a dtype: that backward asked for one is no fault of its own."""


NOT_IN_NUMPY = "unsupported ScalarType"
"""What torch says where NumPy has no such dtype."""


def _refused(short: str, refusal: Refused) -> str:
    if NOT_IN_NUMPY in str(refusal):
        return f"the layer computes in NumPy, which has no {short}"
    return f"the layer does not take this example in {short}: {refusal}"


def precision(dtype: torch.dtype, session: Session) -> Observation:
    """Every gradient in `dtype`, against the same layer in the case's precision at the same numbers.

    A layer that takes nothing wider is compared with its reference in float64. With a reference the outputs are held to it too.
    """
    case, short = session.case, dtype_name(dtype)
    if dtype is case.dtype and (wide := upcast(case)) is not None:
        if session.random:
            return _skip("the layer draws random numbers that the reference does not share")
        session = Session(wide)
    elif torch.finfo(dtype).eps <= torch.finfo(case.dtype).eps:
        return _skip(f"the layer is judged in {dtype_name(case.dtype)} by every other check")
    if not case.wanted:
        return _skip("nothing wants a gradient")
    alone = session.case is not case
    compared = (
        not alone and not session.random
    )  # a reference shares no draws, and is the wide layer itself where that is alone
    try:
        low = _recast(session, dtype, alone)
    except Refused as refusal:
        return _skip(_refused(short, refusal))
    try:
        with _kernels():
            _ = low.base
    except Refused as refusal:
        if compared and (finding := Outputs(low).overflow()):
            said = f"in {short} its outputs are not finite where the reference's are"
            if "stable" in case.promises:
                return _failed(finding, said)
            return _skip(f'{said}: numbers inside leave its range, which is a fault under the promise "stable" alone')
        return _skip(_refused(short, refusal))
    try:
        _ = low.expected
    except Refused as refusal:
        return _skip(f"rounded to {short} the example is refused in {dtype_name(low.case.dtype)}: {refusal}")
    if why := _incomparable(low):
        return _skip(why)
    seen = _judged(session, low)
    if seen.outcome is Outcome.FAIL and low.case.random and _draws_otherwise(low):
        return _skip(_otherwise(low))
    if seen.outcome is not Outcome.FAIL and compared and (finding := Outputs(low).astray()):
        return _failed(finding, f"in {short} its outputs are off by more than rounding explains")
    return seen


def _failed(finding: Finding, reason: str) -> Observation:
    return Observation(Outcome.FAIL, reason=f"{finding.where[0]}: {reason}", finding=finding)


def _skip(reason: str) -> Observation:
    return Observation(Outcome.SKIP, reason=reason)


@contextmanager
def _kernels() -> Iterator[None]:
    """A library without a kernel of the dtype for backward refuses, as one without it for the forward does."""
    try:
        yield
    except BackwardRaised as raised:
        if any(words in str(raised) for words in NO_KERNEL):
            raise Refused(str(raised)) from raised
        raise


def _recast(session: Session, dtype: torch.dtype, alone: bool) -> Lowered:
    """The layer in the lower precision.

    Raises:
        Refused: it does not take the dtype.
        BackwardRaised: the forward took it and backward raised.
    """
    recast = session.case.subject.recast
    if recast is None:
        raise Refused("how to make it in another dtype is not known")
    with _kernels(), forward_may_refuse():
        subject = recast(dtype)
    if set(subject.leaves) != set(session.case.leaves):
        raise Refused(f"there its tensors are {', '.join(subject.leaves)}")
    return Lowered(session.case, subject, dtype, alone)


def _incomparable(low: Lowered) -> str:
    """Why the two precisions do not compute the same thing, empty if they do."""
    short = dtype_name(low.dtype)
    if stray := [y.dtype for y in low.base.outputs if y.dtype != low.dtype]:
        return f"given {short} its outputs are {dtype_name(stray[0])}: it does not compute in {short}"
    if low.case.random and not same_outputs(low):
        return _otherwise(low)
    return ""


def _otherwise(low: Lowered) -> str:
    short, wide = dtype_name(low.dtype), dtype_name(low.case.dtype)
    return f"under one seed it draws otherwise in {short} than in {wide}: nothing to compare with"


def _draws_otherwise(low: Lowered) -> bool:
    """Whether the two precisions do not draw the same, where outputs at the case's values do not show it."""
    with suppress(Refused, BackwardRaised):
        return not same_outputs(Lowered(low.case.calmed(), low.subject, low.dtype, low.alone))
    return False


def _judged(session: Session, low: Lowered) -> Observation:
    wrong = [n for n in session.case.wanted if session.judge.verdicts[n].outcome is Outcome.FAIL]
    said = f"wrong in {dtype_name(session.case.dtype)} already: {', '.join(wrong)}"
    names = [n for n in session.case.wanted if n not in wrong]
    if not names:
        return _skip(said)
    scales = {n: Scales(low, n) for n in names}
    verdicts = {n: s.verdict() for n, s in scales.items()}
    beyond = [f"{n}: {v.reason}" for n, v in verdicts.items() if v.outcome is Outcome.SKIP]
    if len(beyond) == len(verdicts):
        return Observation(Outcome.SKIP, unverified=dict.fromkeys(verdicts, float("inf")), reason="; ".join(beyond))
    seen = observed({n: v for n, v in verdicts.items() if v.outcome is not Outcome.SKIP})
    if seen.failed is not None:
        name, verdict = seen.failed
        return Observation(Outcome.FAIL, reason=seen.reason, finding=scales[name].finding(verdict))
    reason = "; ".join(part for part in (seen.reason, said if wrong else "", *beyond) if part)
    return Observation(seen.outcome, seen.tensors, seen.unverified, reason)


CHECKS = tuple(
    Check(
        dtype_name(dtype),
        "precision",
        f"every gradient in {dtype_name(dtype)}, and the outputs beside a reference: as exact as rounding there allows",
        partial(precision, dtype),
        given=False,
    )
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
)
