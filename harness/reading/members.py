"""What methods an object or a class has and what they ask for; how a derivative or an operation of a graph calls its two."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from harness.reading.signatures import parameters_of

FUNCTIONS = (
    *("forward", "__call__", "call", "loss", "cost", "function", "func", "fn", "f", "activate", "activation"),
    *("compute", "apply", "propagate", "evaluate", "value", "compute_loss", "apply_activation"),
)
"""What a function is called that has a derivative beside it; the first that is there."""

DERIVATIVES = (
    "gradient",
    "grad",
    "derivative",
    "deriv",
    "derivate",
    "prime",
    "df",
    "differentiate",
    "local_grad",
    "local_gradient",
    "compute_derivative",
    "compute_gradient",
)
"""What its derivative is called, alone or beside the function's name: `activation_prime`, `dloss`."""

CONTEXTS = ("ctx", "context")
"""An object that an operation's forward saves in and backward reads."""

NODES = ("node",)
"""An object whose `inputs` are those of forward."""

ALL_INPUTS = ("inputs", "input_vals", "in_data", "xs")
"""The inputs in one tuple."""

ALL_COTANGENTS = ("grad_outputs", "gys", "output_grads", "out_grads")
"""The cotangents in one tuple."""

ONE = ("index",)
"""Which input one call of backward is for."""

PAIRS = (("forward", "backward"), ("compute", "gradient"), ("__call__", "backward_var"))
"""What forward and backward of an operation are called."""


def is_method(layer: Any, name: str) -> bool:
    """Whether an object has this method, or a class defines it."""
    if isinstance(layer, type):
        return inspect.isfunction(function_of(layer, name))
    member = getattr(layer, name, None)
    return callable(member) and not hasattr(member, "shape")


def function_of(kind: type, name: str) -> Any:
    """The function that a class has under this name; None where it has none."""
    member = inspect.getattr_static(kind, name, None)
    return getattr(member, "__func__", member)


def asked_by(layer: Any, name: str) -> list[str]:
    """The positional parameters without a default of a method, without `self`."""
    try:
        if not isinstance(layer, type):
            parameters = parameters_of(getattr(layer, name, None))
        else:
            parameters = parameters_of(function_of(layer, name))
            static = isinstance(inspect.getattr_static(layer, name, None), staticmethod)
            parameters = parameters if static else parameters[1:]
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty]


def derivative_of(layer: Any) -> tuple[str, str] | None:
    """The names of a function and its derivative; None where there are none."""
    for function in FUNCTIONS:
        if not is_method(layer, function):
            continue
        stem = function.strip("_")
        beside = [n for d in DERIVATIVES for n in (d, f"{stem}_{d}", f"{d}_{stem}")]
        for name in (*beside, f"d{stem}", f"d_{stem}"):
            if is_method(layer, name):
                return function, name
    own = [n for n in dir(layer if isinstance(layer, type) else type(layer)) if n[0] != "_" and is_method(layer, n)]
    others = [(n, f"{n}_{d}") for n in own for d in DERIVATIVES if f"{n}_{d}" in own]
    return others[0] if len(others) == 1 else None  # `sigmoid` and `sigmoid_prime`


def is_named_derivative(name: str, other: str) -> bool:
    """Whether a function of this name may have the other as its derivative: `tanh` and `tanh_prime`, `relu` and `d_relu`."""
    return other in {f"{a}{_}{b}" for d in DERIVATIVES for _ in ("_", "") for a, b in ((name, d), (d, name))} | {
        f"d{name}",
        f"d_{name}",
    }


def operation_of(layer: Any) -> tuple[str, str] | None:
    """The names of the two methods of an operation, which ask for what a graph would give them; None where it is none."""
    for pair in PAIRS:
        if all(is_method(layer, n) for n in pair) and _asks_of_graph(*(asked_by(layer, n) for n in pair)):
            return pair
    return None


UPDATES = (
    ("updateoutput",),
    ("updategradinput",),
    ("accgradparameters", "accgradparams", "updategradparameters", "updategradparams", "accgrad"),
)
"""What Torch7's three methods are called, but for case and underscores; a layer without parameters has no third."""


def updates_of(layer: Any) -> tuple[str, ...] | None:
    """What they are called of an object or class; None where it has not the first two."""
    own = {n.lower().replace("_", ""): n for n in dir(layer) if not n.startswith("__") and is_method(layer, n)}
    found = [next((own[n] for n in names if n in own), "") for names in UPDATES]
    return tuple(filter(None, found)) if found[0] and found[1] else None


def _asks_of_graph(forward: Sequence[str], backward: Sequence[str]) -> bool:
    saved = bool({*forward[:1]} & {*CONTEXTS}) and bool({*backward[:1]} & {*CONTEXTS})
    gathered = forward[:1] != backward[:1] or len(backward) == 2
    tuples = len(forward) == 1 and gathered and bool({*backward} & {*ALL_COTANGENTS}) and len(backward) > 1
    return saved or tuples or bool({*backward} & {*NODES}) or (len(backward) == 2 and backward[1] in ONE)


def is_object(layer: Any) -> bool:
    """Whether it is an object of some class that is no module, tensor, function, tuple or list."""
    return not isinstance(layer, (type, torch.nn.Module, torch.Tensor, tuple, list)) and not hasattr(layer, "__code__")
