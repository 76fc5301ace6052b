"""Which check fails a mutant first: `check` example by example, up to the first FAIL.

RAISES stands for what `check` says where something raises: backward does, or the forward where the reference does not, or at
most examples of a mode, or the spec can't be used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache

import torch
from mutants import Mutant
from mutated import FEWER, classes, specs
from wrong import EXAMPLES

from harness import LayerSpec, Outcome, SpecError
from harness.api import undisturbed
from harness.checks import all_checks, selected
from harness.domain import BackwardRaised, Refused
from harness.engine import Plan, events, observe
from harness.events import Finished
from harness.examples.cases import case_of
from harness.examples.design import Example, examples
from harness.examples.sample import modes_of
from harness.session import Session

CPU = torch.device("cpu")
RAISES = "raises"


def killed_by(mutant: Mutant, seed: int = 0, examples: int | None = None) -> str | None:
    """The first check to fail the mutant, RAISES, or None: an example of each of its specs, then the next of each; of `examples` of
    each spec where so few are asked for."""
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = specs(classes(mutant))[mutant.module]
        return next((found for found in _in_turn([failures(spec, seed, examples) for spec in made]) if found), None)


def _in_turn(each: list[Iterator[str | None]]) -> Iterator[str | None]:
    """One of each, then the next of each; none is drawn before it is asked for."""
    while each:
        for one in list(each):
            try:
                yield next(one)
            except StopIteration:
                each.remove(one)


def failures(spec: LayerSpec, seed: int, most: int | None = None) -> Iterator[str | None]:
    """For one example after the other the first check to fail it; at last RAISES where a mode refuses most of them."""
    design, modes = _design(str(spec.name), seed)
    refused, seen = dict.fromkeys(modes, 0), dict.fromkeys(modes, 0)
    for example in design[:most]:
        for mode in modes:
            try:
                yield _failed_at(spec, example, mode)
                seen[mode] += 1
            except Refused:
                refused[mode] += 1
                yield RAISES if _accepted(spec, example, mode) else None
    # of a few it may be most that are too small for the right layer
    yield RAISES if most is None and any(refused[m] > seen[m] for m in seen) else None


@cache
def _design(name: str, seed: int) -> tuple[list[Example], tuple[str | None, ...]]:
    """The examples and modes of a spec, from its right twin: they take longer than most mutants live."""
    spec = next(s for each in specs(classes(None)).values() for s in each if s.name == name)
    return examples(spec, FEWER.get(name, EXAMPLES), seed), modes_of(spec)


def _failed_at(spec: LayerSpec, example: Example, mode: str | None) -> str | None:
    """The first check to fail one example.

    Raises:
        Refused: the forward raises, or its outputs are not finite.
    """
    try:
        case, _ = case_of(spec, example, mode, CPU, None)
        _ = case.base
    except (BackwardRaised, SpecError):
        return RAISES
    session = Session(case)
    return next((c.name for c in all_checks() if observe(c, session).outcome is Outcome.FAIL), None)


def _accepted(spec: LayerSpec, example: Example, mode: str | None) -> bool:
    """Whether the reference takes an example that the forward refuses, which `check` fails."""
    plan = Plan(str(spec.name), (mode,), [lambda m: case_of(spec, example, m, CPU, None)[0]], selected(("reference",)))
    return any(isinstance(e, Finished) and e.result.outcome is Outcome.FAIL for e in events(plan))
