"""An operation of somebody's own graph, called on arrays: Chainer's FunctionNode, needle's `gradient(out_grad, node)`, a static
`forward(ctx, ...)`, MyGrad's `backward_var(grad, index)`.

What its two methods are given is told by the names of their parameters.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from harness.conventions import attributes
from harness.reading.members import (
    ALL_COTANGENTS,
    ALL_INPUTS,
    CONTEXTS,
    NODES,
    ONE,
    PAIRS,
    asked_by,
    is_object,
    operation_of,
)
from harness.request import Request, call_arguments, positional_names
from harness.scripts import recipe
from harness.subject import Recipe, Subject

ORDER = 28

INDEXES = ("indexes", "indices", "target_input_indexes", "target_input_indices")
"""Which inputs want a gradient."""


def recognises(layer: Any) -> bool:
    """Whether it has methods under one of these pairs of names that ask for what a graph would give them."""
    return is_object(layer) and operation_of(layer) is not None


def subject(request: Request) -> Subject:
    """The operation as a subject."""
    methods = operation_of(request.layer) or PAIRS[0]
    if len(request.inputs) == 1 and isinstance(request.inputs[0], (list, tuple)):
        request = replace(request, inputs=tuple(request.inputs[0]))
    if len(request.inputs) == 1 and not _is_graph(request, methods):
        plain: Subject = attributes.subject(request)
        return plain
    operation = Operation(request.layer, methods, len(request.inputs))
    made: Subject = attributes.subject(replace(request, layer=operation))
    written = made.recipe and partial(_script, made.recipe, operation, len(request.inputs), request)
    said = f"called as its graph would: {methods[0]}({', '.join(asked_by(request.layer, methods[0]))})"
    said += f", {methods[1]}({', '.join(asked_by(request.layer, methods[1]))})"
    return replace(made, name=type(request.layer).__name__, recipe=written, notes=(said, *made.notes))


def _is_graph(request: Request, methods: tuple[str, str]) -> bool:
    """Whether an operation of one input takes it in a tuple, as a graph gives it, and returns one: a layer may call its array
    `inputs` too."""
    forward, backward = (asked_by(request.layer, n) for n in methods)
    if not {*backward} & {*ALL_COTANGENTS}:
        return True
    made = Operation(copy.deepcopy(request.layer), methods, 1)
    arguments = dict(zip(forward, request.inputs, strict=False))
    values = {n: leaf.value for n, leaf in request.leaves(arguments).items()}
    try:
        return isinstance(made(*call_arguments(arguments, values, request.library)), tuple)
    except Exception:  # it takes the array itself
        return False


class Context(SimpleNamespace):
    """What such a forward saves in: tensors, and whatever it sets."""

    saved: tuple[Any, ...] = ()

    def __setitem__(self, name: str, value: Any) -> None:
        """Some take it for a dict."""
        vars(self)[name] = value

    def __getitem__(self, name: str) -> Any:
        """What was set by this name."""
        return vars(self)[name]

    def save_for_backward(self, *values: Any) -> None:
        """Keep them."""
        self.saved = values

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was kept."""
        return self.saved

    @property
    def saved_values(self) -> Any:
        """The same, one alone as itself (minitorch)."""
        return self.saved[0] if len(self.saved) == 1 else self.saved

    saved_data = saved_tensors


_CONTEXT = """by_key = {"__setitem__": lambda c, k, v: setattr(c, k, v), "__getitem__": lambda c, k: getattr(c, k)}
self.ctx = type("Context", (SimpleNamespace,), by_key)()
self.ctx.save_for_backward = lambda *t, ctx=self.ctx: vars(ctx).update(
    saved_tensors=t, saved_data=t, saved_values=t[0] if len(t) == 1 else t
)"""


def _script(plain: Callable[[], Recipe], operation: Operation, count: int, request: Request) -> Recipe:
    """The script, in which the operation is given what its graph would give it."""
    forward, back = operation.lines(count)
    return recipe.adapted(plain(), operation.wrapped, request.made, forward, back)


class Operation:
    """The operation with a forward of its inputs and a backward of its cotangents."""

    def __init__(self, wrapped: Any, methods: tuple[str, str], count: int) -> None:
        self.wrapped, self._methods = wrapped, methods
        names = [n for n in positional_names(self._forward) if n not in CONTEXTS]
        if self._gathers(names, count):
            names = [f"{names[0].removesuffix('s')}{k}" for k in range(count)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
        self._given = names

    @property
    def _forward(self) -> Callable[..., Any]:
        made: Callable[..., Any] = getattr(self.wrapped, self._methods[0])
        return made

    @staticmethod
    def _gathers(names: Sequence[str], count: int) -> bool:
        """Whether all inputs are given in one tuple."""
        return len(names) == 1 and (count > 1 or names[0] in ALL_INPUTS)

    def __call__(self, *inputs: Any) -> Any:
        """The outputs."""
        self._inputs, self._context = inputs, Context()
        names = asked_by(self.wrapped, self._methods[0])
        context = [self._context] if names[:1] and names[0] in CONTEXTS else []
        rest = [n for n in names if n not in CONTEXTS]
        given = [tuple(inputs)] if self._gathers(rest, len(inputs)) else list(inputs)
        self._outputs = self._forward(*context, *given)
        return self._outputs

    def backward(self, *cotangents: Any) -> Any:
        """The gradients of the inputs."""
        backward = getattr(self.wrapped, self._methods[1])
        asked = asked_by(self.wrapped, self._methods[1])
        if asked[1:2] and asked[1] in ONE:
            return tuple(backward(cotangents[0], k) for k in range(len(self._inputs)))
        node = SimpleNamespace(inputs=list(self._inputs), op=self.wrapped)
        known = {
            **dict.fromkeys(CONTEXTS, self._context),
            **dict.fromkeys(NODES, node),
            **dict.fromkeys(ALL_INPUTS, tuple(self._inputs)),
            **dict.fromkeys(INDEXES, tuple(range(len(self._inputs)))),
            **dict.fromkeys(ALL_COTANGENTS, cotangents),
        }
        rest = iter(cotangents)
        found = backward(*(known[n] if n in known else next(rest) for n in asked))
        return tuple(found) if isinstance(found, (list, tuple)) and len(self._inputs) > 1 else _single(found)

    def lines(self, count: int) -> tuple[list[str], list[str]]:
        """How a script calls the two methods."""
        called = "self.wrapped" if self._methods[0] == "__call__" else f"self.wrapped.{self._methods[0]}"
        names, back = asked_by(self.wrapped, self._methods[0]), f"self.wrapped.{self._methods[1]}"
        asked = asked_by(self.wrapped, self._methods[1])
        saves = bool({*names[:1]} & {*CONTEXTS})
        given = "inputs" if self._gathers([n for n in names if n not in CONTEXTS], count) else "*inputs"
        forward = [
            *(_CONTEXT.splitlines() if saves else ()),
            f"self.outputs = {called}({'self.ctx, ' if saves else ''}{given})",
        ]
        if asked[1:2] and asked[1] in ONE:
            return forward, [f"return [{back}(v[0], k) for k in range({count})]"]
        known = {
            **dict.fromkeys(CONTEXTS, "self.ctx"),
            **dict.fromkeys(NODES, "SimpleNamespace(inputs=list(self.inputs), op=self.wrapped)"),
            **dict.fromkeys(ALL_INPUTS, "self.inputs"),
            **dict.fromkeys(INDEXES, f"tuple(range({count}))"),
            **dict.fromkeys(ALL_COTANGENTS, "v"),
        }
        rest = iter(f"v[{k}]" for k in range(len(asked)))
        return forward, [f"return {back}({', '.join(known[n] if n in known else next(rest) for n in asked)})"]


def _single(found: Any) -> Any:
    return found[0] if isinstance(found, (list, tuple)) and len(found) == 1 else found
