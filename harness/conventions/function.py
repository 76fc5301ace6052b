"""`torch.autograd.Function`: static forward and backward, applied through autograd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from harness.functions.held import tensors_around
from harness.functions.sifting import Sifting
from harness.functions.traced import traced
from harness.request import Request, positional_names
from harness.subject import Subject

ORDER = 0


def recognises(layer: Any) -> bool:
    """Whether it is a subclass of torch.autograd.Function, or the `apply` of one."""
    layer = _function(layer)
    return isinstance(layer, type) and issubclass(layer, torch.autograd.Function)


def _function(layer: Any) -> Any:
    """`Square` for `Square.apply`, which torch's own gradcheck is given."""
    return getattr(layer, "__self__", None) if getattr(layer, "__name__", "") == "apply" else layer


def subject(request: Request) -> Subject:
    """The Function as a subject. Its backward is what autograd runs, so differences are the only oracle."""
    function = _function(request.layer)
    request = replace(request, layer=function)
    names = positional_names(function.forward)
    if function.setup_context is torch.autograd.function._SingleLevelFunction.setup_context:
        names = names[1:]  # forward(ctx, ...)
    arguments = {(names[k] if k < len(names) else f"input{k}"): v for k, v in enumerate(request.inputs)}
    reason = "the backward of an autograd.Function is what autograd runs"
    held = tensors_around(function)
    made = traced(request, function.__name__, arguments, function.apply, reason, held)
    if not held and not request.grads:
        return made
    sifting = Sifting(replace(request, layer=function.apply).with_modes(), arguments, held)
    live = sifting.own
    judged = sifting.judged(sifting.called(live), live, function.__name__)
    said, unclaimed = sifting.told(sifting.others(live, judged), function.__name__)
    return replace(made, notes=(*made.notes, *said), unclaimed={**unclaimed, **made.unclaimed})
