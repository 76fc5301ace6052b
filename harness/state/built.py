"""Layers that make their parameters at the first forward: built by one in float32, as their author's first forward was."""

from __future__ import annotations

from typing import Any

import torch

from harness.outcome import SpecError
from harness.reading.modes import forward_of
from harness.request import Request, call_arguments
from harness.state.copies import own_copy
from harness.state.slots import walk


def built(request: Request) -> Any:
    """A copy of the layer that has run one forward in float32, if that has put arrays of it where none were; else None.

    What is made in float32 whatever the inputs are goes over to float64 with everything else, once it is there.
    """
    if isinstance(request.layer, (type, tuple)) or not hasattr(request.layer, "__dict__"):
        return None
    try:
        layer = own_copy(request.layer, torch.float32, request.device)
        before = {slot.label for slot in walk(layer)}
        run(layer, request, torch.float32)
    except (Exception, SystemExit, SpecError):  # it goes no further than before
        return None
    made = (slot.read() for slot in walk(layer) if slot.label not in before)
    return layer if any(t is not None and t.dtype is torch.float32 for t in made) else None


def run(layer: Any, request: Request, dtype: torch.dtype) -> None:
    """One forward of this layer on the inputs in a dtype, in the first of its modes."""
    request = Request(
        layer, request.inputs, request.kwargs, request.modes, dtype=dtype, device=request.device
    ).with_modes()
    forward = forward_of(layer) or layer
    arguments = request.arguments(forward)
    values = {n: leaf.value for n, leaf in request.leaves(arguments).items()}
    (layer if isinstance(layer, torch.nn.Module) else forward)(
        *call_arguments(arguments, values, request.library), **request.keywords
    )
