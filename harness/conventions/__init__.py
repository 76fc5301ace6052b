"""The conventions in which people write backward passes, one module each.

A module here offers `ORDER` (lower is asked first), `recognises(layer) -> bool` and `subject(request) -> Subject`.
It is found by being here: adding one touches no other file.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType, ModuleType
from typing import Any

from harness.outcome import SpecError
from harness.reading.modes import forward_of
from harness.reading.scalars import is_node, node_advice
from harness.reading.scopes import members, own_classes
from harness.replay.settings import settings_kept
from harness.request import Request, positional_names
from harness.subject import Subject


@cache
def conventions() -> tuple[ModuleType, ...]:
    """Every convention, in the order in which they are asked."""
    modules = [import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)]
    return tuple(sorted((m for m in modules if hasattr(m, "ORDER")), key=lambda m: m.ORDER))


def subject_of(request: Request) -> Subject:
    """The layer as a subject, by the first convention that recognises it.

    Raises:
        SpecError: none does.
    """
    for convention in conventions():
        if convention.recognises(request.layer):
            with settings_kept():  # what a first forward leaves changed would be no change in the next
                made: Subject = convention.subject(request)
            return made
    raise SpecError(_unrecognised(request.layer))


def _unrecognised(layer: Any) -> str:
    if isinstance(layer, type):
        return f"{layer.__name__} is a class: a layer is needed, such as {layer.__name__}(...)"
    kind = type(layer).__name__
    if isinstance(layer, tuple) and callable(getattr(layer, "backward", None)):
        return (
            f"{kind} is a tuple, which is taken for a pair (forward, backward), and can keep nothing for its backward: make it a "
            f"class or a dataclass, @dataclass instead of NamedTuple"
        )
    if methods := _without_names(layer):
        return methods
    parts = [n for n in ("forward", "backward", "__call__") if hasattr(layer, n)]
    missing = [n for n in ("forward", "backward") if n not in parts and not (n == "forward" and "__call__" in parts)]
    others = {n: near for n in missing if (near := _near(layer, n))}
    if others:
        renamed = f"{', '.join(f'layer.{n}' for n in others)} = {', '.join(f'layer.{m}' for m in others.values())}"
        return (
            f"{kind} is no layer that can be checked: it has {' and '.join(f'`{m}`' for m in others.values())}, which should be "
            f"named {' and '.join(others)}; before the check write {renamed}"
        )
    if partial := _one_by_one(layer):
        return f"{kind} is no layer that can be checked: it has a gradient for each input and no backward; check a closure, {partial}"
    if is_node(layer):
        return node_advice(layer)
    if callable(getattr(layer, "loss", None)):
        params = next((n for n in ("params", "parameters", "weights") if hasattr(layer, n)), "")
        given = f"layer.loss, params=layer.{params}" if params else "layer.loss"
        return (
            f"{kind} is no layer that can be checked: it has a loss and no backward; if the loss returns its gradients too, "
            f"check value_and_grad({given})"
        )
    if callable(getattr(layer, "fit", None)):
        return (
            f"{kind} is no layer that can be checked: its gradients are inside `fit`; write them in a function of their own beside "
            "the loss, def loss(X, y): ... return loss, [dw, db], and check value_and_grad(loss, params=[model.w, model.b])"
        )
    return (
        f"{kind} is no layer that can be checked: it has {' and '.join(parts) or 'no forward'}. "
        "Give an object with forward and backward, a pair (forward, backward) of functions, a torch.autograd.Function, "
        "a torch.nn.Module, a callable of tensors, or a closure run(*inputs) -> (outputs, pullback)"
    )


def _without_names(layer: Any) -> str:
    """What to write for an object whose two methods have names that nobody knows; empty where it has more, or fewer."""
    own = members(own_classes(type(layer)))
    methods = list(dict.fromkeys(m.name for m in own if m.name[0] != "_" and isinstance(m.thing, FunctionType)))
    if len(methods) != 2 or {*methods} & {"forward", "backward", "loss", "fit"} or callable(layer):
        return ""
    first, second = methods
    return (
        f"{type(layer).__name__} is no layer that can be checked: it has no forward and no backward, but `{first}` and `{second}`; "
        f"before the check write layer.forward, layer.backward = layer.{first}, layer.{second} if they are these two, or check a "
        f"closure, lambda x: (layer.{first}(x), lambda v: v * layer.{second}(x)) if the second is the derivative"
    )


_OF_ONE = ("gradient_{}", "grad_{}", "backward_{}", "derivative_{}", "d{}", "d_{}", "d_d{}")
"""What methods may be called of which each gives one input's gradient."""


def _one_by_one(layer: Any) -> str:
    """The closure to check where each input has a method for its gradient; empty where not."""
    if isinstance(layer, type) or not callable(forward := forward_of(layer)):
        return ""
    inputs = positional_names(forward)
    named = [next((n for w in _OF_ONE if callable(getattr(layer, n := w.format(x), None))), "") for x in inputs]
    if not inputs or not all(named):
        return ""
    parts = []
    for name in named:
        asked = positional_names(getattr(layer, name))
        given = ", ".join(n if n in inputs else "v" for n in asked)
        parts.append(f"layer.{name}({given})" if {*asked} - {*inputs} else f"v * layer.{name}({given})")
    xs = ", ".join(inputs)
    pulled = parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
    called = "layer" if forward is layer else "layer.forward"
    return f"lambda {xs}: ({called}({xs}), lambda v: {pulled})"


def _near(layer: Any, name: str) -> str:
    """The method that may be what is called `name` here; empty where there is none."""
    methods = [n for n in dir(layer) if n != name and not n.startswith("__") and callable(getattr(layer, n, None))]
    longer = [n for n in methods if n.startswith(name)]
    return (longer or get_close_matches(name, methods, 1, 0.8) or [""])[0]
