"""What special inputs show: where a backward is right at random values and wrong at zeros, ties or the ends of a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from harness.aggregate import ENOUGH
from harness.case import Case
from harness.checks import Check
from harness.checks.repetition import moved_outputs, pulled, same_evaluation
from harness.domain import BackwardRaised, Refused
from harness.examples.special import Special, special_points
from harness.findings.evidence import placed
from harness.judgement.accord import ASKING, agreed, as_autograd, bends
from harness.judgement.broken import in_stairs, without_slope
from harness.judgement.comparison import agreement, not_finite, within_scatter
from harness.judgement.edges import Edges
from harness.judgement.judge import Judge
from harness.judgement.unaided import Unaided
from harness.judgement.verdict import Verdict
from harness.oracles.budget import Budget, Spent
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session
from harness.subject import Gradients
from harness.tensors.arrays import rms
from harness.tensors.layouts import LAYOUTS, dense, moved

Verdicts = dict[str, Verdict]

FORWARDS = 40
"""How many the special points of a case may take where autograd agrees with every gradient to its last digits."""

LEAST = 6
"""How many of them are kept for each later point: what most points take."""


def special_values(session: Session) -> Observation:
    """The gradients at the case's special points, judged as everywhere: FAIL outside a computed bound alone.

    A point that the forward refuses says nothing, unless its outputs are not finite where the reference's are; nor does an
    end of the domain, saturation, values scaled down or a jump, where differences are not known, nor where they are not at the values
    as drawn either. A tensor is verified if it was at four in five of the others.
    """
    case = session.case
    if not case.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    if wrong := [n for n, v in session.judge.verdicts.items() if v.outcome is Outcome.FAIL]:
        return Observation(Outcome.SKIP, reason=f"wrong at the values as drawn already: {', '.join(wrong)}")
    found: list[tuple[Special, Verdicts]] = []
    raised_at: list[str] = []
    points, budget = list(special_points(case)), Budget(FORWARDS)
    for later, point in zip(reversed(range(len(points))), points, strict=True):
        budget.kept = LEAST * later + ASKING
        try:
            verdicts = judged(point, budget)
        except Refused:
            if finding := not_finite(point.case):
                return Observation(Outcome.FAIL, reason=f"at {point.what}: {finding.analytic}", finding=finding)
            continue
        except BackwardRaised as raised:
            if not without_slope(point.case):
                return Observation(Outcome.FAIL, reason=f"at {point.what}: {raised.told()}")
            raised_at.append(f"at {point.what}, where outputs jump or have no slope: {raised.told()}")
            continue
        verdicts = {n: v for n, v in verdicts.items() if not _excused(session, point, n, v)}
        if failed := next((n for n, v in verdicts.items() if v.outcome is Outcome.FAIL), None):
            return _failure(session, point, failed, verdicts[failed])
        if verdicts := {
            n: v for n, v in verdicts.items() if not _unknown(v) or not _unknown(session.judge.verdicts[n])
        }:
            found.append((point, verdicts))
    if not found:
        why = "; ".join(raised_at) or "it has no special point that its forward takes"
        return Observation(Outcome.SKIP, reason=why)
    seen = _together(found)
    return replace(seen, reason="; ".join(filter(None, (seen.reason, *raised_at))))


def input_layout(session: Session) -> Observation:
    """The same inputs in other memory give the same outputs and gradients.

    A forward that raises, as `view` does, has said what it asks for; a wrong answer is what fails.
    `torch.rand_like` draws in the order of its argument's memory, and keeps that order where the memory has no gaps: there a
    layer that draws may answer with another draw.
    """
    case = session.case
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    inputs = [n for n, leaf in case.subject.leaves.items() if leaf.role == "input"]
    seen, redrawn, refused = Observation(Outcome.SKIP, reason="the inputs have one layout"), "", ""
    coarse: Observation | None = None
    for what, lay in LAYOUTS.items():
        leaves = _laid(case, inputs, lay)
        if not any(moved(leaves[n], case.leaves[n]) for n in inputs):
            continue
        may_redraw = session.random and all(dense(leaves[n]) for n in inputs)
        try:
            evaluation = case.forward(leaves)  # nothing may run between it and its backward
        except Refused as refusal:  # `x.view(...)` says itself what memory it asks for
            refused = f"refuses inputs in {what}: {refusal}"
            continue
        if may_redraw and moved_outputs(case, tuple(y.detach() for y in evaluation.outputs)):
            redrawn = f"another draw with inputs in {what}: not compared there"
            continue
        found = same_evaluation(session, f"inputs in {what}", evaluation)
        if found.outcome is not Outcome.FAIL:
            seen = found
        elif may_redraw and _redrawn(case, inputs, lay):
            redrawn = f"another draw with inputs in {what}: not compared there"
        elif (coarse := _coarse(session, leaves, found)) is None:
            return found
    if coarse is not None:
        return coarse
    return replace(seen, reason=refused or redrawn) if refused or redrawn else seen


def _redrawn(case: Case, inputs: Sequence[str], lay: Callable[[Tensor], Tensor]) -> bool:
    """Whether the draw is another in this memory, where outputs at the case's values do not show it."""
    calm = case.calmed()
    with suppress(Refused):
        outputs = calm.forward(_laid(calm, inputs, lay)).outputs
        return moved_outputs(calm, tuple(y.detach() for y in outputs)) is not None
    return False


def _laid(case: Case, inputs: Sequence[str], lay: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The leaves, the inputs in this memory."""
    return {n: lay(t) if n in inputs else t.clone() for n, t in case.leaves.items()}


def _coarse(session: Session, leaves: Mapping[str, Tensor], seen: Observation) -> Observation | None:
    """What is said where the gradients that fail with inputs in other memory are no further out than rounding inside backward makes
    them there: sums in another order leave something else of numbers that cancel (do·v − do·o of attention whose weights are 0 and
    1)."""
    case, claim = session.case, session.judge.claim
    if seen.finding is None or seen.finding.where[0] not in case.wanted:
        return None

    def found(times: float = 1.0) -> Gradients:
        return pulled(case, case.forward(leaves), times)

    def explained(name: str, at: Tensor | None, verdict: Verdict) -> bool:
        if at is None or verdict.expected is None:
            return False
        return within_scatter(at, verdict.expected, lambda c: found(c).get(name))

    g, expected = found(), case.base.gradients
    verdicts = {n: agreement(claim, n, g.get(n), expected.get(n)) for n in case.wanted}
    out = {n: v for n, v in verdicts.items() if v.outcome is Outcome.FAIL}
    if not out or not all(explained(n, g.get(n), v) for n, v in out.items()):
        return None
    why = f"{', '.join(out)}: of numbers that cancel inside backward only rounding is left"
    return Observation(Outcome.INCONCLUSIVE, reason=why)


def judged(point: Special, budget: Budget) -> Verdicts:
    """A verdict on every tensor at one point that it says something of; where the budget ends, on those that need no more.

    Raises:
        Refused: the forward refuses the point.
    """
    session = Session(budget.of(point.case))
    _ = session.case.base
    judge = session.judge
    budget.enough = lambda: agreed(judge)
    try:
        if point.bare and as_autograd(judge):
            return {}
        if (found := Unaided(judge, point.bare).verdicts()) is not None:
            return found
        verdicts = judge.verdicts
    except Spent:
        return {**judge.quick, **judge.constant}
    except Refused as refusal:
        why = f"the forward refused a nearby point: {refusal}"
        verdicts = {n: Verdict(Outcome.INCONCLUSIVE, reason=why) for n in point.case.wanted}
    known = {n: v for n, v in verdicts.items() if not _unknown(v)}
    try:
        return known if point.bare or point.faint else known | _smooth(session, verdicts)
    except Spent:  # whether it is a jump is not known, nor counted
        return known


def _excused(session: Session, point: Special, name: str, verdict: Verdict) -> bool:
    """Whether a claim is refuted and yet no fault."""
    if verdict.outcome is not Outcome.FAIL:
        return False
    if not _shows(session, point, name, verdict) or _is_choice(session, point, name, verdict):
        return True
    return point.bare and in_stairs(verdict.case or point.case, name)


def _shows(session: Session, point: Special, name: str, verdict: Verdict) -> bool:
    """Whether an error is more than the rounding of the gradient at the values as drawn, for cotangents of one size. Less is lost
    in every sum of the two: of x σ(x) with σ cut off at e⁻⁵⁰⁰ all is wrong below −500, in the 215th decimal."""
    there, drawn = (verdict.case or point.case).base, session.case.base
    claimed, usual = there.gradients.get(name), drawn.gradients.get(name)
    if claimed is None or usual is None or verdict.expected is None:
        return True
    off = (claimed.double() - verdict.expected.double()).abs().max()
    least, most = min(_sizes(there.cotangents)), max(_sizes(drawn.cotangents))
    return not bool(off / least <= torch.finfo(usual.dtype).eps * usual.double().abs().max() / most)


def _sizes(cotangents: Sequence[Tensor]) -> list[float]:
    return [float(v.abs().max()) for v in cotangents if v.numel()] or [1.0]


def _smooth(session: Session, verdicts: Verdicts) -> Verdicts:
    """The verdicts that are open although no output jumps at the very point: there, as in x/|x| at 0, nothing has a slope."""
    f = session.judge.differences
    return {n: v for n, v in verdicts.items() if _unknown(v) and not Edges(f).begins(f.direction(1, [n]))}


def _is_choice(session: Session, point: Special, name: str, verdict: Verdict) -> bool:
    """Whether a claim is refuted at a kink where autograd, confirmed at the values as drawn, makes the very same choice: of
    several experts that tie for an example of zeros the one taken may be the best in no direction around it."""
    trusted, there = session.judge.trusted, point.case.autograd
    if verdict.expected is None or verdict.case is not None or not trusted:
        return False
    judge = Judge(point.case)
    g, r = judge.claim.gradients[name], there if isinstance(there, str) else there.get(name)
    if isinstance(r, str) or r is None or not float((g - r).abs().max()) <= 64 * point.case.u * rms(r):
        return False
    off = (g.double() - verdict.expected).abs().nan_to_num(nan=0.0)
    return bends(judge, name, int(off.argmax()))


def _unknown(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.INCONCLUSIVE


def _together(found: list[tuple[Special, Verdicts]]) -> Observation:
    """Every tensor over the points at which it was judged."""
    by_tensor: dict[str, list[tuple[Special, Verdict]]] = {}
    for point, verdicts in found:
        for n, v in verdicts.items():
            by_tensor.setdefault(n, []).append((point, v))
    good: dict[str, float] = {}
    short: dict[str, float] = {}
    kinks: list[str] = []
    for n, seen in by_tensor.items():
        passed = [v for _, v in seen if v.outcome is Outcome.PASS]
        target = good if len(passed) >= ENOUGH * len(seen) else short
        target[n] = max(v.resolution for v in (passed if target is good else [v for _, v in seen]))
        kinks += [f"{n}, at {p.what}: {v.reason}" for p, v in seen if v.reason and v.outcome is Outcome.PASS]
    if not short:
        return Observation(Outcome.PASS, good, reason=kinks[0] if kinks else "")
    why = [f"{n}, at {p.what}: {v.reason}" for n in short for p, v in by_tensor[n] if v.outcome is Outcome.INCONCLUSIVE]
    return Observation(Outcome.INCONCLUSIVE, good, short, "; ".join(why))


def _failure(session: Session, point: Special, name: str, verdict: Verdict) -> Observation:
    """The finding at the special point; what is said beside it is that it is the point which matters."""
    # a sentence about the residual could not be tested: at fresh draws the point is no longer special
    finding = replace(placed(point.case, name, verdict), diagnosis=_alone(session, point, name))
    return Observation(
        Outcome.FAIL, reason=f"{name}, at {point.what}: {verdict.reason}", finding=_named(finding, point)
    )


def _alone(session: Session, point: Special, name: str) -> tuple[str, ...]:
    """Whether the tensor is right at the values as drawn."""
    drawn = session.judge.verdicts.get(name)
    if drawn is None or drawn.outcome is not Outcome.PASS:
        return ()
    return (f"right at the values as drawn, wrong at {point.what}",)


def _named(finding: Finding, point: Special) -> Finding:
    return finding if point.what in finding.example else replace(finding, example=f"{finding.example}, {point.what}")


CHECKS = (
    Check(
        "input_layout",
        "input",
        "the same inputs in other memory: transposed, with gaps and an offset, channels-last",
        input_layout,
        given=False,
        echoes=False,
    ),
    Check(
        "special_values",
        "input",
        "every gradient at ties, zeros, equal indices, thresholds, magnitudes and the ends of the domain",
        special_values,
        given=False,
        enough=5,
    ),
)
