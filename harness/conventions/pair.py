"""A pair of functions with a cache: `forward(*inputs) -> (out, cache)`, `backward(dout, cache) -> gradients`."""

from __future__ import annotations

from typing import Any

from harness.outcome import SpecError
from harness.request import Request
from harness.stateless import Stateless, takes_one
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
                + (f" of {len(result)}" if isinstance(result, tuple) else "")
            )
        out, cache = result
        if takes_one(backward, beside=1):
            return out, lambda cotangent: backward(cotangent, cache)
        return out, lambda *cotangents: backward(*cotangents, cache)

    return Stateless.of(request, name, forward, call).subject()
