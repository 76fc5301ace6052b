"""Which faults are found, and which right layers are failed: the same inputs for all."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.checkers_contestants import CONTESTANTS, Word
from benchmarks.checkers_times import Row
from benchmarks.checkers_trials import OPERATIONS, Trial
from harness.case import Case
from harness.faults import Fault, catalogue
from harness.subject import Subject

SIZE = (6, 10)
ROUNDING = 64 * 2.0**-53
NOTE = (
    "Every gradient and cotangent fault of `harness/faults.py` in each of the seven layers at 6×10, drawn constants, "
    "{seeds} seeds. The ceiling: trials in which the fault changes a gradient by more than rounding. Faults of shapes, "
    "types, writes, state and modes need a check of their own and are left to `check`; JAX's backward is the faulty one "
    "by way of the host, so that all of these can be expressed there."
)


def faults() -> list[Fault]:
    """Those that change the values of a gradient: what every contestant claims to see."""
    return [f for f in catalogue() if f.check in ("input_gradient", "parameter_gradient")]


def changes(trial: Trial) -> bool:
    """Whether the fault changes any gradient, at any of three cotangents, by more than rounding."""
    sides = (trial.right, trial.subject)
    return any(_apart(*(_gradients(side, trial.mode, k) for side in sides)) > ROUNDING for k in (1, 2, 3))


def _apart(right: dict[str, Tensor], wrong: dict[str, Tensor]) -> float:
    """The largest difference in any entry, over the tensor's root mean square."""
    return max(float((right[n] - wrong[n]).abs().max() / right[n].square().mean().sqrt()) for n in right)


def _gradients(subject: Subject, mode: str | None, cotangent: int) -> dict[str, Tensor]:
    found = Case(subject, subject.values(), subject.buffers, mode).evaluate(cotangent).gradients
    return {n: g for n, g in found.items() if g is not None}


def trials(seeds: int) -> Iterator[tuple[int, Trial]]:
    """Every fault in every layer, where it changes something."""
    for seed in range(seeds):
        for operation in OPERATIONS:
            for fault in faults():
                trial = Trial.of(operation, *SIZE, seed=100 + seed, drawn=True, fault=fault)
                if changes(trial):
                    yield seed, trial


def detection(seeds: int) -> dict[str, Any]:
    """How many each contestant finds of those that can be found, and what is missed."""
    found, tried = dict.fromkeys(CONTESTANTS, 0), dict.fromkeys(CONTESTANTS, 0)
    missed = []
    for seed, trial in trials(seeds):
        words = {n: prepare(trial)() for n, prepare in CONTESTANTS.items()}
        for name, word in words.items():
            tried[name] += 1
            found[name] += word == "fail"
        if by := [n for n, word in words.items() if word != "fail"]:
            fault = trial.fault.name if trial.fault else ""
            missed.append({"layer": trial.name, "fault": fault, "seed": seed, "missed_by": by, "words": words})
    return {"note": NOTE.format(seeds=seeds), "found": found, "tried": tried, "missed": missed}


# Right but awkward


def false_alarms() -> list[Row]:
    """Each awkward right family, judged by ours and by PyTorch's two modes."""
    names = [n for n in CONTESTANTS if n != "jax"]  # the families are PyTorch's and NumPy's, not formulas in jax.numpy
    return [{"family": trial.name, "verdicts": _words(trial, names)} for trial in awkward()]


def _words(trial: Trial, names: list[str]) -> dict[str, Word]:
    return {n: CONTESTANTS[n](trial)() for n in names}


def awkward() -> list[Trial]:
    """The right layers of the power tests."""
    cases = _module("test_awkward").CASES
    return [Trial(name, right, (x,)) for name, (right, _, x) in cases.items()]


def _module(name: str) -> Any:
    """A module of tests/power, which is no package: pytest puts its folder on the path."""
    import sys

    folder = str(Path(__file__).resolve().parent.parent / "tests" / "power")
    if folder not in sys.path:
        sys.path.append(folder)
    return import_module(name)
