"""What `value_and_grad` makes: a function that returns its loss with the gradients."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from harness.arrays import is_real
from harness.conventions import attributes, dicts
from harness.kinds import Const
from harness.models import ValueAndGrad
from harness.request import Request, call_arguments
from harness.subject import Subject

ORDER = 20


def recognises(layer: Any) -> bool:
    """Whether it was made by `value_and_grad`."""
    return isinstance(layer, ValueAndGrad)


def subject(request: Request) -> Subject:
    """The function as a subject; where the gradients are those of `params` alone, the inputs want none."""
    note = ""
    if len(request.layer.params) and not _of_inputs(request):
        inputs = tuple(Const(x) if is_real(x) else x for x in request.inputs)
        note = f"{request.layer.__name__} returns no gradient of its inputs; not judged"
        request = replace(request, inputs=inputs)
    made: Subject = (dicts if dicts.recognises(request.layer) else attributes).subject(request)
    return replace(made, name=request.layer.__name__, notes=(*made.notes, *([note] if note else [])))


def _of_inputs(request: Request) -> bool:
    """Whether one call of it gives gradients of its inputs beside those of `params`."""
    layer = copy.deepcopy(request.layer)
    arguments = request.arguments(layer)
    values = {n: leaf.value.clone() for n, leaf in request.leaves(arguments).items()}
    layer(*call_arguments(arguments, values, request.library), **request.kwargs)
    return layer.backward() is not None
