"""A backward that gives the gradient of the input, and a method called after it that computes those of parameters: `accumulate()`."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from harness.conventions.around import subject_around
from harness.reading.members import asked_by, is_method, is_object
from harness.reading.scopes import members, own_classes
from harness.request import Request
from harness.state.stateful import has_backward
from harness.subject import Subject

ORDER = 28

NAMES = (
    *("accumulate", "accumulategrad", "accumulategrads", "accumulategradient", "accumulategradients"),
    *("computegrads", "computegradients", "paramgrads", "calcgrads", "weightgrad", "backwardparams"),
)
"""What such a method is called, but for case and underscores."""


def recognises(layer: Any) -> bool:
    """Whether it is an object with both, where no method calls the other itself."""
    return is_object(layer) and has_backward(layer) and bool(_second(layer))


def _second(layer: Any) -> str:
    """The method's name; empty where there is none that needs no argument, or another method of the class calls it."""
    own = [n for n in dir(layer) if n[0] != "_" and n.lower().replace("_", "") in NAMES and is_method(layer, n)]
    methods = [m for m in members(own_classes(type(layer))) if isinstance(m.thing, FunctionType)] if own else []
    called = {name for m in methods for name in m.thing.__code__.co_names if name != m.name}
    return next((n for n in own if n not in called and not asked_by(layer, n)), "")


def subject(request: Request) -> Subject:
    """The layer as a subject, its backward the two, one after the other."""
    layer = InTwo(request.layer)
    forward = ["self.outputs = self.wrapped.forward(*inputs, **words)"]
    back = ["d = self.wrapped.backward(v[0])", f"self.wrapped.{layer.second}()", "return d"]
    return subject_around(request, layer, forward, back, f"backward is taken to be backward and {layer.second}")


class InTwo:
    """The layer with one backward."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped, self.second = wrapped, _second(wrapped)
        self.__signature__ = inspect.signature(getattr(wrapped, "forward", wrapped))

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The outputs."""
        return getattr(self.wrapped, "forward", self.wrapped)(*inputs, **keywords)

    def backward(self, cotangent: Any) -> Any:
        """The gradient of the input, and those of parameters behind it."""
        found = self.wrapped.backward(cotangent)
        getattr(self.wrapped, self.second)()
        return found
