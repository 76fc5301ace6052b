"""Whether what a check failed may be a draw's doing: a layer that answers one forward otherwise than the next refutes nothing by it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import compress
from typing import Any

from torch import Tensor

from harness.aggregate import Seen, smallest_failure
from harness.checks import Check
from harness.domain import Refused
from harness.judgement.comparison import entry_farthest_off
from harness.judgement.judge import UNREPLAYED
from harness.judgement.verdict import Verdict
from harness.outcome import Outcome
from harness.session import Observation, Session

_UNDECIDED = Observation(Outcome.INCONCLUSIVE, reason=UNREPLAYED)

_OF_ONE = ("shapes", "dtypes", "unmutated", "aliasing")
"""The checks that see all in one evaluation."""

_OF_CALLS = ("accumulation",)
"""Those that ask what one call leaves for the next, and say it better."""

_BY_BOUND = ("input_gradient", "parameter_gradient", "autograd")
"""Those whose bounds hold what forwards under one seed differ by."""

ALIKE = 0.1
"""By what share of the error two oracles' gradients may differ that find the same fault."""


def at_one(check: Check, session: Session, seen: Observation) -> Observation:
    """What a check saw at one example, as far as it stands there."""
    seen = _of_the_calls(check, session, seen)
    if seen.outcome is not Outcome.FAIL or check.name in _OF_ONE:
        return seen
    return seen if _stands(check, session) and _again(check, session) else _UNDECIDED


def over_all(check: Check, seen: list[Seen], sessions: Sequence[Session]) -> list[Seen]:
    """What it saw at each, without the failures that another example shows to be chance."""
    chance = [_by_chance(check, s, sessions) for s in seen]
    if not any(chance) or _fails_alike(check, smallest_failure(list(compress(seen, chance)))):
        return seen
    return [replace(s, observation=_UNDECIDED) if c else s for s, c in zip(seen, chance, strict=True)]


def _of_the_calls(check: Check, session: Session, seen: Observation) -> Observation:
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


def _stands(check: Check, session: Session) -> bool:
    """Whether what is compared may be failed: the check's bound holds what two forwards differ by, or none do."""
    return (check.name in _BY_BOUND and session.case.steady) or session.case.replays_still


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


def _fails_alike(check: Check, seen: Seen | None) -> bool:
    """Whether the layer made anew fails twice more by the same: what differs at another example is no draw then, but what that
    example leaves in the layer, and an oracle that met a draw by accident would find another gradient each time."""
    if seen is None or (here := seen.session) is None or check.name not in _BY_BOUND:
        return False
    if (failed := seen.observation.failed) is None or (off := _off_by(here, failed)) is None:
        return False
    return all(_off_alike(check, here.anew(), failed[0], off) for _ in range(2))


def _off_alike(check: Check, session: Session, name: str, off: Tensor) -> bool:
    """Whether a tensor is off there, by much the same."""
    failed = check.observe(session).failed
    if failed is None or failed[0] != name or (other := _off_by(session, failed)) is None:
        return False
    return other.shape == off.shape and bool((other - off).norm() <= ALIKE * off.norm())


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
