"""Which check fails a mutant first: `check` example by example, up to the first FAIL.

RAISES stands for what `check` says where something raises: backward does, or the forward where the reference does not, or at
most examples of a mode, or the spec can't be used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import zip_longest

import torch
from mutants import Mutant
from mutated import classes, specs
from wrong import EXAMPLES

from harness import LayerSpec, Outcome, SpecError
from harness.api import undisturbed
from harness.checks import all_checks, selected
from harness.design import Example, examples
from harness.domain import BackwardRaised, Refused
from harness.engine import Plan, events, observe
from harness.events import Finished
from harness.prepare import case_of
from harness.sample import modes_of
from harness.session import Session

CPU = torch.device("cpu")
RAISES = "raises"


def killed_by(mutant: Mutant, seed: int = 0) -> str | None:
    """The first check to fail the mutant, RAISES, or None: an example of each of its specs, then the next of each."""
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = specs(classes(mutant))[mutant.module]
        rounds = zip_longest(*(failures(spec, seed) for spec in made))
        return next((found for each in rounds for found in each if found), None)


def failures(spec: LayerSpec, seed: int) -> Iterator[str | None]:
    """For one example after the other the first check to fail it; at last RAISES where a mode refuses most of them."""
    refused, seen = dict.fromkeys(modes_of(spec), 0), dict.fromkeys(modes_of(spec), 0)
    for example in examples(spec, EXAMPLES, seed):
        for mode in seen:
            try:
                yield _failed_at(spec, example, mode)
                seen[mode] += 1
            except Refused:
                refused[mode] += 1
                yield RAISES if _accepted(spec, example, mode) else None
    yield RAISES if any(refused[m] > seen[m] for m in seen) else None


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
