"""Random generators: where they are found, in a layer, in its class and in the file that its code is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from harness.reading.scopes import are_near, captured, members, named, own_classes
from harness.replay.bare import GENERATORS, generators_named, is_bare, kind_of


def generators_in(*roots: Any) -> list[Any]:
    """Every generator object reachable from these objects through attributes, containers, closures and defaults."""
    return reachable(GENERATORS, *roots)


_WITHOUT_PARTS = (bool, int, float, str, bytes, torch.Tensor, np.ndarray, ModuleType)


def reachable(kinds: tuple[type, ...], *roots: Any) -> list[Any]:
    """Every object of these types reachable through attributes, containers, closures and defaults."""
    return [thing for thing in _walked(roots, kinds) if _is_among(type(thing), kinds)]  # type: ignore[arg-type]


@lru_cache(4096)
def _is_among(kind: type, kinds: tuple[type, ...]) -> bool:
    """`issubclass`, of which torch's own answer is slow."""
    return issubclass(kind, kinds)


def _walked(roots: Iterable[Any], ends: tuple[type, ...] = ()) -> Iterator[Any]:
    """Every object reachable from these, each once, but what is reachable through one of the types `ends` alone."""
    seen: set[int] = set()
    pending = list(roots)
    while pending:
        thing = pending.pop()
        kind: Any = type(thing)
        if thing is None or id(thing) in seen or _is_among(kind, _WITHOUT_PARTS):
            continue
        seen.add(id(thing))
        yield thing
        if not _is_among(kind, ends):
            pending.extend(_parts(thing))


def generators_around(*roots: Any) -> list[Any]:
    """Every generator that stands in the class of one of these objects, or in a module whose code names it."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending: list[Any] = [t if isinstance(t, (type, FunctionType)) else type(t) for t in _walked(roots, GENERATORS)]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, type) and is_bare(thing):
            found |= {id(g): g for g in generators_named(thing)}
            continue
        for value in _beside(thing):
            kind = kind_of(value)
            if kind == "generator":
                found[id(value)] = value
            elif kind == "code" and (isinstance(thing, type) or _is_near(value, thing)):
                pending.append(value)  # a class has the methods of those above it, wherever they are
    return list(found.values())


def _is_near(thing: Any, other: Any) -> bool:
    """Whether a function or class is of the same package as another, or of no package that somebody has installed."""
    return are_near(thing.__module__ or "", other.__module__ or "")


def _beside(thing: type | FunctionType) -> list[Any]:
    """What stands in a class and those above it, or what the code of a function names beside its arguments."""
    found = members(own_classes(thing)) if isinstance(thing, type) else named(thing, libraries=True)
    return [each.thing for each in found]


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    parts = list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    parts += captured(thing)
    if isinstance(thing, FunctionType):
        parts += [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    if isinstance(thing, partial):
        parts += [thing.func, thing.args, thing.keywords]
    parts += [
        getattr(thing, n)
        for kind in type(thing).__mro__
        for n in getattr(kind, "__slots__", ())
        if n[:2] != "__" and hasattr(thing, n)
    ]
    if hasattr(thing, "__self__"):
        parts += [thing.__self__, getattr(thing, "__func__", None)]
    return parts
