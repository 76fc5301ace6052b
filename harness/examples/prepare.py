"""From a layer to a subject in the widest precision that it accepts."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.case import Case
from harness.conventions import subject_of
from harness.domain import BackwardRaised, Refused, forward_may_refuse
from harness.kinds import Const
from harness.outcome import SpecError
from harness.request import Request
from harness.spec import DTYPE_NAMES
from harness.spelling import no_tensor
from harness.state.built import built
from harness.state.slots import walk
from harness.subject import Subject
from harness.tensors.arrays import dtype_name, is_array
from harness.tensors.nested import rebuilt

WIDEST = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}

_OF_DTYPES = re.compile(
    r"dtype|double|float|half|scalar type|datatype|precision|\b(f|fp|bf)(16|32|64)\b", re.IGNORECASE
)
"""What a refusal of a dtype says."""


@dataclass(frozen=True)
class Prepared:
    """A subject, the precision it is judged in, and what is to be said about that."""

    subject: Subject
    dtype: torch.dtype
    notes: tuple[str, ...] = ()
    trial: Case | None = None
    """The point at which the dtype was tried."""


def first_point(subject: Subject) -> Case:
    """The subject at its own values, in the first of its modes."""
    return Case(subject, subject.values(), subject.buffers, subject.modes[0])


def prepared(
    request: Request, dtype: torch.dtype | None = None, point: Callable[[Subject], Case] = first_point
) -> Prepared:
    """The subject in the dtype asked for, else in float64 if the layer accepts it, else in the widest it accepts.

    A layer accepts a dtype if forward and backward go through and answer in it. Gradients alone in another dtype are a
    fault (`dtypes` reports it) unless the layer's own state is in that dtype: then the layer was not made for float64.
    It is tried at `point`, whose evaluation later uses share.
    """
    if dtype is not None:
        with forward_may_refuse():
            return Prepared(subject := _recastable(request, dtype), dtype, trial=point(subject))
    made = _widest(request, point)
    assert made.trial is not None
    wide = WIDEST[0]
    if made.dtype is wide and all(t.dtype is wide for t in made.trial.leaves.values() if t.is_floating_point()):
        return made
    if (layer := built(request)) is None:
        return made
    try:
        trial = _tried(replace(request, layer=layer), wide, point)
    except (Refused, BackwardRaised):
        return made
    return Prepared(trial.subject, wide, ("built by a forward in float32, then judged in float64",), trial)


def _widest(request: Request, point: Callable[[Subject], Case]) -> Prepared:
    """The subject in the widest dtype that the layer accepts."""
    first: Refused | BackwardRaised | None = None
    candidates = _candidates(request)
    for candidate in candidates:
        try:
            trial = _tried(request, candidate, point)
        except (Refused, BackwardRaised) as raised:
            first = first or raised
            # what has nothing to do with the dtype is the layer's answer to these values, unless it takes them as they were given
            if not _speaks_of_dtype(raised.__cause__ or raised):
                given = [d for d in _given(request) if d in candidates[candidates.index(candidate) + 1 :]]
                return _as_given(request, given, point, first)
        else:
            name = dtype_name(candidate)
            notes = () if first is None else (f"judged in {name}: in float64 {first}",)
            return Prepared(trial.subject, candidate, notes, trial)
    assert first is not None
    raise first


def _as_given(
    request: Request, dtypes: Sequence[torch.dtype], point: Callable[[Subject], Case], first: Refused | BackwardRaised
) -> Prepared:
    """The subject in the first of these dtypes that the layer accepts; else what it answered first is raised."""
    for dtype in dtypes:
        with suppress(Refused, BackwardRaised):
            trial = _tried(request, dtype, point)
            name = dtype_name(dtype)
            return Prepared(trial.subject, dtype, (f"judged in {name}, as it was given: in float64 {first}",), trial)
    raise first


def _given(request: Request) -> list[torch.dtype]:
    """The dtypes of the tensors of real numbers that were handed over."""
    return list(dict.fromkeys(x.dtype for x in request.inputs if isinstance(x, Tensor) and x.is_floating_point()))


def _tried(request: Request, dtype: torch.dtype, point: Callable[[Subject], Case]) -> Case:
    """The layer in a dtype at a point.

    Raises:
        Refused: it was not made for this dtype, or refuses the point.
        BackwardRaised: its backward raises.
    """
    with forward_may_refuse():
        trial = point(_recastable(request, dtype))
    if problem := _mismatch(trial, request, dtype):
        raise Refused(problem)
    return trial


def _candidates(request: Request) -> list[torch.dtype]:
    """The dtypes from the widest on; of the two of 16 bits that of the inputs first, NumPy has one alone."""
    wide, narrow = WIDEST[:2], WIDEST[2:]
    if request.library == "numpy":
        return [*wide, torch.float16]
    given = _given(request)
    return [*wide, *sorted(narrow, key=lambda d: d not in given)]


def _all_named(request: Request, subject: Subject) -> None:
    """Raise where `grads` says where a gradient stands of what is no tensor here: of a module, a Function or a pair, whose own
    gradients need no name. Objects with state and what functions hold have been asked before."""
    if not isinstance(request.layer, (torch.nn.Module, tuple, type, FunctionType)):
        return
    there = [*subject.leaves, *subject.buffers]
    for name in (n for n, place in request.grads.items() if place is not None and n not in there):
        raise SpecError(no_tensor(name, subject.name, there))


def _recastable(request: Request, dtype: torch.dtype) -> Subject:
    """The layer in a dtype, and how to have it in another: made anew, so that a fault put into it stays in it."""
    subject = subject_of(request if request.dtype == dtype else replace(request, dtype=dtype))
    _all_named(request, subject)

    def recast(other: torch.dtype, within: tuple[str | None, ...] | None = None, doubled: bool = False) -> Subject:
        alone = within is not None
        inputs = tuple(rebuilt("", x, _twice) for x in request.inputs) if doubled else request.inputs
        asked = replace(request, inputs=inputs, dtype=other, within=within or request.within, alone=alone)
        return subject_of(replace(asked, buffers=tuple(subject.buffers)) if alone else asked)

    return replace(subject, recast=recast)


def _twice(_: str, value: Any) -> Any:
    """An input with its rows twice; what has none as it is."""
    if isinstance(value, Const):
        return Const(_twice("", value.value))
    if not is_array(value) or not value.ndim:
        return value
    return torch.cat([value, value]) if isinstance(value, Tensor) else np.concatenate([value, value])


def _speaks_of_dtype(error: BaseException) -> bool:
    """By its message, and of an assertion by the line too, where that can be read: `assert x.dtype == …, "not supported"`."""
    text = str(error)
    if isinstance(error, AssertionError):
        text += traceback.extract_tb(error.__traceback__)[-1].line or ("" if text else "dtype")
    return _OF_DTYPES.search(text) is not None


def _mismatch(case: Case, request: Request, dtype: torch.dtype) -> str:
    """Why the layer was not made for this dtype, empty if it was."""
    try:
        base = case.base
    except (Refused, BackwardRaised) as raised:
        if _speaks_of_dtype(raised.__cause__ or raised):
            raise
        return ""
    if dtype is not WIDEST[0]:
        return ""
    if narrow := [y.dtype for y in base.outputs if y.dtype != dtype]:
        return f"its outputs are {narrow[0]}"
    narrow = [g.dtype for g in base.gradients.values() if g is not None and g.dtype != dtype]
    own = {t.dtype for t in walk_state(request.layer)} if narrow else set()
    return f"its gradients are {narrow[0]}" if narrow and narrow[0] in own else ""


def walk_state(layer: Any) -> list[Tensor]:
    """The tensors and arrays of real numbers that the layer holds."""
    if isinstance(layer, (type, tuple)) or not hasattr(layer, "__dict__"):
        return []
    return [t for slot in walk(layer) if (t := slot.read()) is not None]


def parameters(subject: Subject) -> list[str]:
    """The parameters of real numbers."""
    return [n for n, leaf in subject.leaves.items() if leaf.role == "parameter" and leaf.value.is_floating_point()]


def constants(subject: Subject) -> list[str]:
    """The parameters whose entries are all equal, as γ = 1 and β = 0."""
    return [n for n in parameters(subject) if is_constant(subject.leaves[n].value)]


def is_constant(t: Tensor) -> bool:
    """Whether all entries of a tensor of real numbers are equal."""
    if not t.is_floating_point() or not t.numel():
        return False
    low, high = map(float, torch.aminmax(t.detach()))
    return low == high
