"""Runs every selected check over every case of a layer, mode by mode, and yields events."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import Any

from torch import Tensor

from harness.aggregate import Seen, result, smallest_failure, with_finding
from harness.case import Case
from harness.checks import Check
from harness.domain import BackwardRaised, Contested, Refused, forward_may_refuse
from harness.echo import answered, without_known
from harness.events import Event, Finished, Noted, Started
from harness.events import Refused as RefusedEvent
from harness.findings.conditions import sizes
from harness.findings.evidence import finding_of
from harness.judgement.comparison import entry_farthest_off, not_finite
from harness.judgement.judge import UNREPLAYED
from harness.judgement.verdict import Verdict
from harness.low_precision.finer import finer
from harness.outcome import Outcome, SpecError
from harness.report import Result
from harness.session import Observation, Session
from harness.wanted import told

MakeCase = Callable[[str | None], Case]


@dataclass(frozen=True)
class Plan:
    """What is to be looked at: the layer's cases in each mode, and the checks."""

    layer: str
    modes: Sequence[str | None]
    cases: Sequence[MakeCase]
    checks: Sequence[Check]
    notes: list[str] = field(default_factory=list)
    """Filled by the cases as they are made."""
    device: str = "cpu"
    """Where the cases lie."""


def events(plan: Plan) -> Iterator[Event]:
    """The run of a plan, one event after the other."""
    said: set[str] = set()
    for mode in plan.modes:
        yield Started(plan.layer, mode, len(plan.cases))
        sessions: list[Session] = []
        refused: list[str] = []
        broken: list[str] = []
        accepted: list[str] = []
        for make in plan.cases:
            session: Session | None = None
            try:
                session = Session(make(mode))
                _ = session.case.base
            except BackwardRaised as raised:
                raised.example = raised.example or (session.case.label if session is not None else "")
                broken.append(clean(told(raised, plan.device, raised.told())))
            except Refused as refusal:
                refused.append(clean(told(refusal, plan.device)))
                accepted += _accepted(session) if session is not None else _contested(refusal)
                yield RefusedEvent(plan.layer, mode, "", refused[-1])
            else:
                sessions.append(session)
        for note in [n for n in plan.notes if n not in said]:
            said.add(note)
            yield Noted(plan.layer, note)
        for check in plan.checks:
            failed = [*broken, *(accepted if check.name == "reference" else ())]
            yield Finished(_result(plan.layer, check, mode, sessions, failed, refused, plan.checks))


def _contested(refusal: Refused) -> list[str]:
    """Why an example that could not even be prepared is a failure: the reference takes it."""
    if not isinstance(refusal, Contested):
        return []
    return [clean(_REFUSES.format(refusal.example, refusal))]


_REFUSES = "the forward refuses an example that the reference accepts ({}): {}"


def _accepted(session: Session) -> list[str]:
    """Why a refused example is a failure: the reference takes it."""
    if (case := session.case).reference is None:
        return []
    try:
        case.fresh()
        off = not_finite(case)  # where the reference isn't finite either, the example is outside the domain
        return [] if off is None else [clean(f"{off.analytic} ({case.label})")]
    except Refused as refusal:
        why = str(refusal)
    try:
        with forward_may_refuse():
            expected = case.reference.outputs(case.subject, case.leaves, case.buffers, case.mode, case.seed)
    except Refused:  # the reference refuses it too
        return []
    if not all(bool(y.isfinite().all()) for y in expected):
        return []
    return [clean(_REFUSES.format(case.label, why))]


def _result(
    layer: str,
    check: Check,
    mode: str | None,
    sessions: list[Session],
    broken: list[str],
    refused: list[str],
    checks: Sequence[Check],
) -> Result:
    seen = [Seen(None, Observation(Outcome.FAIL, reason=why)) for why in broken]
    asked = [s for s in sessions if check.echoes or not s.case.echo]
    seen += [
        Seen(s, finer(check, s, _at(check, s, sessions[0]), partial(_by_precision, s, sessions, checks))) for s in asked
    ]
    chance = [_by_chance(check, s, sessions) for s in seen]
    if any(chance) and not _fails_alike(check, smallest_failure(list(compress(seen, chance)))):
        seen = [replace(s, observation=_UNREPLAYED) if c else s for s, c in zip(seen, chance, strict=True)]
    failure = smallest_failure(seen)
    if failure is not None and check.name == "special_values":
        seen = [replace(s, observation=_not_alone(s.observation, asked)) for s in seen]
    if failure is not None and failure.observation.failed is not None and failure.session is not None:
        name, verdict = failure.observation.failed
        others = [s.session for s in seen if s is not failure and s.observation.outcome is Outcome.FAIL and s.session]
        judge = "reference_judge" if check.name == "reference" else "judge"
        try:
            finding = finding_of(failure.session, name, verdict, others, judge)
            found = with_finding(
                failure, replace(finding, diagnosis=(*finding.diagnosis, *_where(seen, name, bool(finding.diagnosis))))
            )
        except Exception as error:  # what explains a failure must not hide it
            why = f"{failure.observation.reason} (no evidence: {type(error).__name__}: {error})"
            found = replace(failure, observation=replace(failure.observation, reason=clean(why)))
        seen = [found if s is failure else s for s in seen]
        seen.sort(key=lambda s: s is not found)
    return result(layer, check.name, mode, seen, refused)


def _where(seen: Sequence[Seen], name: str, known: bool) -> tuple[str, ...]:
    """At what sizes and options a tensor is wrong, where some examples verify it."""
    failed = [
        s.session.case.sizes for s in seen if s.session and s.observation.failed and s.observation.failed[0] == name
    ]
    passed = [s.session.case.sizes for s in seen if s.session and name in s.observation.tensors]
    return sizes(failed, passed, known)


def _not_alone(seen: Observation, sessions: Sequence[Session]) -> Observation:
    """The same without what is said of the special point alone, where the tensor is wrong at values as drawn elsewhere."""
    if (finding := seen.finding) is None or not finding.diagnosis:
        return seen
    drawn = [s.judge.verdicts.get(finding.where[0]) for s in sessions]
    if not any(v is not None and v.outcome is Outcome.FAIL for v in drawn):
        return seen
    return replace(seen, finding=replace(finding, diagnosis=()))


def _by_precision(session: Session, sessions: Sequence[Session], checks: Sequence[Check]) -> set[str]:
    """The tensors that the check of the session's own precision verifies, here or, where their numbers here do not
    determine them, in another example."""
    found = [c for c in checks if c.name == session.dtype and c.group == "precision"]
    if not found or (here := _once(found[0], session)).outcome not in (Outcome.PASS, Outcome.SKIP):
        return set()
    elsewhere = {n for s in sessions if s.dtype == session.dtype for n in _once(found[0], s).tensors}
    return set(here.tensors) | elsewhere if here.outcome is Outcome.PASS else set(here.unverified) & elsewhere


def _at(check: Check, session: Session, first: Session) -> Observation:
    """What a check sees at one point; at an echo no more than is not known from the first."""
    if not session.case.echo or session is first:
        return _once(check, session)
    return answered(check.name, first, session) or _once(check, without_known(check.name, first, session))


def _once(check: Check, session: Session) -> Observation:
    """The same observation as before where it was asked before."""
    if check.name not in session.seen:
        session.seen[check.name] = observe(check, session)
    return session.seen[check.name]


def _stands(check: Check, session: Session) -> bool:
    """Whether what a check fails may be failed: it needs no second forward, its bound holds what two differ by, or none do."""
    if check.name in _OF_ONE or (check.name in _BY_BOUND and session.case.steady):
        return True
    return session.case.replays_still


def _again(check: Check, session: Session) -> bool:
    """Whether a failure is no accident: of a layer that asks what no seed replays, the same layer made anew fails too.

    One that draws often is seen to differ from forward to forward; one that draws seldom seldom fails by it, and three times in
    a row hardly ever. A layer that asks no such thing fails the first time.
    """
    return not session.case.unreplayable or all(check.observe(session.anew()).outcome is Outcome.FAIL for _ in range(2))


def _by_chance(check: Check, seen: Seen, sessions: Sequence[Session]) -> bool:
    """Whether what was compared may differ by chance alone: the layer, its options as here, answers one forward otherwise than the
    next at another example. Where two agreed here, that was luck, as of a mask that seldom drops or has few entries."""
    here, said = seen.session, seen.observation
    if here is None or said.outcome is not Outcome.FAIL or check.name in _OF_ONE:
        return False
    if said.finding is None and said.failed is None:  # what was raised is no comparison
        return False
    return any(_differs(check, s) for s in sessions if s is not here and _options(s) == _options(here))


ALIKE = 0.1
"""By what share of the error two oracles' gradients may differ that find the same fault."""


def _fails_alike(check: Check, seen: Seen | None) -> bool:
    """Whether the layer made anew fails twice more by the same: what differs at another example is no draw then, but what that
    example leaves in the layer, and an oracle that met a draw by accident would find another gradient each time."""
    if (
        seen is None
        or seen.session is None
        or (failed := seen.observation.failed) is None
        or check.name not in _BY_BOUND
    ):
        return False
    name, off = failed[0], _off_by(seen.session, failed)
    for _ in range(2):
        session = seen.session.anew()
        again = check.observe(session).failed
        if off is None or again is None or again[0] != name or (other := _off_by(session, again)) is None:
            return False
        if other.shape != off.shape or not bool((other - off).norm() <= ALIKE * off.norm()):
            return False
    return True


def _off_by(session: Session, failed: tuple[str, Verdict]) -> Tensor | None:
    """By how much a claim is off, where that is known."""
    name, verdict = failed
    claimed = (verdict.case or session.case).base.gradients.get(name)
    if claimed is None or verdict.expected is None or claimed.shape != verdict.expected.shape:
        return None
    return (claimed.double() - verdict.expected.double()).nan_to_num(nan=0.0)


def _differs(check: Check, session: Session) -> bool:
    """Whether forwards under one seed differ there, by more than the check's bounds hold."""
    with suppress(Refused):
        return not (session.case.steady if check.name in _BY_BOUND else session.case.replays)
    return False


def _options(session: Session) -> dict[str, Any]:
    """What it is built with beside sizes."""
    return {n: v for n, v in session.case.sizes.items() if not isinstance(v, (int, tuple)) or isinstance(v, bool)}


def observe(check: Check, session: Session) -> Observation:
    """One check of one case. Whatever the check itself raises is the harness's own error."""
    try:
        seen = _truly(check, session, check.observe(session))
        if seen.outcome is Outcome.FAIL and not _stands(check, session):
            return _UNREPLAYED
        if seen.outcome is Outcome.FAIL and check.name not in _OF_ONE and not _again(check, session):
            return _UNREPLAYED
        return seen
    except BackwardRaised as raised:
        raised.example = raised.example or session.case.label
        return Observation(Outcome.FAIL, reason=clean(raised.told()))
    except Refused as refusal:
        return Observation(Outcome.INCONCLUSIVE, reason=clean(f"the forward refused a nearby point: {refusal}"))
    except SpecError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.name}, line {last.lineno}"
        return Observation(Outcome.ERROR, reason=clean(f"in {check.name} ({place}): {type(error).__name__}: {error}"))


def _truly(check: Check, session: Session, seen: Observation) -> Observation:
    """The same, said of the calls where a layer answers otherwise from call to call: it is not what the check changes that
    makes the difference, nor rounding."""
    if check.name in (*_OF_ONE, *_OF_CALLS) or seen.outcome not in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        return seen
    if check.group in ("precision", "random", "device") or (seen.failed is not None and check.name in _BY_BOUND):
        return seen
    if (other := session.wavering) is None:
        return seen
    finding = entry_farthest_off(other.name, other.found, other.first) if seen.outcome is Outcome.FAIL else None
    return replace(seen, reason=str(other), failed=None, finding=finding)


_UNREPLAYED = Observation(Outcome.INCONCLUSIVE, reason=UNREPLAYED)

_OF_ONE = ("shapes", "dtypes", "unmutated", "aliasing")
"""The checks that see all in one evaluation."""

_OF_CALLS = ("accumulation",)
"""Those that ask what one call leaves for the next, and say it better."""

_BY_BOUND = ("input_gradient", "parameter_gradient", "autograd")
"""Those whose bounds hold what forwards under one seed differ by."""


def clean(text: str) -> str:
    """Without addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", text)
