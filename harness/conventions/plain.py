"""A plain callable: a closure `run(*inputs) -> (outputs, pullback)`, or a function of tensors whose backward is autograd's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from dis import get_instructions
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor
from torch.autograd import grad
from torch.nn import Module

from harness.arrays import captured
from harness.nested import leaves_of
from harness.outcome import SpecError
from harness.parts import parts_of
from harness.request import Request, call_arguments, positional_names
from harness.scalars import is_node, node_advice
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
    unrun = [f"`{code}.backward` was not run; use chain({whole}, loss)" for code, whole in _unrun(call).items()]
    if is_node(result):
        raise SpecError(node_advice(result, name))
    if request.library == "numpy":
        raise SpecError(
            f"{name} computes in NumPy and returns no pullback, so there is no backward to check: give a pair "
            "(forward, backward), or a closure run(*inputs) -> (outputs, pullback)"
            + "".join(f"; {n}" for n in (*_valued(result, name), *_flagged(call, name, list(arguments)), *unrun))
        )
    made = traced(request, name, arguments, call, "the backward of a callable is what autograd computes")
    return replace(made, notes=(*unrun, *_unjudged(call, result)))


def _unjudged(function: Any, result: Any) -> list[str]:
    """What is said of tensors that a function computes with and that want a gradient, and of the parameters of modules."""
    outputs = [y for y in leaves_of(result) if isinstance(y, Tensor) and y.requires_grad]
    said = []
    for name, thing in _held(function).items() if outputs else ():
        whole = thing if isinstance(thing, Module) else None
        own = [p for p in whole.parameters() if p.requires_grad] if whole is not None else [thing]
        live = [t for t in own if isinstance(t, Tensor) and t.requires_grad and t.is_leaf]
        found = grad([y.sum() for y in outputs], live, allow_unused=True, retain_graph=True) if live else ()
        if any(g is not None for g in found):
            what = f"the parameters of `{name}`" if whole is not None else f"`{name}`"
            write = "check the module itself" if whole is not None else "hand it over as an input"
            said.append(f"{what}: held by the function and not judged; {write}")
    return said


def _valued(result: Any, name: str) -> list[str]:
    """What to write for `loss(X, y) -> (loss, gradients)`."""
    if not isinstance(result, tuple) or len(result) < 2 or np.ndim(result[0]) or callable(result[0]):
        return []
    return [f"if what it returns beside the loss are its gradients, check value_and_grad({name})"]


FLAGS = ("deriv", "derivative", "derivate", "derive", "der", "prime", "grad", "gradient", "diff")
"""A keyword that asks a function for its derivative instead."""


def _flagged(function: Any, name: str, inputs: list[str]) -> list[str]:
    """What to write for `sigmoid(x, deriv=False)`, whose derivative is at its input or at its output."""
    flag = next((n for n in positional_names(function) if n in FLAGS and n not in inputs), "")
    if not flag or len(inputs) != 1:
        return []
    x, at = inputs[0], f"lambda {inputs[0]}: ({name}({inputs[0]}), lambda v: v * {name}("
    return [f"if {flag}=True gives its derivative, check {at}{x}, {flag}=True)), or {name}({x}) there for {x}"]


def _unrun(function: Any) -> dict[str, str]:
    """{how a function reaches an object with a backward of its own, which autograd goes past: what `chain` is given}."""
    found: dict[str, str] = {}
    for name, thing in _held(function).items():
        if isinstance(thing, (list, tuple, Mapping)):
            inside = [code for code, part in parts_of(thing, name) if has_backward(part)]
            found |= {inside[0]: f"*{name}.values()" if isinstance(thing, Mapping) else f"*{name}"} if inside else {}
        elif not isinstance(thing, (Tensor, type)) and has_backward(thing):
            found[name] = name
    return found


def _held(function: Any) -> dict[str, Any]:
    """What a function computes with beside its arguments: its closure, globals and defaults, or its object's attributes."""
    if isinstance(function, partial):
        return {**_held(function.func), **{type(a).__name__: a for a in function.args}, **function.keywords}
    owner = getattr(function, "__self__", None)
    if owner is None and not isinstance(function, FunctionType):
        owner, function = function, type(function).__call__
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType):
        return {}
    code = function.__code__
    held = dict(zip(code.co_freevars, captured(function), strict=False))
    used = {i.argval for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    held |= {n: function.__globals__[n] for n in used if n in function.__globals__}
    defaults = function.__defaults__ or ()
    held |= dict(zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=False))
    own = getattr(owner, "__dict__", {})
    return held | {f"self.{n}": own[n] for n in code.co_names if n in own}
