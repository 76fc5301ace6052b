"""Whether the gradients are right: against differences, autograd through the layer's own forward, and a reference."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.domain import Refused
from harness.judgement.comparison import compared
from harness.judgement.verdict import Verdict
from harness.outcome import Outcome, SpecError
from harness.session import Observation, Session, observed
from harness.tensors.arrays import rms


def input_gradient(session: Session) -> Observation:
    """Central differences on every input that wants a gradient."""
    inputs = session.case.subject.wanted("input")
    names = [n for n in inputs if n in session.case.wanted]
    if not names:
        why = f"{', '.join(inputs)} has no entries" if inputs else f"no input wants a gradient{_whole(session)}"
        return Observation(Outcome.SKIP, reason=why)
    verdicts = {n: session.judge.verdicts[n] for n in names}
    left_out = sorted(session.case.unreturned)
    if not session.case.is_loss:
        why = "backward returns no gradient of it: return one, or mark it const(...) if it has none"
        verdicts |= {n: Verdict(Outcome.INCONCLUSIVE, reason=why) for n in left_out}
    seen = observed(verdicts)
    if left_out and seen.outcome is Outcome.PASS:
        said = f"backward returns no gradient of {', '.join(left_out)}; not judged"
        return Observation(seen.outcome, seen.tensors, reason=said)
    return seen


def _whole(session: Session) -> str:
    """Which inputs are of integers, which may be a slip."""
    leaves = {n: leaf.value for n, leaf in session.case.subject.leaves.items() if leaf.role == "input"}
    dtypes = [f"{n} is {t.dtype}" for n, t in leaves.items() if not t.is_floating_point()]
    return f": {', '.join(dtypes)}" if dtypes else ""


def parameter_gradient(session: Session) -> Observation:
    """Central differences on every parameter; a tensor that matters and has no gradient is not verified."""
    subject = session.case.subject
    names = [n for n in subject.wanted("parameter") if n in session.case.wanted]
    if not names and not subject.unclaimed:
        return Observation(Outcome.SKIP, reason="the layer has no parameters")
    verdicts = {n: session.judge.verdicts[n] for n in names}
    verdicts |= {n: Verdict(Outcome.INCONCLUSIVE, reason=why) for n, why in subject.unclaimed.items()}
    return observed(verdicts)


LOST = "autograd through the forward gives infinite or NaN entries where backward gives numbers"


def autograd(session: Session) -> Observation:
    """Autograd through the layer's own forward, which only vouches for a forward that differences confirm."""
    case, judge = session.case, session.judge
    if case.declared is not None:
        return Observation(Outcome.SKIP, reason="backward declares another derivative than forward's (derivative_of)")
    if case.echo and all(v.outcome is Outcome.PASS for v in judge.verdicts.values()):
        return Observation(Outcome.SKIP, reason="asked at the input as given")
    if judge.trusted is None:
        return Observation(Outcome.SKIP, reason=case.autograd if isinstance(case.autograd, str) else LOST)
    if not case.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    verdicts = {n: _beside_autograd(session, n) for n in case.wanted}
    aside = [n for n, v in verdicts.items() if v.outcome is Outcome.SKIP]
    if aside:
        return Observation(Outcome.SKIP, reason=f"set aside on {', '.join(aside)}: {verdicts[aside[0]].reason}")
    return observed(verdicts)


def _beside_autograd(session: Session, name: str) -> Verdict:
    judge = session.judge
    verdict = judge.verdicts[name]
    if verdict.outcome is Outcome.FAIL and verdict.expected is None:
        return verdict  # missing or malformed: nothing to compare
    if name in judge.tight:
        if verdict.outcome is Outcome.FAIL:
            return Verdict(Outcome.SKIP, reason=_ASIDE)
        return Verdict(verdict.outcome, 64 * session.case.u, verdict.reason)
    assert judge.trusted is not None
    if name in judge.constant and rms(judge.trusted[name]) <= judge.differences.floor(name):
        return verdict
    apart = judge.apart(name)
    if apart <= session.case.tau:
        return Verdict(Outcome.PASS, apart)
    if verdict.outcome is Outcome.PASS:
        verdict = judge.escalated(name)  # one difference alone may have been small by chance
    if verdict.outcome is Outcome.PASS or not judge.vouched(name):
        return Verdict(Outcome.SKIP, reason=_ASIDE)
    return verdict


_ASIDE = (
    "differences contradict autograd here, so part of the forward is outside its graph (detach, no_grad, .data, or a "
    "custom Function), or the function has a kink"
)


def reference(session: Session) -> Observation:
    """The same function by other means: outputs and gradients."""
    case = session.case
    if case.reference is None:
        return Observation(Outcome.SKIP, reason="no reference is given")
    if not case.shares_draws:
        why = "the layer draws random numbers that the reference does not share: one that asks for `generator` draws the same"
        return Observation(Outcome.SKIP, reason=why)
    try:
        expected = case.reference.outputs(case.subject, case.leaves, case.buffers, case.mode, case.seed)
    except SpecError:
        raise
    except Exception as error:
        why = f"the reference refuses the example: {type(error).__name__}: {error}"
        # at one example it may be right to; at all of them it is more likely a slip, unless it says so
        return Observation(Outcome.SKIP, reason=why, unanswered=not isinstance(error, NotImplementedError))
    if [y.shape for y in expected] != [y.shape for y in case.base.outputs]:
        shapes = [tuple(y.shape) for y in case.base.outputs], [tuple(y.shape) for y in expected]
        return Observation(Outcome.FAIL, reason=f"outputs of shape {shapes[0]}, the reference's are {shapes[1]}")
    verdicts = {_label(k, len(expected)): _output(case, k, y) for k, y in enumerate(expected)}
    if case.wanted:
        verdicts |= session.reference_judge.verdicts
    return observed(verdicts)


def _label(k: int, count: int) -> str:
    return "output" if count == 1 else f"output{k}"


def _output(case: Case, k: int, expected: Tensor) -> Verdict:
    """Outputs agree within rounding, or within the reference's response to a change of the inputs' last digits."""
    other = case.reference
    assert other is not None

    def again(leaves: Mapping[str, Tensor]) -> Tensor:
        return other.outputs(case.subject, leaves, case.buffers, case.mode, case.seed)[k]

    try:
        return compared(case, case.base.outputs[k], expected, again)
    except Refused as refused:
        return Verdict(Outcome.INCONCLUSIVE, reason=str(refused))


CHECKS = (
    Check("input_gradient", "gradient", "the gradient of every input, against central differences", input_gradient),
    Check(
        "parameter_gradient",
        "gradient",
        "the gradient of every parameter, against central differences",
        parameter_gradient,
    ),
    Check("autograd", "gradient", "every gradient, against autograd through the layer's own forward", autograd),
    Check("reference", "gradient", "outputs and gradients, against the same function by other means", reference),
)
