"""A `torch.library` operator: what `custom_op` makes, or what is called through `torch.ops`."""

from __future__ import annotations

from typing import Any

import torch

from harness.functions.traced import traced
from harness.request import Request
from harness.subject import Subject

ORDER = 80


def recognises(layer: Any) -> bool:
    """Whether it has an operator's schema."""
    return _schema(layer) is not None


def _schema(layer: Any) -> Any:
    if isinstance(layer, torch._ops.OpOverloadPacket):
        layer = getattr(layer, layer.overloads()[0])  # type: ignore[no-untyped-call]
    return getattr(getattr(layer, "_opoverload", layer), "_schema", None)


def subject(request: Request) -> Subject:
    """The operator as a subject, its inputs named by its schema."""
    schema = _schema(request.layer)
    names = [a.name for a in schema.arguments if a.name not in request.kwargs]
    arguments = dict(zip(names, request.inputs, strict=False))
    reason = "the backward of an operator is what autograd runs"
    return traced(request, schema.name.rpartition("::")[2], arguments, request.layer, reason)
