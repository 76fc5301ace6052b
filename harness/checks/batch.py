"""Examples that stand beside each other: none of them, one alone, and one among others in evaluation."""

from __future__ import annotations

import re
from dataclasses import replace
from dis import get_instructions

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import exact
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session, observed
from harness.tensors.arrays import rms

UNKNOWN = (
    "no dimension is known to be the batch: it is the first of a LayerSpec's first input, unless the layer is built with it or "
    "indices go up to it"
)

NO_BATCH = "without rows it raises, and nothing shows that they are examples: what comes out is as large for one of them as for many"


def empty_batch(session: Session) -> Observation:
    """No examples at all: outputs and gradients have their shapes, and parameters that nothing depended on have the gradient
    zero; one that an output depends on all the same (the log-determinant beside the rows, a penalty) is judged. A mean over
    nothing may be NaN, or a division by zero where Python's own numbers divide, and a layer may say with an error of its own
    that it takes no empty batch."""
    case = session.case
    none = case.of_batch(0)
    if none is None:
        return Observation(Outcome.SKIP, reason=UNKNOWN)
    try:
        evaluation = none.fresh()
    except Refused as refusal:
        return _refused(case, refusal)
    outputs = evaluation.outputs
    cotangents = tuple(torch.ones_like(y) for y in outputs)
    try:
        with backward_may_raise():
            gradients = evaluation.pullback(cotangents)
    except BackwardRaised as raised:
        if said := _of_no_number(raised) or _of_no_batch(case, raised):
            return Observation(Outcome.SKIP, reason=said)
        raise
    nothing = all(bool(torch.isfinite(y).all()) for y in outputs)
    for n in case.wanted:
        if finding := _of_nothing(none, n, gradients.get(n), nothing):
            return Observation(Outcome.FAIL, reason=str(finding).split("\n")[0], finding=finding)
    return Observation(Outcome.PASS, dict.fromkeys(case.wanted, 0.0))


def _of_nothing(none: Case, name: str, g: Tensor | None, finite: bool) -> Finding | None:
    """What is wrong with a gradient where there are no examples."""
    x = none.leaves[name]
    if g is None or g.shape != x.shape:
        found = "no gradient" if g is None else f"shape {tuple(g.shape)}"
        return exact(name, f"{found} for an empty batch", f"shape {tuple(x.shape)}")
    return _without_examples(none, name) if finite and bool((g != 0).any()) else None


def _without_examples(none: Case, name: str) -> Finding | None:
    """What is wrong with a gradient that is not zero: all of it, unless what comes out without examples depends on the tensor."""
    session = Session(none)
    far = [session.judge.differences.far([name], side) for side in (1.0, -1.0)]
    if not any(change is not None and bool(change.any()) for change in far):
        return exact(name, "a gradient that is not zero for an empty batch", "zero: there are no examples")
    verdict = session.judge.of(name)
    if verdict is None or verdict.outcome is not Outcome.FAIL:
        return None
    return exact(
        name, f"a wrong gradient for an empty batch, {verdict.reason}", "that of what comes out without examples"
    )


LIBRARIES = ("numpy", "scipy", "torch")
"""What raises in these of its own accord is no word of the layer's."""


AMBIGUOUS = re.compile(
    r"cannot reshape (tensor of 0 elements.*ambiguous|array of size 0 into shape .*newaxis)|Can not infer total number of classes"
)
"""What a library says of a size -1 beside a size 0: a lack of words, which changes no number of any other batch."""


def _of_no_number(raised: Refused | BackwardRaised) -> str:
    """Why an error of an empty batch is none at any other: no size can be told for a -1, or a mean is over nothing, for which
    Python's own numbers have no NaN."""
    if AMBIGUOUS.search(str(raised)):
        return "a size that is left to the library can't be told for an empty batch: write it out if the layer should take one"
    if isinstance(raised.__cause__, ZeroDivisionError):
        return "it divides by the number of examples, a mean over nothing: of Python's numbers 1/N raises where arrays give NaN"
    return ""


EXTREMUM = re.compile(
    r"reduction operation \w+ which has no identity|attempt to get arg(max|min) of an empty sequence"
    r"|(max|min)\(\).*(non-zero size|numel\(\) == 0|empty)"
)
"""What NumPy, torch and Python say of the largest or smallest of nothing."""

NO_EXTREMUM = "the largest or smallest of nothing is no number, as a mean over nothing is none"


def _of_no_batch(case: Case, raised: Refused | BackwardRaised) -> str:
    """Why a crash without rows says nothing. One number (a loss, the distance of two sets) that a largest or smallest goes into
    has no value without rows. And outputs that are as large for one row as for many show none that were examples (an image
    that points are looked up in, a set whose largest entries are taken); a single row is left to the examples with more."""
    shapes = [y.shape for y in case.base.outputs]
    if not any(len(s) for s in shapes):
        return NO_EXTREMUM if EXTREMUM.search(str(raised)) else ""
    one = case.of_batch(1)
    try:
        same = one is not None and shapes == [y.shape for y in one.base.outputs]
    except Refused:
        return ""
    return NO_BATCH if same else ""


def _refused(case: Case, refusal: Refused) -> Observation:
    """A refusal by the layer's own `raise` or `assert` is an answer; a crash on the way is not, unless it is one of words or
    there is no batch."""
    if said := _of_no_number(refusal):
        return Observation(Outcome.SKIP, reason=said)
    if _raised_on_purpose(refusal.__cause__):
        return Observation(Outcome.SKIP, reason=f"it refuses an empty batch: {refusal}")
    if said := _of_no_batch(case, refusal):
        return Observation(Outcome.SKIP, reason=said)
    finding = exact("output", f"the forward raised {refusal}", "empty outputs, or an error that says what is asked for")
    return Observation(Outcome.FAIL, reason=f"the forward crashes on an empty batch: {refusal}", finding=finding)


def _raised_on_purpose(error: BaseException | None) -> bool:
    """Whether the instruction that raised is a `raise`; by the compiled code, since not every layer has a source to read."""
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] in LIBRARIES:
        return False
    return any(
        i.offset == trace.tb_lasti and i.opname == "RAISE_VARARGS" for i in get_instructions(trace.tb_frame.f_code)
    )


def single_example(session: Session) -> Observation:
    """A batch of one has right gradients; in evaluation an example alone gives what it gives among others."""
    case = session.case
    one = case.of_batch(1)
    if one is None:
        return Observation(Outcome.SKIP, reason=UNKNOWN)
    if case.batch_size == 1:
        return _judged(session) if case.wanted else Observation(Outcome.SKIP, reason="nothing wants a gradient")
    try:
        _ = one.base
    except Refused as refusal:
        return Observation(Outcome.SKIP, reason=f"it refuses a batch of one: {refusal}")
    except BackwardRaised as raised:
        return Observation(Outcome.FAIL, reason=f"a batch of one: {raised.told()}")
    if case.mode == "eval" and (finding := _among_others(case, one)):
        return Observation(
            Outcome.FAIL, reason="in eval an example depends on the others of its batch", finding=finding
        )
    if not one.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    return _judged(Session(one))


def _judged(session: Session) -> Observation:
    """The gradients at a batch of one."""
    return replace(observed(session.judge.verdicts), at=session)


def _among_others(case: Case, one: Case) -> Finding | None:
    """The first example's output alone against that in the batch."""
    if case.random:
        return None  # `mask` reports a layer that draws in eval
    for k, (y, alone) in enumerate(zip(case.base.outputs, one.base.outputs, strict=True)):
        if not y.ndim or y.shape[1:] != alone.shape[1:] or len(y) != case.batch_size or len(alone) != 1:
            continue
        if float((y[:1] - alone).abs().amax()) > case.tau * rms(alone) if alone.numel() else False:
            return exact(f"output{k}", "another output for the first example alone", "the same as among others")
    return None


CHECKS = (
    Check(
        "empty_batch",
        "input",
        "no examples: shapes hold, parameters' gradients are zero, nothing crashes",
        empty_batch,
        given=False,
        echoes=False,
    ),
    Check(
        "single_example",
        "input",
        "a batch of one; in evaluation an example gives alone what it gives among others",
        single_example,
        given=False,
        echoes=False,
        enough=5,
    ),
)
