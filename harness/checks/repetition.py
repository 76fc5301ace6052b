"""Backward belongs to its forward: whatever was computed before, beside or in between, the answer is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import WAYS, exact, way_of
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.judgement.comparison import agreement, entry_farthest_off
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session
from harness.state.outside import one_world
from harness.state.watched import decoy
from harness.subject import Evaluation, Gradients
from harness.tensors.arrays import rms
from harness.tensors.poison import poisoned


def repeatable(session: Session) -> Observation:
    """A fresh forward and backward gives the same again; so does a second call of one pullback, if it may be called twice;
    and nothing is read that was never written."""
    case = session.case
    if not case.replays:
        why = f"nondeterministic: two forwards under one seed differ by {_apart(case):.0e}"
        return Observation(Outcome.INCONCLUSIVE, reason=why)
    if not case.wanted:
        return Observation(Outcome.SKIP, reason="nothing wants a gradient")
    if failed := _unwritten(session):
        return failed
    evaluation = case.fresh()
    first = _pulled(case, evaluation)
    seen = _same(session, "a second forward and backward", first, repeated=True)
    if seen.outcome is Outcome.FAIL:
        return seen
    try:
        second = evaluation.pullback(tuple(v.clone() for v in case.base.cotangents))
    except (Exception, SystemExit):
        return replace(seen, reason="backward is for single use: a second call raises")
    return _second(session, first, second)


def _apart(case: Case) -> float:
    other = case.outputs_at(case.leaves)
    return max(
        (float((a - b).abs().max()) for a, b in zip(case.base.outputs, other, strict=True) if a.numel()), default=0.0
    )


def _second(session: Session, first: Gradients, second: Gradients) -> Observation:
    """The second answer of one pullback is the first; but gradients kept on the layer, which may add up (`accumulation`)."""
    kept = session.case.subject.kept
    given = {n: g for n, g in second.items() if n not in kept} | {n: g for n, g in first.items() if n in kept}
    return _same(session, "a second call of one backward", given, first, repeated=True)


def _unwritten(session: Session) -> Observation | None:
    """NaN where allocated memory is read before anything was written to it."""
    case = session.case
    try:
        with poisoned():
            base = case.evaluate(1)
    except Refused:
        return _read("output", "the outputs are not finite")
    for n in case.wanted:
        g, known = base.gradients.get(n), case.base.gradients.get(n)
        if g is not None and known is not None and g.shape == known.shape:
            new = int((g.isnan() & ~known.isnan()).sum())
            if new:
                return _read(n, f"{new} of {g.numel()} entries are NaN")
    return None


def _read(name: str, what: str) -> Observation:
    why = f"{name}: memory is read that was never written to ({what} once it is filled with NaN)"
    return Observation(Outcome.FAIL, reason=why, finding=exact(name, what, "no dependence on what memory held before"))


def reuse(session: Session) -> Observation:
    """Another forward before (of another size, in another mode) and another layer of the class in between change nothing."""
    case = session.case
    if not case.replays or not case.wanted:
        return Observation(Outcome.SKIP, reason="no two evaluations of it compare")
    seen = Observation(Outcome.PASS, dict.fromkeys(case.wanted, 0.0))
    stuck = _stuck(session)  # before the other layer sees anything like the case's inputs
    for what, evaluation in histories(session):
        seen = same_evaluation(session, what, evaluation)
        if seen.outcome is Outcome.FAIL:
            return seen
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
    for what, other in _others(case, modes=twin is None):
        with suppress(Refused, BackwardRaised):  # not every layer takes the decoy
            other.evaluate(1)
        yield f"after a forward and backward {what}", case.fresh()
    if twin is not None and twin.copied:
        evaluation = case.fresh()
        beside: Gradients = {}
        with suppress(Refused, BackwardRaised), one_world():
            # the later goes back first, as in a network: what all of a class keep may be a stack
            beside = _pulled(case, case.at(subject=twin).forward(decoyed(case)))
        yield "with another layer of the class in between", _without(session, evaluation, beside)


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


def same_evaluation(session: Session, what: str, evaluation: Evaluation) -> Observation:
    """Whether its outputs and gradients are the base's.

    Raises:
        BackwardRaised: the backward raised.
    """
    outputs = tuple(y.detach().clone() for y in evaluation.outputs)
    if moved := moved_outputs(session.case, outputs):
        return Observation(Outcome.FAIL, reason=f"{what}: {moved.analytic}", finding=moved)
    return _same(session, what, _pulled(session.case, evaluation))


def moved_outputs(case: Case, outputs: tuple[Tensor, ...]) -> Finding | None:
    """Outputs that are others than the base's: the layer remembers more than its parameters and buffers."""
    for k, (y, z) in enumerate(zip(outputs, case.base.outputs, strict=True)):
        if y.shape != z.shape or float((y - z).abs().amax() if y.numel() else 0.0) > case.tau * rms(z):
            return exact(f"output{k}", "its outputs are others", "the same outputs from the same inputs")
    return None


def _others(case: Case, modes: bool) -> Iterator[tuple[str, Case]]:
    """Other points of the layer, and, where no second layer can be made for `mode_switch`, other modes."""
    yield "with other values", case.at(leaves=decoyed(case))
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
        other = _pulled(case, case.forward(decoyed(case)))
        found = _pulled(case, evaluation)
    except (Refused, BackwardRaised):
        return False
    base, kept = case.base.gradients, case.subject.kept
    pairs = [(found.get(n), base.get(n)) for n in case.wanted if n not in kept]
    if not all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs):
        return False
    exactly = "reentrant" in case.promises
    gradients = [(n, other.get(n), base.get(n), found.get(n)) for n in kept if n in case.wanted]
    return all(way_of(session.judge.claim, *each, measured=exactly) for each in gradients)


def _pulled(case: Case, evaluation: Evaluation) -> Gradients:
    with backward_may_raise():
        return evaluation.pullback(tuple(v.clone() for v in case.base.cotangents))


def _same(
    session: Session,
    what: str,
    found: Gradients,
    expected: Mapping[str, Tensor | None] | None = None,
    repeated: bool = False,
) -> Observation:
    """Whether gradients are the base's, or those given."""
    wanted, good = session.case.base.gradients if expected is None else expected, {}
    for n in session.case.wanted:
        verdict = agreement(session.judge.claim, n, found.get(n), wanted.get(n), repeated=repeated)
        if verdict.outcome is Outcome.FAIL:
            finding = entry_farthest_off(n, found.get(n), wanted.get(n))
            return Observation(Outcome.FAIL, reason=f"{n}, {what}: {verdict.reason}", finding=finding)
        good[n] = verdict.resolution
    return Observation(Outcome.PASS, good)


CHECKS = (
    Check(
        "repeatable",
        "contract",
        "the same again from a fresh evaluation and from a second call; no memory is read that was never written",
        repeatable,
        given=False,
        echoes=False,
    ),
    Check(
        "reuse",
        "contract",
        "backward belongs to its forward, whatever came before it or another layer did in between",
        reuse,
        given=False,
        echoes=False,
    ),
)
