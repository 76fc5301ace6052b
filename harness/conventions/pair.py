"""A pair of functions with a cache: `forward(*inputs) -> (out, cache)`, `backward(dout, cache) -> gradients`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from harness.outcome import SpecError
from harness.request import Request, positional_names
from harness.stateless import Stateless
from harness.subject import Subject

ORDER = 10


def recognises(layer: Any) -> bool:
    """Whether it is a tuple of two functions."""
    return isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer))


def subject(request: Request) -> Subject:
    """The pair as a subject; every argument of `forward` is an input.

    Raises:
        SpecError: forward returns no pair (out, cache).
    """
    forward, backward = request.layer
    name = getattr(forward, "__name__", type(forward).__name__).removesuffix("_forward")

    def call(*inputs: Any, **keywords: Any) -> tuple[Any, Any]:
        result = forward(*inputs, **keywords)
        if not isinstance(result, tuple) or len(result) != 2:
            raise SpecError(
                f"{name}: the forward of a pair must return (out, cache); it returned {type(result).__name__}"
                + (f" of {len(result)}" if isinstance(result, tuple) else _as_derivative(forward, backward, inputs))
            )
        out, cache = result
        return out, _Pulling(backward, cache)

    return Stateless.of(request, name, forward, call).subject()


def _as_derivative(forward: Any, backward: Any, inputs: tuple[Any, ...]) -> str:
    """What to write where the second function asks for the one input, as a derivative does."""
    names = [getattr(f, "__name__", "") for f in (forward, backward)]
    if len(inputs) != 1 or len(positional_names(backward)) != 1 or not all(n.isidentifier() for n in names):
        return ""
    f, df = names
    return f"; if {df} is its derivative, entry by entry, check lambda x: ({f}(x), lambda v: v * {df}(x))"


class _Pulling:
    """A backward with its cache, which asks for the cotangents alone."""

    def __init__(self, backward: Callable[..., Any], cache: Any) -> None:
        self.backward, self.cache = backward, cache
        with suppress(TypeError, ValueError):  # a builtin has none
            asked = inspect.signature(backward)
            needed = [p for p in asked.parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
            self.__signature__ = asked.replace(parameters=needed[:-1]) if needed else asked

    def __call__(self, *cotangents: Any) -> Any:
        return self.backward(*cotangents, self.cache)
