"""Backward where only some gradients are asked for, and where cotangents come for some outputs alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import exact
from harness.checks.repetition import moved_outputs
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.judgement.comparison import agreement, entry_farthest_off
from harness.judgement.judge import Judge
from harness.outcome import Outcome
from harness.session import Observation, Session
from harness.subject import Evaluation, Gradients

FEW = 3
"""Up to how many tensors every subset is tried; of more, each alone and each left out."""

TURNS = 3
"""How many of many tensors are tried alone, and how many left out, in one example: over the examples all have their turn."""


NONE = "its gradient is None: backward returned none"
MISSING = "its gradient is missing: autograd does not reach it (detach, no_grad, .data, or it is not used)"
ZERO = "its gradient is zero"


@dataclass(frozen=True)
class Part:
    """Some gradients, of all outputs or of one."""

    what: str
    wanted: tuple[str, ...]
    output: int | None = None
    """The one that has a cotangent, the others' being None; None: all have."""


def partial(session: Session) -> Observation:
    """Every part of the gradients is what it is in the whole, and asking for it alone does not crash."""
    case = session.case
    if case.subject.partially is None:
        return Observation(Outcome.SKIP, reason="its backward always computes every gradient: none is asked for alone")
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    for part in (*subsets(case), *single_outputs(case)):
        if failed := _different(session, part):
            return failed
    kinds = _without_numbers(case)
    for n, kind in kinds.items():
        if kind is not ZERO and session.judge.verdicts[n].outcome is Outcome.FAIL:
            why = f"{n}: {kind}, and its gradient is not zero"
            return Observation(Outcome.FAIL, reason=why, finding=exact(n, kind, "its gradient"))
    said = "; ".join(f"{n}: {kind}" for n, kind in kinds.items())
    return Observation(Outcome.PASS, dict.fromkeys(case.wanted, 0.0), reason=said)


def subsets(case: Case) -> Iterator[Part]:
    """No tensor; of a few all proper subsets, of many some alone and some left out."""
    names = case.wanted
    yield Part("where nothing requires a gradient", ())
    if len(names) <= FEW:
        chosen = [s for size in range(1, len(names)) for s in combinations(names, size)]
        yield from (Part(f"where {' and '.join(s)} alone require{'s' * (len(s) == 1)} a gradient", s) for s in chosen)
        return
    turn = [names[(case.seed * TURNS + k) % len(names)] for k in range(TURNS)]
    yield from (Part(f"where {n} alone requires a gradient", (n,)) for n in turn)
    yield from (Part(f"where {n} requires no gradient", tuple(m for m in names if m != n)) for n in turn)


def single_outputs(case: Case) -> Iterator[Part]:
    """Each of several outputs alone."""
    count = len(case.base.outputs)
    for k in range(count) if count > 1 else ():
        yield Part(f"where output{k} alone has a cotangent and the others None", tuple(case.wanted), k)


def _different(session: Session, part: Part) -> Observation | None:
    """A failure where a part is not what the whole says."""
    case = session.case
    try:
        evaluation, found = _evaluated(case, part)
    except (Refused, BackwardRaised) as raised:
        where = "forward" if isinstance(raised, Refused) else "backward"
        finding = exact(where, f"raised {raised}", "what it gives where all gradients are asked for")
        return Observation(Outcome.FAIL, reason=f"{part.what} {where} raises {raised}", finding=finding)
    if moved := moved_outputs(case, evaluation.outputs):
        return Observation(Outcome.FAIL, reason=f"{part.what} {moved.analytic}", finding=moved)
    if part.output is None:
        return _unlike(session, part, found, case.base.gradients)
    return _of_output(session, part, part.output, found)


def _evaluated(case: Case, part: Part) -> tuple[Evaluation, Gradients]:
    assert case.subject.partially is not None
    run = case.subject.partially(part.wanted, None if part.output is None else (part.output,))
    evaluation = case.at(subject=replace(case.subject, run=run)).fresh()
    if not part.wanted:
        return evaluation, {}
    with backward_may_raise():
        return evaluation, evaluation.pullback(tuple(v.clone() for v in case.base.cotangents))


def _unlike(session: Session, part: Part, found: Gradients, whole: Gradients) -> Observation | None:
    """A gradient that is another than in the whole; None or nothing stands for zero."""
    for n in part.wanted:
        g, expected = found.get(n), whole.get(n)
        if expected is None or (g is None and not bool(expected.any())):
            continue
        verdict = agreement(session.judge.claim, n, g, expected)
        if verdict.outcome is Outcome.FAIL:
            why = verdict.reason if g is not None else NONE if n in found else MISSING
            finding = entry_farthest_off(n, g, expected)
            return Observation(Outcome.FAIL, reason=f"{n}, {part.what}: {why}", finding=finding)
    return None


def _of_output(session: Session, part: Part, output: int, found: Gradients) -> Observation | None:
    """A cotangent None is the cotangent zero; an output that gives nothing must depend on nothing."""
    case = session.case
    cotangents = tuple(v if k == output else torch.zeros_like(v) for k, v in enumerate(case.base.cotangents))
    alone = case.evaluate(1, cotangents)
    if failed := _unlike(session, part, found, alone.gradients):
        return failed
    if any(g is not None and bool(g.any()) for g in found.values()):
        return None
    why = "is detached: autograd does not reach it" if not found else "is ignored: its cotangent changes nothing"
    verdicts = Judge(case.with_base(alone)).verdicts
    if not (moving := [n for n, v in verdicts.items() if v.outcome is Outcome.FAIL]):
        return None
    said = f"output{output} {why}, and it depends on {', '.join(moving)}"
    return Observation(Outcome.FAIL, reason=said, finding=exact(f"output{output}", why, "its share of the gradients"))


def _without_numbers(case: Case) -> dict[str, str]:
    """How the gradients that are zero came about."""
    zero = [n for n in case.wanted if (g := case.base.gradients.get(n)) is None or not bool(g.any())]
    if not zero:
        return {}
    _, found = _evaluated(case, Part("", tuple(case.wanted)))
    return {n: MISSING if n not in found else NONE if found[n] is None else ZERO for n in zero}


CHECKS = (
    Check(
        "partial",
        "contract",
        "a part of the gradients, or of the cotangents, gives what it gives in the whole, and does not crash",
        partial,
        given=False,
        echoes=False,
    ),
)
