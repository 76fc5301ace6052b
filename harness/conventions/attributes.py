"""A class with `forward` and `backward` that keeps its parameters and gradients on itself."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from harness.domain import Refused
from harness.outcome import SpecError
from harness.reading.modes import forward_of
from harness.request import Request, positional_names, required_names
from harness.state.discovery import discovered
from harness.state.stateful import Stateful, has_backward
from harness.state.whole import unbound
from harness.subject import Subject
from harness.tensors.arrays import to_native

ORDER = 40


BUILDS = (
    *("set_input_shape", "build", "initialize", "initialise", "init_weights", "initialize_weights", "init_params"),
    *("init_parameters", "initialize_params", "initialize_parameters", "reset_parameters", "setup"),
)
"""What is called to have the parameters made, with the shape of the input or nothing; the first of two first."""


def recognises(layer: Any) -> bool:
    """Whether it is an object with forward and backward."""
    return has_backward(layer)


def subject(request: Request) -> Subject:
    """The layer as a subject.

    Raises:
        SpecError: `grads` names a parameter or gradient that isn't there, or it is a whole model that goes back from targets.
        Refused: the forward refuses the inputs.
        BackwardRaised: the backward raised.
    """
    if said := unbound(request.layer, request.inputs):
        raise SpecError(said)
    try:
        made = discovered(Stateful.of(request))
    except Refused:
        if (found := _built(request)) is None:
            raise
        request, made = found
    return replace(made, notes=(*made.notes, *_derivative(request, made)))


def _built(request: Request) -> tuple[Request, Subject] | None:
    """The layer after its own `build(input_shape)`, or `set_input_shape(shape)` and `initialize()`, by which the caller is to have
    the parameters made: of the whole shape, or without the batch; None where it has no such method, or its forward refuses the
    inputs all the same."""
    shapes = [tuple(x.shape) for x in request.inputs if hasattr(x, "shape")]
    asks = {n: required_names(m) for n in BUILDS if callable(m := getattr(request.layer, n, None))}
    if not shapes or not asks or any(len(names) > 1 for names in asks.values()):
        return None
    for shape in (shapes[0], shapes[0][1:]):
        with suppress(Exception):  # it is for the other of the two
            layer = copy.deepcopy(request.layer)
            for name, names in asks.items():
                getattr(layer, name)(*[shape for _ in names])
            made = discovered(Stateful.of(asked := replace(request, layer=layer)))
            called = ", ".join(f"{made.name}.{n}({shape if names else ''})" for n, names in asks.items())
            return asked, replace(made, notes=(*made.notes, f"{called} was called first"))
    return None


def _derivative(request: Request, made: Subject) -> list[str]:
    """What to write where backward is asked for by the name of the one input, and what it gives for it is the derivative there,
    entry by entry: `forward(X)`, `backward(X)` of an activation."""
    forward, names = forward_of(request.layer) or request.layer.forward, positional_names(request.layer.backward)
    x = next(iter(made.leaves.values())).value if len(made.leaves) == 1 else None
    if x is None or not x.is_floating_point() or names != positional_names(forward) or len(names) != 1:
        return []
    state, h = Stateful.of(request), 1e-4
    call = state.compute
    with suppress(Exception):  # it is no such thing
        up, down = (torch.as_tensor(call(to_native(x + by, state.library))) for by in (h, -h))
        call(to_native(x, state.library))
        once, twice = (torch.as_tensor(state.layer.backward(to_native(by * x, state.library))) for by in (1.0, 2.0))
        slope = (up - down) / (2 * h)
        if torch.allclose(once.double(), slope.double(), 1e-3, 1e-3) and not torch.allclose(twice, 2 * once):
            called = "layer" if forward is request.layer else "layer.forward"
            return [_AS_DERIVATIVE.format(names[0], called)]
    return []


_AS_DERIVATIVE = (
    "backward({0}) is the derivative of forward at {0}, entry by entry, and takes no cotangent: check "
    "lambda {0}: ({1}({0}), lambda v: v * layer.backward({0}))"
)
