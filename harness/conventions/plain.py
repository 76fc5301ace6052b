"""A plain callable: a closure `run(*inputs) -> (outputs, pullback)`, or a function of tensors whose backward is autograd's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.conventions.valued import of_parameters
from harness.functions.held import held_by, tensors_held
from harness.functions.kept import carries, kept
from harness.functions.sifting import Sifting, beside
from harness.functions.stateless import Stateless
from harness.functions.traced import traced
from harness.models import ValueAndGrad
from harness.outcome import SpecError
from harness.reading.parts import parts_of
from harness.reading.scalars import is_node, node_advice
from harness.replay.sources import beginning, begins_anew, forget_kept_normal, restored_later
from harness.request import Request, positional_names
from harness.state.history import CARRIED
from harness.state.stateful import has_backward
from harness.subject import Leaf, Subject
from harness.tensors.nested import leaves_of

ORDER = 90


def recognises(layer: Any) -> bool:
    """Whether it can be called."""
    return callable(layer) and not isinstance(layer, type)


def subject(request: Request) -> Subject:
    """The callable as a subject: one call of it shows which of the two it is.

    Raises:
        SpecError: a NumPy function that returns no pullback, or `grads` names what a function does not hold.
    """
    request, call = request.with_modes(), request.layer
    name = getattr(call, "__name__", type(call).__name__)
    arguments = request.arguments(call)
    keeping, again = kept(call), beginning(call)
    restored_later(keeping)
    if again is not None:
        again()
    sifting = Sifting(request, arguments, tensors_held(call, arguments) if request.library == "torch" else {})
    forget_kept_normal()
    live = {n: t.requires_grad_(sifting.held[n].tensor.requires_grad) for n, t in sifting.own.items()}
    with sifting.sources.watched():
        result = sifting.called(live)
    if again is None and (names := keeping.moved()) and carries(keeping, lambda: _outputs(sifting, live)):
        begins_anew(call, keeping)
        return _noted(subject(request), name, names)
    if isinstance(result, tuple) and len(result) == 2 and callable(result[1]):
        stateless = Stateless.of(request, name, call, call)
        return beside(stateless, call, stateless.subject())
    unrun = [f"`{code}.backward` was not run; use chain({whole}, loss)" for code, whole in _unrun(call).items()]
    if is_node(result):
        raise SpecError(node_advice(result, name))
    if request.library == "numpy":
        valued = _valued(call, result, name, request.leaves(arguments))
        raise SpecError(
            f"{name} computes in NumPy and returns no pullback, so there is no backward to check: give a pair "
            "(forward, backward), or a closure run(*inputs) -> (outputs, pullback)"
            + "".join(f"; {n}" for n in (*valued, *_flagged(call, name, list(arguments)), *unrun))
        )
    reason = "the backward of a callable is what autograd computes"
    judged = sifting.judged(result, live, name)
    others = sifting.others(live, judged)
    made = traced(request, name, arguments, call, reason, sifting.held, judged)
    said, unclaimed = sifting.told(others, name)
    return replace(made, notes=(*made.notes, *unrun, *said), unclaimed={**unclaimed, **made.unclaimed})


def _outputs(sifting: Sifting, live: Mapping[str, Tensor]) -> list[Tensor]:
    """Those of one call under the first seed; none where it refuses, as what takes its inputs once."""
    sifting.sources.seed(0)
    try:
        return [y.detach().clone() for y in _arrays(sifting.called(live))]
    except Exception:
        return []


def _arrays(result: Any) -> list[Tensor]:
    return [torch.as_tensor(y) for y in leaves_of(result) if isinstance(y, (Tensor, np.ndarray))]


def _noted(made: Subject, name: str, names: Iterable[str]) -> Subject:
    """With a note of what is kept from call to call."""
    return replace(made, notes=(*made.notes, CARRIED.format(name, ", ".join(f"`{n}`" for n in names))))


def _valued(function: Any, result: Any, name: str, inputs: Mapping[str, Leaf]) -> list[str]:
    """What to write for `loss(X, y) -> (loss, gradients)`."""
    if not isinstance(result, tuple) or len(result) < 2 or np.ndim(result[0]) or callable(result[0]):
        return []
    came = result[1] if len(result) == 2 else result[1:]
    write = of_parameters(ValueAndGrad(function), came, inputs) or f"value_and_grad({name})"
    return [f"if what it returns beside the loss are its gradients, check {write}"]


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
    for name, slot in held_by(function).items():
        thing = slot.get()
        if isinstance(thing, (list, tuple, Mapping)):
            inside = [code for code, part in parts_of(thing, name) if has_backward(part)]
            found |= {inside[0]: f"*{name}.values()" if isinstance(thing, Mapping) else f"*{name}"} if inside else {}
        elif not isinstance(thing, (Tensor, type)) and has_backward(thing):
            found[name] = name
    return found
