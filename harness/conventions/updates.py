"""Torch7's three methods and no backward: `updateOutput(x)`, `updateGradInput(x, gradOutput)`, `accGradParameters(x, gradOutput)`."""

from __future__ import annotations

import inspect
from typing import Any

from harness.conventions.around import subject_around
from harness.reading.members import is_object, updates_of
from harness.request import Request
from harness.state.stateful import has_backward
from harness.subject import Subject

ORDER = 30


def recognises(layer: Any) -> bool:
    """Whether it is an object with the first two, and no forward and backward made of them."""
    return is_object(layer) and not has_backward(layer) and updates_of(layer) is not None


def subject(request: Request) -> Subject:
    """The layer as a subject, its backward the last two methods, one after the other."""
    layer = Updated(request.layer)
    forward = [f"self.outputs = self.wrapped.{layer.forward}(*inputs, **words)"]
    first, *others = (f"self.wrapped.{n}(*self.inputs, v[0])" for n in layer.back)
    said = f"backward is taken to be {' and '.join(layer.back)}"
    return subject_around(request, layer, forward, [f"d = {first}", *others, "return d"], said)


class Updated:
    """The layer with a backward."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        self.forward, *self.back = updates_of(wrapped) or ("",)
        self.__signature__ = inspect.signature(getattr(wrapped, self.forward))

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The outputs."""
        self._inputs = inputs
        return getattr(self.wrapped, self.forward)(*inputs, **keywords)

    def backward(self, cotangent: Any) -> Any:
        """The gradient of the input."""
        found, *_ = [getattr(self.wrapped, n)(*self._inputs, cotangent) for n in self.back]
        return found
