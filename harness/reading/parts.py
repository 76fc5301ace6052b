"""The layers inside a layer, and how all of them begin anew."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from harness.reading.holders import holder, is_mapping
from harness.reading.signatures import asks

RESETS = ("zero_grad", "zero_grads", "flush_gradients", "clear_grads", "cleargrads", "clear_gradients", "reset_grads")
"""What the method is called that zeroes the gradients."""


def parts_of(layer: Any, code: str = "layer", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Every object with a backward below this one, with how a script reaches it."""
    seen = {id(layer)} if seen is None else seen
    for key, value in _below(layer):
        holds = holder(type(value))  # type: ignore[arg-type]
        if id(value) in seen or not (holds or isinstance(value, (FunctionType, ModuleType))):
            continue
        if holds in ("mapping", "sequence"):
            seen.add(id(value))
            yield from parts_of(value, code + _step(layer, key), seen)
        elif (
            hasattr(value, "__dict__") and not hasattr(value, "data_ptr") and callable(getattr(value, "backward", None))
        ):
            seen.add(id(value))
            yield code + _step(layer, key), value
            yield from parts_of(value, code + _step(layer, key), seen)


_NO_OBJECTS = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


def objects_of(thing: Any, code: str = "layer", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """The layer and every object that it holds, an optimizer too, with how a script reaches it."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, _NO_OBJECTS) or hasattr(thing, "data_ptr"):
        return
    seen.add(id(thing))
    if hasattr(thing, "__dict__"):
        yield code, thing
    for key, value in _below(thing):
        yield from objects_of(value, code + _step(thing, key), seen)


def _below(thing: Any) -> Iterable[tuple[Any, Any]]:
    """What it holds, by key, place or name."""
    if is_mapping(thing):
        return list(thing.items())
    if isinstance(thing, (list, tuple)):
        return enumerate(thing)
    return list(vars(thing).items()) if hasattr(thing, "__dict__") else ()


def _step(thing: Any, key: Any) -> str:
    """How a script reaches what it holds under this key."""
    return f"[{key!r}]" if isinstance(thing, (list, tuple)) or is_mapping(thing) else f".{key}"


Reset = tuple[str, Callable[[], object]]


def resets_of(layer: Any) -> list[Reset]:
    """How the layer, first, and every layer inside it begin anew, each by the name of its own method."""
    return [r for part in (layer, *(p for _, p in parts_of(layer))) for r in _reset_of(part, part is layer)]


def _reset_of(layer: Any, own: bool) -> list[Reset]:
    methods = ((name, getattr(layer, name, None)) for name in RESETS)
    found = next(((n, m) for n, m in methods if callable(m) and not asks(m)), None)
    if found is None:
        return []
    name, method = found
    return [(name if own else "", _quiet(method) if isinstance(layer, torch.nn.Module) else method)]


def _quiet(method: Callable[[], object]) -> Callable[[], object]:
    """Without a module's warning of parameters that a recorded forward has tied to leaves."""

    def run() -> object:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")
            return method()

    return run


def reset(ways: Iterable[Reset]) -> str:
    """Have them begin anew: what they keep of earlier forwards may go with their gradients.

    The name of the layer's own method; empty where it has none, or refuses as a frozen layer may.
    """
    done = ""
    for name, method in ways:
        try:
            method()
        except Exception:  # a context manager would take as long as the method
            continue
        done = done or name
    return done
