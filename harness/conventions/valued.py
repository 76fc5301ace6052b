"""What `value_and_grad` makes: a function that returns its loss with the gradients."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any

import numpy as np

from harness.conventions import attributes, dicts
from harness.functions.held import held_by
from harness.kinds import Const
from harness.models import ValueAndGrad
from harness.outcome import SpecError
from harness.reading.naming import gradient_names
from harness.request import Request, call_arguments
from harness.spelling import near
from harness.state.whole import NAMES as TARGETS
from harness.subject import Leaf, Subject
from harness.tensors.arrays import is_real
from harness.tensors.nested import leaves_of

ORDER = 20


def recognises(layer: Any) -> bool:
    """Whether it was made by `value_and_grad`."""
    return isinstance(layer, ValueAndGrad)


def subject(request: Request) -> Subject:
    """The function as a subject; where the gradients are those of `params` alone, the inputs want none.

    Raises:
        SpecError: without `params`, it returns gradients that are of no input, or one has the name of nothing that it may be of.
    """
    note, layer = "", request.layer
    arguments, came, missing = _called(request)
    if not len(layer.params) and (write := of_parameters(layer, came, request.leaves(arguments))):
        raise SpecError(f"{layer.__name__} returns gradients of its parameters: write {write}")
    strange = _strange(layer, came, missing, request.leaves(arguments))
    if len(layer.params) and came is None:
        inputs = tuple(Const(x) if is_real(x) else x for x in request.inputs)
        note = f"{layer.__name__} returns no gradient of its inputs; not judged"
        request = replace(request, inputs=inputs)
    made: Subject = (dicts if dicts.recognises(layer) else attributes).subject(request)
    return replace(made, name=layer.__name__, notes=(*made.notes, *filter(None, (note, strange))))


def _called(request: Request) -> tuple[dict[str, Any], Any, list[str]]:
    """Its arguments; what one call of it gives as the gradients of its inputs, None where it has those of `params` alone; and the
    names of those in `params` of which it gives none."""
    layer = copy.deepcopy(request.layer)
    arguments = request.arguments(layer)
    values = {n: leaf.value.clone() for n, leaf in request.leaves(arguments).items()}
    layer(*call_arguments(arguments, values, request.library), **request.kwargs)
    came = layer.backward()
    named = isinstance(layer.params, Mapping) and isinstance(layer.grads, Mapping)
    return arguments, came, [n for n in layer.params if n not in layer.grads] if named else []


def _strange(layer: ValueAndGrad, came: Any, missing: Sequence[str], inputs: Mapping[str, Leaf]) -> str:
    """What is said of gradients whose names are of nothing, as those of what is on the way may be.

    Raises:
        SpecError: one may be that of a parameter without one, or of an input: by its name, or by its shape.
    """
    if not isinstance(came, Mapping):
        return ""
    owner = {alias: n for n in inputs for part in (n, n.rpartition(".")[2]) for alias in (part, *gradient_names(part))}
    strangers = [str(k) for k in came if k not in owner]
    given = {owner[k] for k in came if k in owner}
    wanted = {n: x for n, x in inputs.items() if x.wanted and n not in given and n.lower() not in TARGETS}
    for name in strangers:
        like = [n for n, x in wanted.items() if tuple(x.value.shape) == np.shape(came[name])]
        if of := next(filter(None, (near(name, missing), *missing, near(name, wanted), *like)), ""):
            raise SpecError(
                f"{layer.__name__} returns a gradient named {name!r}, which is that of no parameter or input, and none of "
                f"{of!r}: did you mean {of!r}? A gradient is named as what it is of, {of!r} or {f'd{of}'!r}"
            )
    named = ", ".join(map(repr, strangers))
    return f"{layer.__name__} returns gradients of no parameter or input ({named}); not judged" if strangers else ""


def of_parameters(layer: ValueAndGrad, came: Any, inputs: Mapping[str, Leaf]) -> str:
    """What to write where gradients are of no input, by their names or their shapes; empty where they may be of the inputs."""
    own = {n.replace("self.", "model.", 1): slot.get() for n, slot in held_by(layer.f).items()}
    f = f"model.{layer.__name__}" if isinstance(layer.f, MethodType) else layer.__name__
    if isinstance(came, Mapping):
        given = {part for n in inputs for part in (n, n.rpartition(".")[2])}  # a dict of parameters is an input too
        known = {alias for n in given for alias in (n, *gradient_names(n))}
        names = [str(k) for k in came if k not in known]
        if len(names) < len(came) and not any(map(is_real, leaves_of([*own.values()]))):
            return ""  # it holds no parameters: they are gradients of what is on the way
        return f"value_and_grad({f}, params={_by_name(names, own)})" if names else ""
    parts = [np.shape(g) for g in (came if isinstance(came, (tuple, list)) else [came])]
    if all(a == tuple(x.value.shape) for a, x in zip(parts, inputs.values(), strict=False)) and len(parts) <= len(
        inputs
    ):
        return ""
    found = _by_shape(parts, {n: tuple(v.shape) for n, v in own.items() if is_real(v)})
    if len(found) < len(parts):  # a state after its gradients, as of a recurrent network
        f = f"lambda *xs: {f}(*xs)[:{len(found) + 1}]"
    return f"value_and_grad({f}, params=[{', '.join(found)}])" if found else ""


def _by_shape(parts: Sequence[tuple[int, ...]], arrays: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The arrays of these shapes, each once, as far as there are such."""
    found: list[str] = []
    for part in parts:
        if not (own := next((n for n, shape in arrays.items() if shape == part and n not in found), "")):
            break
        found.append(own)
    return found


def _by_name(names: Sequence[str], own: Mapping[str, Any]) -> str:
    """The dict that has these parameters, or one to be written of attributes and variables of these names."""
    plain = [n if any(k.rpartition(".")[2] == n for k in own) else n.removeprefix("d") for n in names]
    for name, thing in own.items():
        if isinstance(thing, Mapping) and all(n in thing or n.removeprefix("d") in thing for n in names):
            return name
    codes = [next((k for k in own if k.rpartition(".")[2] == n), "...") for n in plain]
    return "{" + ", ".join(f'"{n}": {code}' for n, code in zip(plain, codes, strict=True)) + "}"
