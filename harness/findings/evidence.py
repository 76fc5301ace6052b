"""The evidence of a failed gradient: where, by how much, why, and a script that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from harness.base import Base
from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.draws import directions_like
from harness.findings.diagnosis import PLACE, common, kinds, varying
from harness.findings.reproduce import script
from harness.judgement.judge import Judge
from harness.judgement.verdict import Verdict
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Session
from harness.tensors.arrays import rms

FRESH = 3
"""On how many fresh draws a diagnosis must hold."""

LARGE = 10_000
"""From how many entries on one fresh draw is enough: each is judged in full."""

COSTLY = 40
"""The same where autograd is no second opinion: each entry is differenced."""


RICHER = 3
"""How many larger examples are looked at where the smallest has too few entries to tell."""

TELLING = 3
"""From how many entries along each axis what is off looks like one thing and not like another."""


def finding_of(session: Session, name: str, verdict: Verdict, others: list[Session], judge: str = "judge") -> Finding:
    """The finding for one tensor's failed verdict, with what is wrong; `others` are failing sessions of other sizes."""
    finding = placed(session.case, name, verdict)
    case = verdict.case or session.case
    claimed = case.base.gradients.get(name) if name in case.leaves else None
    if claimed is None or verdict.expected is None or verdict.allowed is None:
        return finding
    return replace(finding, diagnosis=_diagnosis(session, name, claimed.double(), verdict, others, judge))


def placed(case: Case, name: str, verdict: Verdict) -> Finding:
    """Where one tensor's failed verdict is worst, by how much, and a script that shows it."""
    case = verdict.case or case
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
        reproduce=script(case, name, index, float(g[index]), float(r[index])) if name in case.leaves else "",
        example=case.label,
    )


def _diagnosis(
    session: Session, name: str, claimed: Tensor, verdict: Verdict, others: list[Session], judge: str
) -> tuple[str, ...]:
    assert verdict.expected is not None
    # the same point with another cotangent: what one draw shows may be chance
    draws = (session.case.base, session.case.evaluate(5))
    if verdict.expected.any() and _ignores_cotangent(session.case, name, *draws):
        return (
            "backward gives the same whatever the cotangent is: it ignores it (a loss's backward takes no argument)",
        )
    if said := _of_part(session.case, name, draws) or _of_outputs(
        [session.case, *(s.case for s in others[:FRESH])], name
    ):
        return said
    shown = (verdict.case or session.case, claimed, verdict.expected)
    followed = _is_autograds(getattr(session, judge), name, verdict.expected)
    if said := _tested(session, name, shown, others, judge, followed):
        return said
    rich = sorted((s for s in others if _tells(s, name)), key=lambda s: s.case.leaves[name].numel())
    for k, richer in enumerate(rich[:RICHER] if not _tells(session, name) else ()):
        found = _shown(richer, name, judge, followed)
        if found is not None and (said := _tested(richer, name, found, rich[k + 1 :], judge, followed)):
            return said
    return ()


Shown = tuple[Case, Tensor, Tensor]
"""A case, what is claimed there and what is expected."""


def _tested(
    session: Session, name: str, shown: Shown, others: list[Session], judge: str, followed: bool
) -> tuple[str, ...]:
    """The sentences for what a session shows that hold at other examples and at fresh draws."""
    case, claimed, expected = shown
    first = kinds(case, name, claimed, expected)
    if not (kind := next(first, [])):
        return ()
    fresh = FRESH if claimed.numel() <= (COSTLY if session.judge.trusted is None else LARGE) else 1
    draws = [*others[: 2 * fresh], *(f for k in range(1, fresh + 1) if (f := session.fresh(k)) is not None)]
    found = [s for other in draws[: 2 * fresh] if (s := _shown(other, name, judge, followed)) is not None]
    if not found:  # at one draw a place is as good as a value
        kind = [s for s in kind if not s.startswith(PLACE)] or next(
            (k for k in first if not k[0].startswith(PLACE)), []
        )
    others_say = [list(chain.from_iterable(kinds(c, name, g, r, again=True))) for c, g, r in found]
    same = varying(kind, others_say) if claimed.numel() >= TELLING else ()
    # one multiple for all is simpler than whatever else then fits, as a multiple for each row
    return (
        common(kind, *others_say) or same or next((said for some in first if (said := common(some, *others_say))), ())
    )


def _tells(session: Session, name: str) -> bool:
    """Whether a tensor is large enough for its entries to tell one sentence from another: two are a multiple of any two. Of one
    number, a temperature, whether the inputs are: what it is off by is a size of theirs."""
    case = session.case
    leaf, role = case.leaves[name], case.subject.leaves[name].role
    axes = [n for n in leaf.shape if n > 1 or role == "input"]  # γ may be of shape (1, D)
    if not axes and leaf.numel() == 1:
        axes = [n for other in case.subject.real_inputs() for n in case.leaves[other].shape]
    return bool(axes) and min(axes) >= TELLING and leaf.numel() <= LARGE


def _of_part(case: Case, name: str, draws: Sequence[Base]) -> tuple[str, ...]:
    """Where backward goes by a part of the cotangent: it gives the very same for that part, at two draws."""
    for part, said in PARTS.items():
        if all(_goes_by(case, name, part, base) for base in draws):
            return (said,)
    return ()


def _of_outputs(cases: Sequence[Case], name: str) -> tuple[str, ...]:
    """An output whose cotangent changes nothing at any of these: of a matrix of one entry a term may have none that another size
    has."""
    first, *others = (_left_out(case, name) for case in cases)
    return first if all(first == other for other in others) else ()


def _left_out(case: Case, name: str) -> tuple[str, ...]:
    """Of several outputs one that the tensor moves, and whose cotangent changes nothing."""
    given, g, outputs = case.base.cotangents, case.base.gradients.get(name), case.base.outputs
    if not case.subject.takes_cotangent or g is None or not g.any() or not len(given) == len(outputs) > 1:
        return ()
    try:
        moved = case.forward(
            {**case.leaves, name: case.leaves[name] + directions_like([case.leaves[name]], case.seed, 31)[0]}
        )
        for k, (y, z) in enumerate(zip(outputs, moved.outputs, strict=True)):
            without = tuple(torch.zeros_like(v) if j == k else v for j, v in enumerate(given))
            if not torch.equal(y, z) and _equal(g, case.evaluate(1, without).gradients.get(name)):
                return (
                    f"the cotangent of output{k} changes nothing, although {name} moves that output: it is left out",
                )
    except (Refused, BackwardRaised):
        pass
    return ()


def _equal(g: Tensor, other: Tensor | None) -> bool:
    return other is not None and torch.equal(g, other)


def _cut(v: Tensor) -> Tensor:
    return v.clamp(-1.0, 1.0)


def _twice(v: Tensor) -> Tensor:
    return 2 * v


PARTS = {
    torch.abs: "backward gives the same for the cotangent's absolute values: it does not see their signs",
    torch.relu: "backward gives the same with zeros for the cotangent's negative entries: they are left out",
    _cut: "backward gives the same with the cotangent cut off at ±1: it is clipped",
    _twice: "backward gives the same for twice the cotangent: it, or the gradient, is clipped or divided by its own size",
}
"""What of the cotangent a backward may go by, and what is said of it."""


def _goes_by(case: Case, name: str, part: Callable[[Tensor], Tensor], base: Base) -> bool:
    """Whether the gradient stays where the cotangent is replaced by a part of it, and moves where what that changes becomes
    something else: the outputs there may have nothing to do with this tensor."""
    g, given = base.gradients.get(name), base.cotangents
    mixed = all(v.is_floating_point() and bool((v < 0).any() & (v > 0).any()) for v in given)
    if not case.subject.takes_cotangent or g is None or not bool(g.any()) or not mixed:
        return False
    parts = tuple(map(part, given))
    others = tuple(torch.where(v == w, v, v / -4) for v, w in zip(given, parts, strict=True))
    return _equal(g, case.evaluate(1, parts).gradients.get(name)) and not _equal(
        g, case.evaluate(1, others).gradients.get(name)
    )


def _ignores_cotangent(case: Case, name: str, first: Base, second: Base) -> bool:
    """Whether another cotangent gives the very same gradient, and one that is not zero."""
    g = first.gradients.get(name)
    if not case.subject.takes_cotangent or g is None or not g.any() or not _equal(g, second.gradients.get(name)):
        return False
    # what earlier calls have left may be so large that what is added to it does not show
    large = float(g.abs().max()) / torch.finfo(g.dtype).eps ** 2
    return _equal(g, case.evaluate(1, tuple(-large * v for v in first.cotangents)).gradients.get(name))


def _is_autograds(judge: Judge, name: str, expected: Tensor) -> bool:
    """Whether what is expected is autograd's gradient, which differences have confirmed."""
    trusted = judge.trusted
    return trusted is not None and torch.equal(trusted[name].double(), expected.double())


def _shown(session: Session, name: str, judge: str, followed: bool) -> Shown | None:
    """What another draw shows; None where the fault does not. Where autograd was confirmed and is to be `followed`, it is taken
    at its word: words are tested here, no verdict."""
    other: Judge = getattr(session, judge)
    try:
        g = other.case.base.gradients.get(name)
        if followed and other.trusted is not None:
            r = other.trusted[name]
            if g is None or g.shape != r.shape or float((g - r).abs().max()) <= other.case.tau * rms(r):
                return None
            return other.case, g, r
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
    return case, claimed, verdict.expected
