"""Which check fails a mutant first: `check` example by example, up to the first FAIL."""

from __future__ import annotations

import warnings

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
    """The first check to fail the mutant, RAISES, or None."""
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = specs(classes(mutant))[mutant.module]
        return next((found for spec in made if (found := failed_by(spec, seed))), None)


def failed_by(spec: LayerSpec, seed: int) -> str | None:
    """The first check to fail the spec; RAISES as `check` has it: backward raises, or the forward does where the reference
    does not, or does so at most examples of a mode, or the spec can't be used."""
    refused, seen = dict.fromkeys(modes_of(spec), 0), dict.fromkeys(modes_of(spec), 0)
    for example in examples(spec, EXAMPLES, seed):
        for mode in seen:
            try:
                case, _ = case_of(spec, example, mode, CPU, None)
                _ = case.base
            except (BackwardRaised, SpecError):
                return RAISES
            except Refused:
                refused[mode] += 1
                if _accepted(spec, example, mode):
                    return RAISES
                continue
            seen[mode] += 1
            session = Session(case)
            for check in all_checks():
                if observe(check, session).outcome is Outcome.FAIL:
                    return check.name
    return RAISES if any(refused[m] > seen[m] for m in seen) else None


def _accepted(spec: LayerSpec, example: Example, mode: str | None) -> bool:
    """Whether the reference takes an example that the forward refuses, which `check` fails."""
    plan = Plan(str(spec.name), (mode,), [lambda m: case_of(spec, example, m, CPU, None)[0]], selected(("reference",)))
    return any(isinstance(e, Finished) and e.result.outcome is Outcome.FAIL for e in events(plan))
