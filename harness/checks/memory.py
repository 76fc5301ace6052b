"""Who shares memory with whom, and what a later step would spoil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import combinations, product

from torch import Tensor

from harness.case import Case
from harness.checks import Check
from harness.checks.contract import exact
from harness.checks.reuse import decoyed
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.outcome import Outcome
from harness.session import Observation, Session
from harness.state.slots import share_memory
from harness.subject import Place
from harness.tensors.arrays import same_bytes


def aliasing(session: Session) -> Observation:
    """What was handed out stays as it was when the layer is used again, and an update in place changes one thing alone.

    Failed where outputs or returned gradients are overwritten by a later backward or forward, and where a kept gradient
    shares memory with another or with a parameter. Said is that an output or a gradient lies in the memory of an input, of
    the cotangent or of a parameter, or two returned gradients in one another's; under the promise `owns` what is returned
    fails that lies in the memory of what was handed over.
    """
    case = session.case
    leaves = {n: t.clone() for n, t in case.leaves.items()}
    evaluation = case.forward(leaves)
    if evaluation.memory is None or not case.wanted:
        return Observation(
            Outcome.SKIP, reason="what backward hands out can't be looked at: it is allocated for each call"
        )
    given = tuple(v.clone() for v in case.base.cotangents)
    with backward_may_raise():
        evaluation.pullback(given)
    laid = evaluation.memory()
    handed = {f"output{k}": y.detach() for k, y in enumerate(evaluation.outputs)}
    handed |= {
        f"the gradient of {n}": t for (what, n), t in laid.items() if what == "gradient" and n not in case.subject.kept
    }
    if (n := _overwritten(case, handed)) is not None:
        why = f"{n} is overwritten when the layer is used again"
        return Observation(Outcome.FAIL, reason=why, finding=exact(n, "overwritten by the next use", "left alone"))
    if pair := next(_spoiling(laid, case.subject.kept), ""):
        return Observation(Outcome.FAIL, reason=pair, finding=exact(pair.split(" and ")[0], "shared memory", "its own"))
    sources = {**dict(zip(_names(given), given, strict=True)), **leaves}
    borrowed = list(_lying_in(handed, sources))
    if borrowed and "owns" in case.promises:
        finding = exact(borrowed[0].split(" lies in ")[0], borrowed[0], 'memory of its own, as the promise "owns" says')
        return Observation(
            Outcome.FAIL, reason=f"promised to own what it returns, and {'; '.join(borrowed)}", finding=finding
        )
    parameters = {f"the parameter {n}": t for (what, n), t in laid.items() if what == "parameter"}
    kept = {f"the gradient of {n}": laid["gradient", n] for n in case.subject.kept if ("gradient", n) in laid}
    said = [*borrowed, *_lying_in(handed, parameters), *_lying_in(kept, sources), *_in_one(handed | kept, sources)]
    return Observation(Outcome.PASS, dict.fromkeys(case.wanted, 0.0), reason="; ".join(said))


def _overwritten(case: Case, handed: Mapping[str, Tensor]) -> str | None:
    """The first of what was handed out that has other values once the layer has been used on other inputs."""
    copies = {n: t.clone() for n, t in handed.items()}
    other = case.at(leaves=decoyed(case))
    with suppress(Refused, BackwardRaised):
        # without clearing gradients first: zeros written over them would be ours
        if other.on_top(2) is None:
            other.evaluate(2)
    return next((n for n, t in handed.items() if not same_bytes(t, copies[n])), None)


def _lying_in(handed: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> Iterator[str]:
    """What lies in the memory of something that was there before."""
    for (n, t), (m, s) in product(handed.items(), sources.items()):
        if share_memory(t, s):
            yield f"{n} lies in the memory of {m}"


def _in_one(handed: Mapping[str, Tensor], sources: Mapping[str, Tensor]) -> Iterator[str]:
    """Gradients that lie in one memory, unless it is that of what was handed over, which is said already."""
    own = {n: t for n, t in handed.items() if not any(share_memory(t, s) for s in sources.values())}
    for (a, t), (b, s) in combinations(own.items(), 2):
        if share_memory(t, s):
            yield f"{a} and {b} share memory"


def _names(given: tuple[Tensor, ...]) -> list[str]:
    return ["its cotangent" if len(given) == 1 else f"cotangent {k}" for k in range(len(given))]


def _spoiling(laid: Mapping[Place, Tensor], kept: tuple[str, ...]) -> Iterator[str]:
    """Pairs of which an update in place of one changes the other."""
    places = [p for p in laid if p[0] == "parameter" or p[1] in kept]
    for a, b in combinations(places, 2):
        if "gradient" in (a[0], b[0]) and share_memory(laid[a], laid[b]):
            yield f"the {a[0]} of {a[1]} and the {b[0]} of {b[1]} share memory".replace("parameter of", "parameter")


CHECKS = (
    Check(
        "aliasing",
        "contract",
        "what was handed out is not overwritten later; kept gradients have memory of their own",
        aliasing,
        given=False,
        echoes=False,
    ),
)
