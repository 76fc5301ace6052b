"""A function on arrays whose `__call__` keeps what its backward reads: dezero's `self.inputs`, variables that hold `data`."""

from __future__ import annotations

import inspect
from dataclasses import replace
from dis import get_instructions
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from harness.conventions import attributes
from harness.request import Request
from harness.state.stateful import has_backward
from harness.subject import Subject
from harness.tensors.nested import leaves_of

ORDER = 35

INPUTS, OUTPUTS = ("inputs", "input"), ("outputs", "output")
"""Where `__call__` keeps its variables; the first of each holds all of them."""


class Variable(np.ndarray[Any, Any]):
    """An array that is its own `data`, and what a weak reference to it gives."""

    @property
    def data(self) -> Any:
        """The array."""
        return self.view(np.ndarray)

    def __call__(self) -> Variable:
        """Itself."""
        return self


def recognises(layer: Any) -> bool:
    """Whether its backward reads variables that its `__call__` keeps and its forward, which takes arrays, does not."""
    return not isinstance(layer, type) and has_backward(layer) and bool(_kept(layer))


def _kept(layer: Any) -> frozenset[str]:
    kind = type(layer)
    called, forward, backward = (getattr(kind, n, None) for n in ("__call__", "forward", "backward"))
    if called is None or forward is None or kind.__module__.startswith("torch."):
        return frozenset()
    kept = _attributes(called, "STORE_ATTR") - _attributes(forward, "STORE_ATTR")
    return kept & _attributes(backward, "LOAD_ATTR", "LOAD_METHOD") & {*INPUTS, *OUTPUTS}


def _attributes(function: Any, *operations: str) -> frozenset[str]:
    code = getattr(function, "__code__", None)
    return _named(code, operations) if isinstance(code, CodeType) else frozenset()


@lru_cache(256)
def _named(code: CodeType, operations: tuple[str, ...]) -> frozenset[str]:
    """What the operations in it name: read once, and asked of a layer's class at every example."""
    return frozenset(i.argval for i in get_instructions(code) if i.opname in operations)


def subject(request: Request) -> Subject:
    """The function as a subject, on arrays, its variables kept as its `__call__` would."""
    made = attributes.subject(replace(request, layer=Called(request.layer)))
    return replace(made, name=type(request.layer).__name__, recipe=None)


class Called:
    """The function, called on arrays."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.__signature__ = inspect.signature(function.forward)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Its outputs."""
        result = self.function.forward(*inputs, **keywords)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        for names, arrays in ((INPUTS, inputs), (OUTPUTS, outputs)):
            variables = [_variable(x) for x in arrays]
            for name, value in zip(names, (variables, variables[0]), strict=True):
                if name in _kept(self.function):
                    setattr(self.function, name, value)
        return result

    def backward(self, *cotangents: Any) -> Any:
        """The gradients of its inputs, as arrays."""
        found = self.function.backward(*(_variable(v) for v in cotangents))
        arrays = tuple(_array(g) for g in leaves_of(found))
        return arrays if isinstance(found, (tuple, list)) else arrays[0]


def _variable(value: Any) -> Any:
    return np.asarray(value).view(Variable) if isinstance(value, (np.ndarray, np.generic)) else value


def _array(value: Any) -> Any:
    """The array of a gradient that is a variable, of whatever class."""
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    held = getattr(value, "data", value)
    return held.view(np.ndarray) if isinstance(held, np.ndarray) else value
