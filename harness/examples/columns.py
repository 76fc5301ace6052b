"""Whether a layer that does not go by its spec takes examples in columns, where the spec has them in rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.builds import wanted_by
from harness.dimensions import Dimensions
from harness.domain import BackwardRaised, Refused, forward_may_refuse
from harness.examples.cases import case_of
from harness.examples.design import Example
from harness.examples.sample import modes_of
from harness.kinds import Floats, InputKind
from harness.outcome import SpecError
from harness.report import COLUMNS
from harness.spec import LayerSpec


def columns(spec: LayerSpec, device: torch.device) -> str:
    """What to write for such a layer; empty where trying does not show just that: at sizes that differ it refuses rows, or gives
    for them what the reference does not, and for columns it gives columns."""
    turned = tuple(map(_turned, spec.kinds))
    if turned == spec.kinds:
        return ""
    other = replace(spec, inputs=turned, reference=_of_columns(spec))
    for shift in (0, 1):
        sizes = _apart(spec, shift)
        if sizes is None:
            return ""
        example = Example(sizes, {n: values[0] for n, values in spec.options.items()}, seed=shift)
        if _goes(spec, example, device, ()) or not _goes(other, example, device, (_batch(spec),)):
            return ""
    shown = (
        "refuses the input in rows and takes it"
        if spec.reference is None
        else "gives the reference's output transposed for the input"
    )
    written = ", ".join(repr(k.dims.text) for k in turned if isinstance(k, Floats))
    return f"{COLUMNS}: forward {shown} transposed; this spec has them in rows, for such a layer write inputs={written}"


def _batch(spec: LayerSpec) -> str:
    return next(k.dims.text.split()[0] for k in spec.kinds if _turned(k) != k and isinstance(k, Floats))


def _turned(kind: InputKind) -> InputKind:
    if not isinstance(kind, Floats) or len(words := kind.dims.text.split()) != 2 or "*" in words[0]:
        return kind
    return replace(kind, dims=Dimensions(" ".join(words[::-1])))


def _apart(spec: LayerSpec, shift: int) -> dict[str, Any] | None:
    """Sizes that differ from one another and from one; None where the spec has no such."""
    found: dict[str, Any] = {}
    for n in (*spec.sizes,)[:: -1 if shift else 1]:
        free = [v for v in spec.sizes[n] if v > 1 and v not in found.values()]
        if not free:
            return None
        found[n] = free[-1]
    return found


def _goes(spec: LayerSpec, example: Example, device: torch.device, last: tuple[str, ...]) -> bool:
    """Whether forward and backward go through, with the reference's outputs where there is one; else with the dimension `last`
    as the outputs' last axis."""
    with suppress(Refused, BackwardRaised, SpecError):
        case, _ = case_of(spec, example, modes_of(spec)[0], device, None)
        outputs = case.base.outputs
        if case.reference is None:
            return all(y.shape[-1:] == (example.sizes[n],) for y in outputs for n in last)
        with forward_may_refuse():
            expected = case.reference.outputs(case.subject, case.leaves, case.buffers, case.mode, case.seed)
        pairs = list(zip(outputs, expected, strict=False))
        return all(y.shape == r.shape and torch.allclose(y, r.to(y), 1e-5, 1e-5) for y, r in pairs)
    return False


def _of_columns(spec: LayerSpec) -> Callable[..., Any] | None:
    """The spec's reference with examples in columns, in what is turned of the inputs and in the outputs."""
    if (reference := spec.reference) is None:
        return None
    across = [p.name for p, k in zip(wanted_by(reference), spec.kinds, strict=False) if _turned(k) != k]

    @wraps(reference)
    def turned(*given: Any, **words: Any) -> Any:
        named = {p.name: x for p, x in zip(wanted_by(reference), given, strict=False)} | words
        rows = {n: _across(x) if n in across else x for n, x in named.items()}
        return _across(reference(*(rows[n] for n in [*named][: len(given)]), **{n: rows[n] for n in words}))

    return turned


def _across(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_across, value))
    return value.T if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 2 else value
