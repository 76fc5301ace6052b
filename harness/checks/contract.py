"""What every backward promises beside the values: shapes, dtypes, and hands off what it was given."""

from __future__ import annotations

from harness.arrays import same_bytes
from harness.checks import Check
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session


def verdict(session: Session, problems: dict[str, Finding], looked: list[str]) -> Observation:
    """An exact check's observation: FAIL with the first finding, or PASS on everything that it looked at."""
    if problems:
        finding = next(iter(problems.values()))
        rest = f" (and {', '.join(list(problems)[1:])})" if len(problems) > 1 else ""
        return Observation(Outcome.FAIL, reason=str(finding).split("\n")[0] + rest, finding=finding)
    if not looked:
        return Observation(Outcome.SKIP, reason="nothing to look at")
    # what has no gradient is looked at too, and is no tensor verified
    return Observation(Outcome.PASS, {n: 0.0 for n in looked if n in session.case.wanted or n in session.case.buffers})


def exact(name: str, found: object, expected: object) -> Finding:
    """A finding about a whole tensor that needs no bound."""
    return Finding((name, None), str(found), str(expected), "exact", 1, 1)


def shapes(session: Session) -> Observation:
    """Every gradient is there and has its tensor's shape."""
    case = session.case
    problems = {}
    for n in case.wanted:
        g, x = case.base.gradients.get(n), case.leaves[n]
        if g is None:
            problems[n] = exact(n, "no gradient", f"shape {tuple(x.shape)}")
        elif g.shape != x.shape:
            problems[n] = exact(n, f"shape {tuple(g.shape)}", f"shape {tuple(x.shape)}")
    return verdict(session, problems, case.wanted)


def dtypes(session: Session) -> Observation:
    """Outputs and gradients keep the dtype and device that they were given."""
    case = session.case
    if not any(t.is_floating_point() for t in case.leaves.values()):
        return Observation(Outcome.SKIP, reason="no input or parameter is real")
    problems = {}
    for k, y in enumerate(case.base.outputs):
        if y.dtype != case.dtype:
            problems[f"output{k}"] = exact(f"output{k}", y.dtype, case.dtype)
    for n in case.wanted:
        g, x = case.base.gradients.get(n), case.leaves[n]
        if g is not None and (g.dtype, g.device) != (x.dtype, x.device):
            problems[n] = exact(n, f"{g.dtype} on {g.device}", f"{x.dtype} on {x.device}")
    return verdict(session, problems, case.wanted)


def unmutated(session: Session) -> Observation:
    """Inputs, cotangents and parameters hold the same bytes after forward and backward."""
    case, base = session.case, session.case.base
    pairs = {n: (t, base.handed[n]) for n, t in case.leaves.items() if case.subject.leaves[n].role == "input"}
    pairs |= {n: (case.leaves[n], t) for n, t in base.parameters_after.items() if n in case.leaves}
    pairs |= {
        "cotangent" if len(base.cotangents) == 1 else f"cotangent{k}": (v, w)
        for k, (v, w) in enumerate(zip(base.cotangents, base.handed_cotangents, strict=True))
    }
    problems = {}
    for n, (before, after) in pairs.items():
        if not same_bytes(before, after):
            changed = int((before != after).sum()) if before.shape == after.shape else before.numel()
            problems[n] = exact(n, f"{changed} of {before.numel()} entries changed in place", "none changed")
    return verdict(session, problems, list(pairs))


CHECKS = (
    Check("shapes", "contract", "every gradient is there and has its tensor's shape", shapes, echoes=False),
    Check(
        "dtypes", "contract", "outputs and gradients keep the dtype and device they were given", dtypes, echoes=False
    ),
    Check("unmutated", "contract", "inputs, cotangents and parameters keep their bytes", unmutated, echoes=False),
)
