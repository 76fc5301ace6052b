"""A plain callable: a closure `run(*inputs) -> (outputs, pullback)`, or a function of tensors whose backward is autograd's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from harness.arrays import captured
from harness.outcome import SpecError
from harness.request import Request, call_arguments
from harness.sources import Sources, forget_kept_normal
from harness.stateful import has_backward
from harness.stateless import Stateless
from harness.subject import Subject
from harness.traced import traced

ORDER = 90


def recognises(layer: Any) -> bool:
    """Whether it can be called."""
    return callable(layer) and not isinstance(layer, type)


def subject(request: Request) -> Subject:
    """The callable as a subject: one call of it shows which of the two it is.

    Raises:
        SpecError: a NumPy function that returns no pullback.
    """
    request, call = request.with_modes(), request.layer
    name = getattr(call, "__name__", type(call).__name__)
    arguments = request.arguments(call)
    keywords = {**request.kwargs, **next(iter(request.modes.values()), {})}
    Sources(request.layer)  # what generators it holds are given back as they are now
    values = {n: leaf.value.clone() for n, leaf in request.leaves(arguments).items()}
    forget_kept_normal()
    result = call(*call_arguments(arguments, values, request.library), **keywords)
    if isinstance(result, tuple) and len(result) == 2 and callable(result[1]):
        return Stateless.of(request, name, call, call).subject()
    if request.library == "numpy":
        raise SpecError(
            f"{name} computes in NumPy and returns no pullback, so there is no backward to check: give a pair "
            "(forward, backward), or a closure run(*inputs) -> (outputs, pullback)"
            + "".join(f"; `{n}.backward` was not run: use chain({n}, loss)" for n in _unrun(call))
        )
    made = traced(request, name, arguments, call, "the backward of a callable is what autograd computes")
    return replace(made, notes=tuple(f"`{n}.backward` was not run; use chain({n}, loss)" for n in _unrun(call)))


def _unrun(function: Any) -> list[str]:
    """The names under which a function holds objects with a backward of their own, which autograd goes past."""
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    held = dict(zip(code.co_freevars, captured(function), strict=False))
    held |= {n: function.__globals__[n] for n in code.co_names if n in function.__globals__}
    return [n for n, thing in held.items() if not isinstance(thing, Tensor) and has_backward(thing)]
