"""Runs every selected check over every case of a layer, mode by mode, and yields events."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from harness import chance
from harness.aggregate import Seen, result, smallest_failure, with_finding
from harness.case import Case
from harness.checks import Check
from harness.domain import BackwardRaised, Contested, Refused, forward_may_refuse
from harness.echo import answered, without_known
from harness.events import Event, Finished, Noted, Started
from harness.events import Refused as RefusedEvent
from harness.findings.conditions import sizes
from harness.findings.confirmed import of_sizes
from harness.findings.evidence import finding_of
from harness.judgement.comparison import not_finite
from harness.judgement.verdict import Verdict
from harness.low_precision.finer import finer
from harness.outcome import Outcome, SpecError
from harness.report import Finding, Result
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


@dataclass
class Prepared:
    """The cases of one mode: those that can be asked, and why the others can't."""

    sessions: list[Session] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Of those whose backward raises: each fails every check."""
    accepted: list[str] = field(default_factory=list)
    """Of those refused that the reference accepts: each fails the check of that name."""

    def take(self, make: MakeCase, mode: str | None, device: str) -> str | None:
        """One more case; why it was refused, if it was."""
        session: Session | None = None
        try:
            session = Session(make(mode))
            _ = session.case.base
        except BackwardRaised as raised:
            raised.example = raised.example or (session.case.label if session is not None else "")
            self.broken.append(clean(told(raised, device, raised.told())))
        except Refused as refusal:
            self.refused.append(clean(told(refusal, device)))
            self.accepted += _accepted(session) if session is not None else _contested(refusal)
            return self.refused[-1]
        else:
            self.sessions.append(session)
        return None

    def failures(self, check: Check) -> list[str]:
        """Why a check fails before anything is asked."""
        return [*self.broken, *(self.accepted if check.name == "reference" else ())]


def events(plan: Plan) -> Iterator[Event]:
    """The run of a plan, one event after the other."""
    said: set[str] = set()
    for mode in plan.modes:
        yield Started(plan.layer, mode, len(plan.cases))
        prepared = Prepared()
        for make in plan.cases:
            if (why := prepared.take(make, mode, plan.device)) is not None:
                yield RefusedEvent(plan.layer, mode, "", why)
        for note in [n for n in plan.notes if n not in said]:
            said.add(note)
            yield Noted(plan.layer, note)
        for check in plan.checks:
            yield Finished(_result(plan, check, mode, prepared))


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


def _result(plan: Plan, check: Check, mode: str | None, prepared: Prepared) -> Result:
    sessions = [s for s in prepared.sessions if check.echoes or not s.case.echo]
    seen = [Seen(None, Observation(Outcome.FAIL, reason=why)) for why in prepared.failures(check)]
    for session in sessions:
        if check.enough is not None and _failing(seen) >= check.enough:
            break
        seen.append(Seen(session, _found(plan, check, session, prepared.sessions)))
    seen = chance.over_all(check, seen, prepared.sessions)
    if check.name == "special_values" and smallest_failure(seen) is not None:
        seen = [replace(s, observation=_not_alone(s.observation, sessions)) for s in seen]
    return result(plan.layer, check.name, mode, _told_first(check, seen), prepared.refused)


def _failing(seen: Sequence[Seen]) -> int:
    return sum(s.observation.outcome is Outcome.FAIL for s in seen)


def _found(plan: Plan, check: Check, session: Session, sessions: Sequence[Session]) -> Observation:
    """What a check sees at one of the points."""
    by_precision = partial(_by_precision, session, sessions, plan.checks)
    return finer(check, session, _at(check, session, sessions[0]), by_precision)


def _told_first(check: Check, seen: list[Seen]) -> list[Seen]:
    """The same, the smallest failure first, with its evidence."""
    failure = smallest_failure(seen)
    if failure is None or failure.session is None or (failed := failure.observation.failed) is None:
        return seen
    try:
        found = with_finding(failure, _finding(check, failure, failed, seen))
    except Exception as error:  # what explains a failure must not hide it
        why = f"{failure.observation.reason} (no evidence: {type(error).__name__}: {error})"
        found = replace(failure, observation=replace(failure.observation, reason=clean(why)))
    return [found, *(s for s in seen if s is not failure)]


def _finding(check: Check, failure: Seen, failed: tuple[str, Verdict], seen: Sequence[Seen]) -> Finding:
    """What is wrong where, by the other examples that fail too."""
    if (there := failure.observation.at) is not None:
        return finding_of(there, *failed, [])
    assert failure.session is not None
    others = [s.session for s in seen if s is not failure and s.observation.outcome is Outcome.FAIL and s.session]
    finding = finding_of(failure.session, *failed, others, _judge_of(check))
    where = _where(check, seen, failed[0], bool(finding.diagnosis))
    return replace(finding, diagnosis=(*finding.diagnosis, *where))


def _judge_of(check: Check) -> str:
    """The judge of a session whose verdict the check reports."""
    return "reference_judge" if check.name == "reference" else "judge"


def _where(check: Check, seen: Sequence[Seen], name: str, known: bool) -> tuple[str, ...]:
    """At what sizes and options a tensor is wrong, where some examples verify it, and others of their sizes do."""
    failed = [s.session for s in seen if s.session and s.observation.failed and s.observation.failed[0] == name]
    passed = [s.session for s in seen if s.session and name in s.observation.tensors]
    said = sizes([s.case.sizes for s in failed], [s.case.sizes for s in passed], known)
    return said if said and of_sizes(name, failed, passed, partial(observe, check)) else ()


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


def observe(check: Check, session: Session) -> Observation:
    """One check of one case. Whatever the check itself raises is the harness's own error."""
    try:
        return chance.at_one(check, session, check.observe(session))
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


def clean(text: str) -> str:
    """Without addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", text)
