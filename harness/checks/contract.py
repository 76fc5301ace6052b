"""What every backward promises beside the values: shapes, dtypes, and hands off what it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.judgement.claim import Claim
from harness.judgement.comparison import agreement
from harness.outcome import Outcome
from harness.report import Finding
from harness.session import Observation, Session
from harness.tensors.arrays import rms, same_bytes


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
    """Outputs and gradients keep the dtype and device that they were given; under the promise `portable` so does all between."""
    case = session.case
    if not any(t.is_floating_point() for t in case.leaves.values()):
        return Observation(Outcome.SKIP, reason="no input or parameter is real")
    problems = {}
    for k, y in enumerate(case.base.outputs):
        if y.dtype != case.dtype:
            problems[f"output{k}"] = exact(f"output{k}", y.dtype, case.dtype)
    for n in case.wanted:
        g, x = case.base.gradients.get(n), case.leaves[n]
        if g is None:
            continue
        dtype = case.base.integers.get(n, g.dtype)
        if (dtype, g.device) != (x.dtype, x.device):
            problems[n] = exact(n, f"{dtype} on {g.device}", f"{x.dtype} on {x.device}")
    if not problems and "portable" in case.promises and (found := _elsewhere(case)):
        problems["output"] = exact("output", found, 'all on the device of the inputs, as the promise "portable" says')
    return verdict(session, problems, case.wanted)


def _elsewhere(case: Case) -> str:
    """What goes wrong where torch makes on another device what is made without `device=`; empty if nothing does.

    The device is `meta`, which every machine has: its tensors have no numbers, and refuse to be computed with beside others.
    """
    cotangents = [v.clone() for v in case.base.cotangents]  # it may write there
    with torch.device("meta"):
        try:
            evaluation = case.fresh()
            with backward_may_raise():
                gradients = evaluation.pullback(cotangents)
        except (Refused, BackwardRaised) as raised:
            return f"made without device=, on another one than the inputs: {raised}"
    made = {**{f"output{k}": y for k, y in enumerate(evaluation.outputs)}, **gradients}
    return ", ".join(f"{n} on another device" for n, t in made.items() if t is not None and t.device.type == "meta")


def unmutated(session: Session) -> Observation:
    """Inputs, cotangents and parameters hold the same bytes after forward and backward, outputs after backward; and the layer's
    mode and settings that all of the program shares are as they were. What else is left changed is said."""
    case, base = session.case, session.case.base
    problems = {left.what: exact(left.what, left.found, left.expected) for left in reversed(base.left) if left.spoils}
    pairs = {n: (t, base.handed[n]) for n, t in case.leaves.items() if case.subject.leaves[n].role == "input"}
    pairs |= {n: (case.leaves[n], t) for n, t in base.parameters_after.items() if n in case.leaves}
    pairs |= {
        "cotangent" if len(base.cotangents) == 1 else f"cotangent{k}": (v, w)
        for k, (v, w) in enumerate(zip(base.cotangents, base.handed_cotangents, strict=True))
    }
    pairs |= {
        "output" if len(base.outputs) == 1 else f"output{k}": (base.outputs[k], y) for k, y in base.overwritten.items()
    }
    for n, (before, after) in pairs.items():
        if not same_bytes(before, after):
            changed = int((before != after).sum()) if before.shape == after.shape else before.numel()
            problems[n] = exact(n, f"{changed} of {before.numel()} entries changed in place", "none changed")
    seen = verdict(session, problems, list(pairs))
    said = "; ".join(str(left) for left in base.left if not left.spoils)
    return replace(seen, reason=said) if seen.outcome is Outcome.PASS and said else seen


WAYS = {"accumulates": "added up", "overwrites": "overwritten"}
"""{promise: what a second backward then does to the gradients that the layer keeps}."""


def accumulation(session: Session) -> Observation:
    """Gradients that the layer keeps are all added to what stands there, or all put in its place: as promised, else the one
    or the other, and it is said which."""
    case = session.case
    kept = [n for n in case.wanted if n in case.subject.kept]
    if not kept or case.subject.again is None:
        return Observation(Outcome.SKIP, reason="the layer keeps no gradients of its own")
    second = case.evaluate(2).gradients
    first = case.evaluate(1).gradients
    both = case.on_top(2)
    assert both is not None
    claim = session.judge.claim
    if left := _left(session, kept, first):
        return verdict(session, left, kept)
    ways = {n: way_of(claim, n, first.get(n), second.get(n), both.get(n)) for n in kept}
    problems = _neither(ways) or _unlike_promise(ways, case.promises) or _unlike_each_other(ways)
    if problems:
        return verdict(session, problems, kept)
    said = next((f"gradients are {w}" for w in WAYS.values() if w in ways.values()), "")
    return replace(verdict(session, {}, kept), reason=said, way=said)


def _left(session: Session, kept: Sequence[str], again: Mapping[str, Tensor | None]) -> dict[str, Finding]:
    """Gradients in which earlier backwards are still there, where the layer's own reset clears others."""
    case, claim = session.case, session.judge.claim
    if not case.replays:
        return {}
    same = {n: agreement(claim, n, again.get(n), case.base.gradients.get(n)).outcome is Outcome.PASS for n in kept}
    cleared = [n for n in kept if same[n] and (g := again.get(n)) is not None and bool(g.any())]
    if all(same.values()) or not cleared:
        return {}
    expected = f"cleared before the next backward, as the gradient of {', '.join(cleared)} is"
    return {n: exact(n, "what earlier backwards left stays in it", expected) for n in kept if not same[n]}


def _neither(ways: Mapping[str, str]) -> dict[str, Finding]:
    expected = "after two backwards the last gradient, or the sum of both"
    return {n: exact(n, "neither of the two", expected) for n, way in ways.items() if way == ""}


def _unlike_promise(ways: Mapping[str, str], promises: Sequence[str]) -> dict[str, Finding]:
    promised = [(p, w) for p, w in WAYS.items() if p in promises]
    return {
        n: exact(n, way, f'{w}, as the promise "{p}" says')
        for p, w in promised
        for n, way in ways.items()
        if way not in (w, "either")
    }


def _unlike_each_other(ways: Mapping[str, str]) -> dict[str, Finding]:
    added, put = ([n for n, way in ways.items() if way == w] for w in WAYS.values())
    if not added or not put:
        return {}
    return {put[0]: exact(put[0], "overwritten", f"added up, as the gradient of {', '.join(added)} is")}


def way_of(
    claim: Claim, name: str, first: Tensor | None, second: Tensor | None, both: Tensor | None, measured: bool = True
) -> str:
    """How a second backward leaves a gradient: "added up", "overwritten", "either" where the first is 0, else "".

    Args:
        measured: whether the backward's rounding is measured where the last digits alone decide.
    """
    if first is None or second is None or both is None or not first.shape == second.shape == both.shape:
        return "either"  # `shapes` says so
    size, expected = first.abs() + second.abs(), (first + second, second)
    allowed = 64 * claim.case.u * (size + rms(first) + rms(second))
    is_sum, is_last = (bool(((both - e).abs() <= allowed).all()) for e in expected)
    if measured and not is_sum and not is_last:
        # in front of a norm gradients are what others leave that cancel: a sum in one step (addmm_) rounds otherwise than in two
        is_sum, is_last = (agreement(claim, name, both, e, size).outcome is Outcome.PASS for e in expected)
    return "either" if is_sum and is_last else "added up" if is_sum else "overwritten" if is_last else ""


CHECKS = (
    Check("shapes", "contract", "every gradient is there and has its tensor's shape", shapes, echoes=False),
    Check(
        "dtypes", "contract", "outputs and gradients keep the dtype and device they were given", dtypes, echoes=False
    ),
    Check(
        "accumulation",
        "contract",
        "gradients kept on the layer are all added up or all overwritten, as promised",
        accumulation,
        given=False,
        echoes=False,
    ),
    Check("unmutated", "contract", "inputs, cotangents and parameters keep their bytes", unmutated, echoes=False),
)
