"""The evidence of a failed gradient: where, by how much, why, and a script that shows it."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.arrays import rms
from harness.diagnosis import common, sentences
from harness.domain import BackwardRaised
from harness.judge import Judge
from harness.outcome import Outcome
from harness.report import Finding
from harness.reproduce import script
from harness.session import Session
from harness.verdict import Verdict

FRESH = 3
"""On how many fresh draws a diagnosis must hold."""

LARGE = 10_000
"""From how many entries on one fresh draw is enough: each is judged in full."""

COSTLY = 40
"""The same where autograd is no second opinion: each entry is differenced."""


def finding_of(session: Session, name: str, verdict: Verdict, others: list[Session], judge: str = "judge") -> Finding:
    """The finding for one tensor's failed verdict; `others` are failing sessions of other sizes."""
    case = verdict.case or session.case
    claimed = case.base.outputs[0] if name not in case.leaves else case.base.gradients.get(name)
    if claimed is None or verdict.expected is None or verdict.allowed is None:
        return Finding((name, None), verdict.reason, "", "exact", 1, 1, example=case.label)
    g, r, allowed = claimed.double(), verdict.expected.double(), verdict.allowed.double()
    excess = ((g - r).abs() - allowed).nan_to_num(nan=-1.0)
    index = tuple(int(i) for i in (excess == excess.max()).nonzero()[0]) if g.ndim else ()
    wrong = int((excess > 0).sum())
    return Finding(
        (name, index),
        float(g[index]),
        float(r[index]),
        float(allowed[index]),
        wrong,
        int((~r.isnan()).sum()),
        _diagnosis(session, name, g, verdict, others, judge) if name in case.leaves else (),
        script(case, name, index, float(g[index]), float(r[index])) if name in case.leaves else "",
        case.label,
    )


def _diagnosis(
    session: Session, name: str, claimed: Tensor, verdict: Verdict, others: list[Session], judge: str
) -> tuple[str, ...]:
    assert verdict.expected is not None
    if _ignores_cotangent(session, name):
        return (
            "backward gives the same whatever the cotangent is: it ignores it (a loss's backward takes no argument)",
        )
    first = sentences(verdict.case or session.case, name, claimed, verdict.expected)
    if not first:
        return ()
    fresh = FRESH if claimed.numel() <= (COSTLY if session.judge.trusted is None else LARGE) else 1
    draws = [*others[: 2 * fresh], *(f for k in range(1, fresh + 1) if (f := session.fresh(k)) is not None)]
    followed = _is_autograds(getattr(session, judge), name, verdict.expected)
    tested = [s for other in draws[: 2 * fresh] if (s := _again(other, name, judge, followed)) is not None]
    return common(first, *tested)


def _ignores_cotangent(session: Session, name: str) -> bool:
    """Whether another cotangent gives the very same gradient, and one that is not zero."""
    case = session.case
    g, other = case.base.gradients.get(name), case.evaluate(5).gradients.get(name)
    if not case.subject.takes_cotangent or g is None or other is None:
        return False
    return bool(g.any()) and torch.equal(g, other)


def _is_autograds(judge: Judge, name: str, expected: Tensor) -> bool:
    """Whether what is expected is autograd's gradient, which differences have confirmed."""
    trusted = judge.trusted
    return trusted is not None and torch.equal(trusted[name].double(), expected.double())


def _again(session: Session, name: str, judge: str, followed: bool) -> list[str] | None:
    """The sentences at another draw; None where the fault does not show. Where autograd was confirmed and is to be `followed`,
    it is taken at its word: words are tested here, no verdict."""
    other: Judge = getattr(session, judge)
    try:
        g = other.case.base.gradients.get(name)
        if followed and other.trusted is not None:
            r = other.trusted[name]
            if g is None or g.shape != r.shape or float((g - r).abs().max()) <= other.case.tau * rms(r):
                return None
            return sentences(other.case, name, g, r, again=True)
        verdict = other.of(name)
    except BackwardRaised:
        return None
    if verdict is None or verdict.outcome is not Outcome.FAIL or verdict.expected is None:
        return None
    if bool(verdict.expected.isnan().any()):  # a large tensor, of which only some entries were looked at
        return None
    case = verdict.case or session.case
    claimed = case.base.gradients[name]
    assert claimed is not None
    return sentences(case, name, claimed, verdict.expected, again=True)
