"""A whole model that goes back from its targets: what to write instead, for `value_and_grad`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from types import CodeType
from typing import Any

import numpy as np
from torch import Tensor

from harness.reading.handed import GRADIENT, TARGETS, is_named_loss, output_of
from harness.reading.modes import forward_of
from harness.reading.naming import gradient_names
from harness.request import positional_names, required_names

NAMES = ("y", "t", "y_batch", "y_train", "ys", *TARGETS)
"""What a model's backward calls what is to be predicted; capitals count as small letters."""


def targets_of(layer: Any, inputs: Collection[str]) -> list[str]:
    """The targets that its backward asks for and its forward does not."""
    backward = getattr(layer, "backward", None)
    try:
        asked = required_names(backward) if callable(backward) else []
    except (TypeError, ValueError):
        return []
    if output_of(asked, inputs or positional_names(forward_of(layer) or layer.forward)):
        return []
    found = [n for n in asked if n.lower() in NAMES and n not in inputs]
    known = {n.lower() for n in positional_names(forward_of(layer) or layer.forward)}
    return [] if known & {*NAMES} else found


def unbound(layer: Any, inputs: Sequence[Any]) -> str:
    """What to write for a model that was given its targets too; empty where its forward takes all inputs, or it is none."""
    forward = forward_of(layer)
    if forward is None or not targets_of(layer, ()):
        return ""
    try:
        inspect.signature(forward).bind(*inputs)
    except TypeError:
        return advice(layer, targets_of(layer, ()))
    except ValueError:  # a builtin has none
        pass
    return ""


def advice(layer: Any, targets: Sequence[str]) -> str:
    """What to write for such a model."""
    forward, backward = (getattr(layer, n, layer) for n in ("forward", "backward"))
    forward = getattr(forward, "__name__", "__call__")
    back = getattr(backward, "__name__", "backward")
    called = "model" if forward == "__call__" else f"model.{forward}"
    x, y = next(iter(positional_names(forward_of(layer) or layer.forward)), "x"), targets[0]
    asked = required_names(backward)
    others = [n for n in asked if n != y]
    if len(others) == 1 and GRADIENT.search(others[0].lower()) is None:
        x = others[0]  # the input under a name of its own
    given = ", ".join(n if n in (x, y) else "p" for n in asked)
    params, grads = _params_and_grads(layer, getattr(getattr(type(layer), back, None), "__code__", None))
    loss = _loss(layer, x, y)
    return (
        f"{type(layer).__name__}.{back} asks for {y}, which {forward} takes no input for: it gives the gradient of a loss that "
        f"is computed {'elsewhere' if loss else 'nowhere'}. Write the two together, the gradients in the order of params:\n"
        f"    def loss({x}, {y}):\n"
        f"        p = {called}({x})\n"
        f"        grads = model.{back}({given})\n"
        f"        return {loss or '...'}, [{grads}]{'' if loss else f'  # for ... the loss of p and {y}'}\n"
        f"    gradcheck(value_and_grad(loss, params=[{params or '...'}]), {x}, {y})"
    )


def _loss(layer: Any, x: str, y: str) -> str:
    """The call of the model's own loss of inputs and targets, or of what it has predicted; empty where it has none, or several."""
    named = [n for n in dir(type(layer)) if is_named_loss(n) and callable(getattr(type(layer), n))]
    asked = [required_names(getattr(layer, n)) for n in named]
    if len(asked) != 1 or len(asked[0]) != 2:
        return ""
    first, second = ("p" if n not in (x, y) else n for n in asked[0])
    return f"model.{named[0]}({first}, {second})" if y in (first, second) else ""


def _params_and_grads(layer: Any, backward: CodeType | None) -> tuple[str, str]:
    """How the model's parameters are listed, and their gradients: by the names that its backward writes, else as what it returns;
    nothing and dots where no parameter is found."""
    kept = {n: v for n, v in vars(layer).items() if _is_parameter(v)} if hasattr(layer, "__dict__") else {}
    stars = ["*" if isinstance(v, (list, tuple)) else "" for v in kept.values()]
    params = ", ".join(f"{star}model.{n}" for star, n in zip(stars, kept, strict=True))
    written = {*(backward.co_names if backward else ())}
    own = [next((g for g in gradient_names(n) if g in written), "") for n in kept]
    if own and all(own):
        return params, ", ".join(f"{star}model.{g}" for star, g in zip(stars, own, strict=True))
    if len(kept) == 1:
        return params, f"{stars[0]}grads"
    return params, ", ".join(f"{star}grads[{k}]" for k, star in enumerate(stars)) or "..."


def _is_parameter(value: Any) -> bool:
    """Whether it is an array of real numbers, or a list of nothing else."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_parameter, value))
    return (isinstance(value, np.ndarray) and value.dtype.kind == "f") or (
        isinstance(value, Tensor) and value.is_floating_point()
    )
