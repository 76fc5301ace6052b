"""The second point of `gradcheck`: what was found wrong at the first one is not judged in full again."""

from __future__ import annotations

from harness.outcome import Outcome
from harness.session import Observation, Session

GRADIENTS = ("input_gradient", "parameter_gradient", "autograd")
"""The checks whose cost is that of the judge's verdicts on every tensor."""


def answered(check: str, first: Session, echo: Session) -> Observation | None:
    """What such a check sees at the echo where it is known to fail at the first point: that it fails there too, by one line
    through the tensor that failed. None where that line does not tell, and for other checks."""
    seen = first.seen.get(check)
    if check not in GRADIENTS or seen is None or seen.failed is None:
        return None
    return Observation(Outcome.FAIL, reason=seen.reason) if _refuted(echo, seen.failed[0]) else None


def _refuted(session: Session, name: str) -> bool:
    """Whether one direction through this tensor alone refutes the claim."""
    judge = session.judge
    if name not in session.case.wanted or name in judge.claim.malformed or not session.case.replays:
        return False
    d = judge.differences.direction(10, [name])
    line = judge.line(name, d)
    return line.refuted and line.forgiven(judge.slack(name, d), judge.hidden_along(name, line)).refuted


def without_known(check: str, first: Session, echo: Session) -> Session:
    """The echo for such a check: without the gradients that were found wrong at the first point."""
    if check not in GRADIENTS or not _is_judged(first) or _is_judged(echo):
        return echo
    wrong = frozenset(n for n, v in first.judge.verdicts.items() if v.outcome is Outcome.FAIL)
    return echo.sparing(wrong) if wrong else echo


def _is_judged(session: Session) -> bool:
    judge = session.__dict__.get("judge")
    return judge is not None and "verdicts" in judge.__dict__
