"""From what a check saw at each example to one result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.outcome import Outcome
from harness.report import Finding, Result
from harness.session import Observation, Session

ENOUGH = 0.8
"""The share of the examples, not counting refused ones, in which a tensor must be verified."""


@dataclass(frozen=True)
class Seen:
    """An observation with where it was made."""

    session: Session | None
    observation: Observation


def result(layer: str, check: str, mode: str | None, seen: Sequence[Seen], refused: Sequence[str]) -> Result:
    """FAIL if any example fails; PASS if each tensor was verified in enough of them; else INCONCLUSIVE.

    Examples to which the check does not apply are not counted; if it applies to none, the result is SKIP.
    """
    passed = [s.observation for s in seen if s.observation.outcome is Outcome.PASS]
    if len({o.way for o in passed if o.way}) > 1:
        return _at_odds(layer, check, mode, Counter(o.way for o in passed if o.way), len(seen))
    if passed and len(passed) == len(seen) and not refused:
        return _passed(layer, check, mode, passed)
    blank = Result(layer, check, mode, Outcome.SKIP)
    met = {s.observation.outcome for s in seen}
    for outcome in (Outcome.FAIL, Outcome.ERROR):
        if outcome in met:
            bad = [s.observation for s in seen if s.observation.outcome is outcome]
            share = f" ({len(bad)} of {len(seen)} examples)" if len(seen) > 1 else ""
            blank = replace(blank, outcome=outcome, reason=bad[0].reason + share, examples=len(seen))
            return replace(blank, finding=bad[0].finding, tensors=_beside([s.observation for s in seen]))
    if len(refused) > len(seen):
        why = f"the layer refuses {len(refused)} of {len(refused) + len(seen)} examples, the first with: {refused[0]}"
        return replace(blank, outcome=Outcome.ERROR, reason=why, examples=len(seen))
    counted = [s.observation for s in seen if s.observation.outcome is not Outcome.SKIP]
    if not counted:
        unanswered = bool(seen) and all(s.observation.unanswered for s in seen)
        return Result(layer, check, mode, Outcome.INCONCLUSIVE if unanswered else Outcome.SKIP, reason=_skipped(seen))
    return _verified(blank, counted)


def _beside(seen: Sequence[Observation]) -> dict[str, float]:
    """The tensors that were verified beside those that failed, in as many examples as a PASS asks for; none where something failed
    that is not told tensor by tensor."""
    if any(o.outcome in (Outcome.FAIL, Outcome.ERROR) and not o.wrong for o in seen):
        return {}
    wrong = {n for o in seen for n in o.wrong}
    met = Counter(n for o in seen for n in (*o.tensors, *o.unverified))
    found = {n: [o.tensors[n] for o in seen if n in o.tensors] for n in met if n not in wrong}
    return {n: max(most) for n, most in found.items() if most and len(most) >= ENOUGH * met[n]}


def _at_odds(layer: str, check: str, mode: str | None, ways: Counter[str], examples: int) -> Result:
    """FAIL of what is right at each example, and one way at some, another at others."""
    (most, _), *others = ways.most_common()
    why = f"{', '.join(f'{way} in {n} of {examples} examples' for way, n in others)}; in others {most}"
    finding = Finding(("the layer", None), others[0][0], f"{most}, as elsewhere", "exact", 1, 1)
    return Result(layer, check, mode, Outcome.FAIL, reason=why, finding=finding, examples=examples)


def _passed(layer: str, check: str, mode: str | None, seen: Sequence[Observation]) -> Result:
    """Verified at every example to which it applies: each tensor at the worst of its resolutions."""
    resolution: dict[str, float] = {}
    for observation in seen:
        for name, found in observation.tensors.items():
            resolution[name] = max(found, resolution.get(name, found))
    reason = next((o.reason for o in seen if o.reason), "")
    return Result(layer, check, mode, Outcome.PASS, resolution, reason, examples=len(seen))


def _skipped(seen: Sequence[Seen]) -> str:
    reasons = list(dict.fromkeys(s.observation.reason for s in seen))
    return reasons[0] if reasons else "no example"


def _verified(blank: Result, counted: Sequence[Observation]) -> Result:
    names = list(dict.fromkeys(n for o in counted for n in (*o.tensors, *o.unverified)))
    seen = {n: [o.tensors.get(n) for o in counted if n in o.tensors or n in o.unverified] for n in names}
    found = {n: [r for r in resolutions if r is not None] for n, resolutions in seen.items()}
    share = {n: len(found[n]) / len(seen[n]) for n in names}
    resolution = {n: max(found[n]) for n in names if share[n] >= ENOUGH}
    short = [n for n in names if share[n] < ENOUGH]
    nameless = sum(o.outcome is Outcome.INCONCLUSIVE and not (o.tensors or o.unverified) for o in counted)
    telling = Outcome.INCONCLUSIVE if short or nameless else Outcome.PASS
    reason = next((o.reason for o in counted if o.outcome is telling and o.reason), "")
    if short or nameless > (1 - ENOUGH) * len(counted):
        shares = "; ".join(f"{n} was verified in {share[n]:.0%} of the examples" for n in short)
        why = "; ".join(part for part in (reason, shares if len(counted) > 1 else "") if part)
        return replace(blank, outcome=Outcome.INCONCLUSIVE, tensors=resolution, reason=why, examples=len(counted))
    return replace(blank, outcome=Outcome.PASS, tensors=resolution, reason=reason, examples=len(counted))


def smallest_failure(seen: Sequence[Seen]) -> Seen | None:
    """The failing example with the fewest numbers in it."""
    failing = [s for s in seen if s.observation.outcome is Outcome.FAIL and s.session is not None]
    return min(failing, key=_numbers, default=None)


def _numbers(seen: Seen) -> int:
    assert seen.session is not None
    return sum(t.numel() for t in seen.session.case.leaves.values())


def with_finding(seen: Seen, finding: Finding) -> Seen:
    """The same with its evidence."""
    return replace(seen, observation=replace(seen.observation, finding=finding))
