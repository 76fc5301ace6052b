"""Layers whose tensors carry their gradients as an attribute of their own: `self.inp.g = self.out.g @ self.w.t()`, fast.ai's `g`.

Their backward is called without a cotangent: it stands on the tensor that forward returned. So are models of such layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dis import get_instructions
from itertools import pairwise
from types import FunctionType
from typing import Any

import torch

from harness.conventions.around import subject_around
from harness.reading.modes import forward_of
from harness.reading.parts import parts_of
from harness.request import Request, call_arguments, required_names
from harness.state.copies import own_copy
from harness.state.stateful import has_backward
from harness.subject import Subject

ORDER = 32

MARK = "g"
"""What the gradient of a tensor is called on it."""


def recognises(layer: Any) -> bool:
    """Whether its backward asks for nothing and writes a gradient to what stands on the layer or is handed to another method."""
    if isinstance(layer, (type, torch.nn.Module)) or not has_backward(layer) or required_names(layer.backward):
        return False
    return any(_accesses(layer, "STORE_ATTR"))


def _accesses(layer: Any, operation: str) -> Iterator[bool]:
    """Whether each method, the layers' inside it too, has a line that writes, or reads, the `g` of something that is not the
    object itself, `self.inp.g`."""
    kinds = dict.fromkeys(k for part in (layer, *(p for _, p in parts_of(layer))) for k in type(part).__mro__)
    for code in (m.__code__ for k in kinds for m in vars(k).values() if isinstance(m, FunctionType)):
        steps = [s for s in get_instructions(code) if s.opname != "CACHE"]
        named = [before.argval for before, s in pairwise(steps) if (s.opname, s.argval) == (operation, MARK)]
        yield any(name not in code.co_varnames[:1] for name in named)


def subject(request: Request) -> Subject:
    """The layer as a subject, the cotangent put where its backward looks for it."""
    kind = Marked if any(_accesses(request.layer, "LOAD_ATTR")) and _awaits(request) else MarkedLoss
    forward = ["self.outputs = self.wrapped(*inputs, **words)"]
    mark = [f"self.outputs.{MARK} = v[0]"] if kind is Marked else []
    back = [*mark, "self.wrapped.backward()", f"return [getattr(x, {MARK!r}, None) for x in self.inputs]"]
    return subject_around(request, kind(request.layer), forward, back)


def _awaits(request: Request) -> bool:
    """Whether a backward goes through only where its outputs have the mark: a model with its loss inside reads those of its layers
    alone, which it has put there itself."""
    layer = own_copy(request.layer, request.dtype, request.device)
    forward = forward_of(layer) or layer
    arguments = request.arguments(forward)
    values = {n: leaf.value.clone() for n, leaf in request.leaves(arguments).items()}
    try:
        forward(*call_arguments(arguments, values, request.library), **request.keywords)
        layer.backward()
    except Exception:
        return True
    return False


class _Carrying:
    """The layer, its inputs and outputs at hand after a forward."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.__signature__ = inspect.signature(forward_of(wrapped) or wrapped)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The outputs."""
        self._inputs = inputs
        self._outputs = self.wrapped(*inputs, **keywords)
        return self._outputs

    def _pulled(self) -> Any:
        """The gradients of its inputs, taken off them: only what stands on parameters is looked for on the layer."""
        self.wrapped.backward()
        found = [vars(x).pop(MARK, None) if hasattr(x, "__dict__") else None for x in self._inputs]
        return found[0] if len(found) == 1 else tuple(found)


class MarkedLoss(_Carrying):
    """A loss, which needs no cotangent."""

    def backward(self) -> Any:
        """The gradients that its inputs have after its backward."""
        return self._pulled()


class Marked(_Carrying):
    """The layer with a backward of a cotangent, which it puts where the layer looks for it."""

    def backward(self, cotangent: Any) -> Any:
        """The gradients that its inputs have after its backward."""
        setattr(self._outputs, MARK, cotangent)
        found = self._pulled()
        vars(self._outputs).pop(MARK, None)
        return found
