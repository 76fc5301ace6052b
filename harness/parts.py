"""The layers inside a layer, and how all of them begin anew."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

RESETS = ("zero_grad", "zero_grads", "flush_gradients", "clear_grads", "cleargrads", "clear_gradients", "reset_grads")
"""What the method is called that zeroes the gradients."""


def parts_of(layer: Any, code: str = "layer", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Every object with a backward below this one, with how a script reaches it."""
    seen = {id(layer)} if seen is None else seen
    for step, value in _below(layer):
        if id(value) in seen or isinstance(value, type):
            continue
        if isinstance(value, (list, tuple, Mapping)):
            seen.add(id(value))
            yield from parts_of(value, code + step, seen)
        elif (
            callable(getattr(value, "backward", None)) and hasattr(value, "__dict__") and not hasattr(value, "data_ptr")
        ):
            seen.add(id(value))
            yield code + step, value
            yield from parts_of(value, code + step, seen)


def _below(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        return [(f"[{k!r}]", v) for k, v in thing.items()]
    if isinstance(thing, (list, tuple)):
        return [(f"[{k}]", v) for k, v in enumerate(thing)]
    return [(f".{n}", v) for n, v in vars(thing).items()] if hasattr(thing, "__dict__") else []


def reset(layer: Any) -> str:
    """Run the layer's own way to begin anew, and that of every layer inside it: what they keep of earlier forwards may go
    with their gradients. Its name, empty where the layer itself has none or refuses.
    """
    done = _reset(layer)
    for _, part in parts_of(layer):
        _reset(part)
    return done


def _reset(layer: Any) -> str:
    for name in RESETS:
        method = getattr(layer, name, None)
        if callable(method) and not _asks(method):
            with suppress(Exception):  # a frozen layer refuses
                method()
                return name
    return ""


def _asks(method: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
