"""The points at which `gradcheck` judges a layer: as given, and with constant parameters and running statistics moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.draws import constant_like, directions_like
from harness.examples.prepare import is_constant
from harness.functions.reference import Reference
from harness.outcome import SpecError
from harness.reading.modes import EVAL, TRAIN
from harness.state.watched import decoy
from harness.subject import Subject
from harness.tensors.arrays import all_finite

MOVES = 3
"""How many train forwards move running statistics off the values that a layer begins with."""


def mode_of(present: str | None, subject: Subject, mode: str | None) -> str | None:
    """The mode asked for, else the one that the layer is in.

    Raises:
        SpecError: the layer has no such mode.
    """
    modes = subject.modes
    if mode is not None:
        if mode not in modes:
            has = " and ".join(repr(m) for m in modes if m) or "none"
            raise SpecError(f"{subject.name} has no mode {mode!r}; its modes: {has}")
        return mode
    if modes == (None,):
        return None
    return present if present in modes else modes[0]


def as_given(subject: Subject, mode: str | None, seed: int, resolution: float | None, reference: Any) -> Case:
    """The layer's own parameters and buffers, and the input as it was given."""
    by_other_means = None if reference is None else Reference(reference)
    return Case(
        subject,
        subject.values(),
        subject.buffers,
        mode,
        seed,
        resolution=resolution,
        label="the input as given",
        reference=by_other_means,
    )


def redrawn(case: Case, names: Sequence[str], buffers: Mapping[str, Tensor] | None) -> Case:
    """The same inputs beside other values of these parameters, and with these buffers."""
    equal = [n for n in names if is_constant(case.leaves[n])]
    moved = directions_like([case.leaves[n] for n in equal], case.seed, 4)
    others = {n: decoy(case.leaves[n]) for n in names if n not in equal}
    drawn = {n: constant_like(case.leaves[n], d) for n, d in zip(equal, moved, strict=True)}
    said = {"constant parameters redrawn": equal, "other parameters moved": others, "running statistics moved": buffers}
    done = [what for what, any_ in said.items() if any_]
    label = ", ".join(["the input as given", *done])
    leaves = {**case.leaves, **others, **drawn}
    return case.at(leaves=leaves, buffers=buffers or case.buffers, label=label, seed=case.seed + 1, echo=True)


def moved(case: Case) -> Mapping[str, Tensor] | None:
    """For evaluation with constant statistics (a variance of one hides that nothing is divided by it): where a few train
    forwards bring them; None where there are none, or train refuses the input."""
    if case.mode != EVAL or TRAIN not in case.subject.modes or not any(map(is_constant, case.buffers.values())):
        return None
    train = case.at(mode=TRAIN)
    try:
        for _ in range(MOVES):
            train = train.at(buffers=train.fresh().buffers())
    except Refused:
        return None
    return train.buffers if all(map(all_finite, train.buffers.values())) else None
