"""Backward belongs to its forward, whatever came before, beside or in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import WAYS, exact, way_of
from harness.checks.repetition import pulled, same_evaluation
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.outcome import Outcome
from harness.session import Observation, Session
from harness.state.outside import one_world
from harness.state.watched import decoy
from harness.subject import Evaluation, Gradients

REFILLED = "on the very tensors of an earlier batch, filled anew"
AFTER = "after a forward and backward"


def reuse(session: Session) -> Observation:
    """Another forward before (of another size, in another mode) and another layer of the class in between change nothing."""
    case = session.case
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    seen = Observation(Outcome.PASS, dict.fromkeys(case.wanted, 0.0))
    if case.subject.partially is not None and (replaced := _replaced(session)).outcome is Outcome.FAIL:
        return replaced
    stuck = _stuck(session)  # before the other layer sees anything like the case's inputs
    for what, evaluation in histories(session):
        seen = same_evaluation(session, what, evaluation)
        if seen.outcome is Outcome.FAIL:
            return _plainly(session, seen) if what == REFILLED else seen
    if stuck is not None:
        return stuck
    if _reentrant(session):
        return seen
    why = "a second forward replaces what the first kept for its backward"
    if "reentrant" in case.promises:
        finding = exact("backward", "another gradient after a second forward", "the first forward's gradient")
        return Observation(Outcome.FAIL, reason=f"promised to be reentrant, and {why}", finding=finding)
    return replace(seen, reason=why)


def histories(session: Session) -> Iterator[tuple[str, Evaluation]]:
    """What came before or between, and an evaluation then."""
    case, twin = session.case, session.twin
    yield REFILLED, _refilled(case)
    for what, other in _others(case, modes=twin is None):
        yield f"{AFTER} {what}", _after(case, other)
    if twin is not None and twin.copied:
        evaluation = case.fresh()
        beside: Gradients = {}
        with suppress(Refused, BackwardRaised), one_world():
            # the later goes back first, as in a network: what all of a class keep may be a stack
            beside = pulled(case, case.at(subject=twin).forward(decoyed(case)))
        yield "with another layer of the class in between", _without(session, evaluation, beside)


def _after(case: Case, other: Case) -> Evaluation:
    with suppress(Refused, BackwardRaised):  # not every layer takes the decoy
        other.evaluate(1)
    return case.fresh()


def _plainly(session: Session, seen: Observation) -> Observation:
    """What fails on tensors that were filled anew, without that where it fails without it too."""
    case = session.case
    plain = same_evaluation(session, f"{AFTER} with other values", _after(case, case.at(leaves=decoyed(case))))
    return plain if plain.outcome is Outcome.FAIL else seen


def _refilled(case: Case) -> Evaluation:
    """An evaluation on tensors, cotangents among them, that held other numbers in an earlier one: as where every batch is written
    into one buffer. What is kept under the identity of an array is old there."""
    leaves, given = decoyed(case), tuple(-0.75 * v for v in case.base.cotangents)
    with suppress(Refused, BackwardRaised), backward_may_raise():
        case.forward(leaves).pullback(given)
    with torch.no_grad():
        for n, t in leaves.items():
            t.copy_(case.leaves[n])
    evaluation = case.forward(leaves)

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        for v, other in zip(given, cotangents, strict=True):
            v.copy_(other)
        return evaluation.pullback(given)

    return replace(evaluation, pullback=pullback)


def _replaced(session: Session) -> Observation:
    """Whether another forward replaces what the first left for its backward, in what autograd runs: there a graph keeps that for
    each, and one layer at two places of a network goes forward twice. One that raises has said so."""
    case = session.case
    evaluation = case.fresh()
    with suppress(Refused):
        case.forward(decoyed(case))
    with suppress(BackwardRaised):
        return same_evaluation(session, "after a second forward", evaluation)
    return Observation(Outcome.PASS)


def _stuck(session: Session) -> Observation | None:
    """Whether it goes by its first batch for good, or by the first of each shape: it answers like a layer whose first was alike,
    and otherwise than one whose first had twice as many rows and whose next other values."""
    case, twin = session.case, session.twin
    if twin is None or not twin.copied or twin is session.__dict__.get("sibling"):
        return None
    with suppress(Refused, BackwardRaised):
        case.at(subject=twin, leaves=decoyed(case, 2)).fresh()
        seen = same_evaluation(session, "in a layer whose first batches were others", case.at(subject=twin).fresh())
        if seen.outcome is Outcome.FAIL and session.sibling is not None:
            alike = same_evaluation(session, "in a layer made anew", case.at(subject=session.sibling).fresh())
            return seen if alike.outcome is Outcome.PASS else None
    return None


def _without(session: Session, evaluation: Evaluation, other: Gradients) -> Evaluation:
    """The same but for what another layer's backward has added to kept gradients that both keep in one place, outside them."""
    case = session.case

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        found, base = dict(evaluation.pullback(cotangents)), case.base.gradients
        claim = session.judge.claim
        both = [
            n
            for n in case.subject.kept
            if way_of(claim, n, other.get(n), base.get(n), found.get(n)) == WAYS["accumulates"]
        ]
        return found | {n: base[n] for n in both}

    return replace(evaluation, pullback=pullback)


def _others(case: Case, modes: bool) -> Iterator[tuple[str, Case]]:
    """The layer at other numbers of rows, and, where no second layer can be made for `mode_switch`, in other modes."""
    for what, change in (("of half as many rows", _halved), ("of twice as many rows", _doubled)):
        leaves = _rows(case, change)
        if leaves is not None:
            yield what, case.at(leaves=leaves)
    for mode in case.subject.modes if modes else ():
        if mode != case.mode:
            yield f"in mode {mode}", case.at(mode=mode)


def decoyed(case: Case, times: int = 1) -> dict[str, Tensor]:
    """Other inputs of the same kind, and others than these by one time more."""
    if times > 1:
        return decoyed(case.at(leaves=decoyed(case, times - 1)))
    inputs = case.subject.wanted("input")
    return {n: decoy(t) if n in inputs else t.clone() for n, t in case.leaves.items()}


def _halved(t: Tensor) -> Tensor:
    return t[: (len(t) + 1) // 2].clone()


def _doubled(t: Tensor) -> Tensor:
    return torch.cat([t, t])


def _rows(case: Case, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor] | None:
    """The inputs with other numbers of rows, where all have as many."""
    inputs = [n for n, leaf in case.subject.leaves.items() if leaf.role == "input"]
    if len({case.leaves[n].shape[:1] for n in inputs}) != 1 or not case.leaves[inputs[0]].ndim:
        return None
    return {n: change(t) if n in inputs else t.clone() for n, t in case.leaves.items()}


def _reentrant(session: Session) -> bool:
    """Whether a pullback still belongs to its own forward after another one, which goes back first: as in a chain, whose layers
    may keep what they need on a stack. Kept gradients may add up."""
    case = session.case
    evaluation = case.fresh()
    try:
        other = pulled(case, case.forward(decoyed(case)))
        found = pulled(case, evaluation)
    except (Refused, BackwardRaised):
        return False
    base, kept = case.base.gradients, case.subject.kept
    pairs = [(found.get(n), base.get(n)) for n in case.wanted if n not in kept]
    if not all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs):
        return False
    exactly = "reentrant" in case.promises
    gradients = [(n, other.get(n), base.get(n), found.get(n)) for n in kept if n in case.wanted]
    return all(way_of(session.judge.claim, *each, measured=exactly) for each in gradients)


CHECKS = (
    Check(
        "reuse",
        "contract",
        "backward belongs to its forward, whatever came before it or another layer did in between",
        reuse,
        given=False,
        echoes=False,
    ),
)
