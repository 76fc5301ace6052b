"""From a spec's example to a case: the layer built, its inputs and parameters drawn, its running statistics moved."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.builds import arguments_in
from harness.case import Case
from harness.domain import BackwardRaised, Contested, Refused, build_may_refuse, forward_may_refuse
from harness.draws import parameter_like, real_values, rng_of
from harness.examples.design import Example
from harness.examples.prepare import DTYPES, Prepared, prepared
from harness.functions.reference import Reference
from harness.kinds import Const, Drawn, Floats, InputKind, Ints, bound_names, size_expression
from harness.outcome import SpecError
from harness.reading.masks import rates_of
from harness.replay.sources import forget_kept_normal, seed_torch
from harness.request import Request
from harness.spec import LayerSpec
from harness.subject import Subject
from harness.tensors.library import imported_beside, library_of, meant_for


def request_of(spec: LayerSpec, example: Example, mode: str | None, device: torch.device) -> Request:
    """The layer that the spec builds at this example, with its inputs drawn.

    Raises:
        SpecError: an input function returned no array, or integers of no domain are asked for.
    """
    with build_may_refuse():
        layer = build(spec, example, mode, device)
    inputs = tuple(_input(kind, example, k) for k, kind in enumerate(spec.kinds))
    if (library := library_of(layer)) == "torch":  # a function of the spec may have drawn with NumPy
        inputs = tuple(torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in inputs)
    elif library is None and meant_for(layer) == "numpy":
        inputs = tuple(x.numpy() if isinstance(x, Tensor) else x for x in inputs)
    elif library is None and any(isinstance(x, Tensor) for x in inputs):  # never some of one and some of the other
        inputs = tuple(torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in inputs)
    modes = dict(spec.modes) if isinstance(spec.modes, Mapping) else {}
    given = _given(spec, example, mode, device)
    known = {**example.sizes, **example.options, **given}
    made = given if isinstance(spec.build, type) else arguments_in(spec.build, known, type(layer))
    return Request(layer, inputs, modes=modes, grads=spec.grads, made=made, device=device)


def build(spec: LayerSpec, example: Example, mode: str | None, device: torch.device) -> Any:
    """What the spec builds at this example's sizes and options; its own randomness follows the example's seed."""
    if not spec.builds:
        return spec.build
    seed_torch(example.seed)
    np.random.seed(example.seed % 2**32)  # noqa: NPY002  (what layers in the wild draw from)
    layer = spec.build(**_given(spec, example, mode, device))
    forget_kept_normal()
    return layer


def _given(spec: LayerSpec, example: Example, mode: str | None, device: torch.device) -> dict[str, Any]:
    """What `build` is called with; its generators are made anew each time, in the same state."""
    reserved: dict[str, Callable[[], Any]] = {
        "mode": lambda: mode,
        "generator": lambda: torch.Generator(device).manual_seed(example.seed),
        "rng": lambda: rng_of(example.seed, 2),
        "dtype": lambda: torch.float64,
        "device": lambda: device,
    }
    known = {**example.sizes, **example.options}
    return {n: known[n] if n in known else reserved[n]() for n in spec.build_arguments()}


def drawn(kinds: Mapping[str, InputKind], example: Example) -> dict[str, Any]:
    """What the example has for each input, as the spec draws it, constants as the values that they are."""
    values = {n: _input(kind, example, k) for k, (n, kind) in enumerate(kinds.items())}
    return {n: getattr(x, "value", x) for n, x in values.items()}


def _input(kind: InputKind, example: Example, position: int) -> Any:
    rng = rng_of(example.seed, 3, position)
    if isinstance(kind, Floats):
        values = real_values(kind, kind.dims.shape(example.sizes), example.stratum, rng)
        tensor = torch.as_tensor(np.asarray(values))
        return Const(tensor) if kind.grad is False else tensor
    if isinstance(kind, Ints):
        low, below = (size_expression(b, example.sizes) for b in (kind.low, kind.below))
        dtype = kind.dtypes[example.seed % len(kind.dtypes)]
        if not np.iinfo(dtype).min <= low < below <= np.iinfo(dtype).max + 1:
            raise SpecError(
                f"ints(low={low}, below={below}) has numbers that are no {dtype}, or none at all: {example}"
            )
        return torch.as_tensor(np.asarray(rng.integers(low, below, kind.dims.shape(example.sizes), dtype)))
    known = {**example.sizes, **example.options, "rng": rng}
    return kind.draw(**{n: known[n] for n in inspect.signature(kind.draw).parameters})


def _in_the_other(x: Any) -> Any:
    """A tensor as a NumPy array, an array as a tensor."""
    return x.numpy() if isinstance(x, Tensor) else torch.as_tensor(x) if isinstance(x, np.ndarray) else x


def _prepared_in_either(request: Request, dtype: torch.dtype | None) -> Prepared:
    """Prepared; where nothing tells which library the layer computes with, NumPy's arrays are tried if it refuses tensors, or
    its backward raises with them, and tensors if its keywords alone speak for NumPy: torch takes `axis` and `keepdims` too."""
    try:
        return prepared(request, dtype)
    except (Refused, BackwardRaised):
        if library_of(request.layer) is not None:
            raise
        tensors = any(isinstance(x, Tensor) for x in request.inputs)
        if (tensors and meant_for(request.layer) is not None) or imported_beside(request.layer) is not None:
            raise
        inputs = tuple(_in_the_other(x) for x in request.inputs)
        with suppress(Refused, BackwardRaised):
            return prepared(replace(request, inputs=inputs), dtype)
        raise


def case_of(
    spec: LayerSpec, example: Example, mode: str | None, device: torch.device, dtype: str | None
) -> tuple[Case, Prepared]:
    """The example as a case in one mode: parameters and float buffers drawn, running statistics moved.

    Raises:
        Refused: the layer can't be built here, or its forward refuses the example.
        Contested: it refuses the example and the reference takes it.
    """
    reference = None if spec.reference is None else Reference(spec.reference, {**example.sizes, **example.options})
    with forward_may_refuse():
        request = request_of(spec, example, mode, device)
    try:
        made = _prepared_in_either(request, None if dtype is None else DTYPES[dtype])
    except Refused as refusal:
        if reference is None or not reference.takes(request, mode):
            raise
        raise Contested(str(refusal), str(example)) from refusal
    except BackwardRaised as raised:
        raised.example = str(example)
        raise
    case = _drawn(spec, example, mode, made.subject, reference)
    sizes, buffers = {**rates_of(request.layer), **case.sizes}, moved_buffers(case, spec, example)
    return case.at(sizes=sizes, buffers=buffers), made


def _drawn(spec: LayerSpec, example: Example, mode: str | None, subject: Subject, reference: Reference | None) -> Case:
    """The subject with its parameters redrawn, and what the spec says of it."""
    names = {**example.sizes, **example.options}
    return Case(
        subject,
        redrawn(subject, example.seed),
        subject.buffers,
        mode,
        example.seed,
        resolution=spec.resolution,
        label=str(example),
        sizes=names,
        reference=reference,
        declared=None if spec.derivative_of is None else Reference(spec.derivative_of, names, "derivative_of"),
        domains=domains(spec, subject),
        promises=spec.promises,
        batch=batch_dimension(spec),
        handed=not {"generator", "rng"}.isdisjoint(spec.build_arguments()),
    )


BATCHES = frozenset({"B", "N", "batch", "batch_size"})
"""How people name the dimension of the examples."""


def batch_dimension(spec: LayerSpec) -> str:
    """The dimension that begins the first input's shape; empty where none does, or where a later one is named as the batch
    (examples that stand in columns). Where the layer is built with it or indices go up to it (a table, and the rows to take
    of it) it is the one that begins another input's shape, if it is named as the batch."""
    no_batch = {*spec.build_arguments(), *(n for kind in spec.kinds for n in bound_names(kind))}
    name, columns = _first_dimension(spec.kinds[0])
    if columns or name not in no_batch:
        return "" if columns else name
    others = (_first_dimension(kind)[0] for kind in spec.kinds[1:])
    return next((n for n in others if n in BATCHES - no_batch), "")


def _first_dimension(kind: InputKind) -> tuple[str, bool]:
    """The dimension that an input's shape begins with, a starred one if more come after it; and whether a later one is named as
    the batch and it is not."""
    first, *rest = (None,) if isinstance(kind, Drawn) or not kind.dims.parts else kind.dims.parts
    name = first.id if isinstance(first, ast.Name) else first if isinstance(first, str) and rest else ""
    later = {part.id for part in rest if isinstance(part, ast.Name)}
    return name, name not in BATCHES and bool(later & BATCHES)


def domains(spec: LayerSpec, subject: Subject) -> dict[str, InputKind]:
    """{input: what the spec says of it}."""
    inputs = [n for n, leaf in subject.leaves.items() if leaf.role == "input"]
    return dict(zip(inputs, spec.kinds, strict=False))


def redrawn(subject: Subject, seed: int) -> dict[str, Tensor]:
    """The leaves' values with parameters drawn anew."""
    values = subject.values()
    for k, (name, leaf) in enumerate(subject.leaves.items()):
        if leaf.role == "parameter" and leaf.value.is_floating_point():
            values[name] = parameter_like(leaf.value, rng_of(seed, 4, k))
    return values


def moved_buffers(case: Case, spec: LayerSpec, example: Example) -> dict[str, Tensor]:
    """Float buffers away from their initial values, by one to three train forwards on other data.

    A layer whose train forward moves nothing keeps its buffers, and every layer those that it does not move: constants are not
    drawn, the layer may rely on them. Where train refuses the example (a batch of one), a batch of three moves them.
    """
    buffers = {n: t.clone() for n, t in case.buffers.items()}
    if not buffers or "train" not in case.subject.modes:
        return buffers
    with suppress(Refused):
        return _trained(case, buffers, spec, example)
    with suppress(Refused):
        return _trained(case, buffers, spec, _of_three(example, case.batch))
    return buffers


def _trained(case: Case, buffers: dict[str, Tensor], spec: LayerSpec, example: Example) -> dict[str, Tensor]:
    train = case.at(mode="train")
    for k in range(1 + example.seed % 3):
        other = {**train.leaves, **_other_inputs(spec, example, train, k)}
        after = train.at(buffers=buffers).forward(other, seed=example.seed + k).buffers()
        if all(bool(torch.isfinite(t).all()) for t in after.values()):
            buffers = {n: after[n].detach().clone() for n in buffers}
    return buffers


def _of_three(example: Example, batch: str) -> Example:
    """The example with three beside each other; itself where it is not known which dimension that is."""
    size = example.sizes.get(batch, ())
    wide = 3 if isinstance(size, int) else (3, *size[1:]) if size else None
    return example if wide is None else replace(example, sizes={**example.sizes, batch: wide})


def _other_inputs(spec: LayerSpec, example: Example, case: Case, k: int) -> dict[str, Tensor]:
    """Real inputs drawn from another seed."""
    again = replace(example, seed=example.seed + 1 + k)
    values = drawn(domains(spec, case.subject), again)
    return {n: torch.as_tensor(x).to(case.leaves[n]) for n, x in values.items()}
