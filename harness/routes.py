"""How a script reaches the generators that a layer draws from, and brings them to where `seed` has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from harness.bare import GENERATORS, are_near, code_names, own_classes

_ENDS = (bool, int, float, str, bytes, torch.Tensor, np.ndarray, ModuleType, type(None))
_WRAPPED = (staticmethod, classmethod)


def seedings(generators: Sequence[Any], roots: Mapping[str, Any]) -> list[str]:
    """The lines of a script that bring these generators to where `seed` and the number of each have them.

    Args:
        generators: in the order in which they are seeded; one that can't be reached has no line.
        roots: {what the script calls it: a layer or function}.
    """
    codes = routes(generators, roots)
    return [_seeding(codes[id(g)], g, k) for k, g in enumerate(generators) if id(g) in codes]


def routes(wanted: Sequence[Any], roots: Mapping[str, Any]) -> dict[int, str]:
    """{id of a thing: the shortest way to it}, through attributes, classes, containers, closures, defaults and the globals that
    code names."""
    ids, found, seen = {*map(id, wanted)}, dict[int, str](), set[int]()
    pending = deque(roots.items())
    while pending and len(found) < len(ids):
        code, thing = pending.popleft()
        if id(thing) in seen or isinstance(thing, _ENDS):
            continue
        seen.add(id(thing))
        if id(thing) in ids:
            found[id(thing)] = code
        elif not isinstance(thing, GENERATORS):
            pending.extend((code + step, part) for step, part in _steps(thing))
    return found


def _steps(thing: Any) -> Iterator[tuple[str, Any]]:
    """What stands directly in a thing, and how it is written behind it."""
    if isinstance(thing, Mapping):
        yield from ((f"[{k!r}]", v) for k, v in thing.items() if isinstance(k, (str, int)))
    elif isinstance(thing, (list, tuple)):
        yield from ((f"[{k}]", v) for k, v in enumerate(thing))
    elif isinstance(thing, MethodType):
        yield from ((".__self__", thing.__self__), (".__func__", thing.__func__))
    elif isinstance(thing, partial):
        yield from ((".func", thing.func), (".args", thing.args), (".keywords", thing.keywords))
    elif isinstance(thing, FunctionType):
        yield from _of_function(thing)
    else:
        yield from ((f".{n}", v) for n, v in getattr(thing, "__dict__", {}).items() if not isinstance(thing, type))
        yield from _of_class(thing if isinstance(thing, type) else type(thing))


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in {n: v for k in reversed(own_classes(kind)) for n, v in vars(k).items()}.items():
        plain = value.__func__ if isinstance(value, _WRAPPED) else value
        if isinstance(plain, (FunctionType, type, *GENERATORS)):
            yield f".{name}{'.__func__' if isinstance(value, classmethod) else ''}", plain


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    scope, (names, attributes) = function.__globals__, code_names(function.__code__)
    for name in sorted(names & scope.keys()):
        step, value = f".__globals__[{name!r}]", scope[name]
        if isinstance(value, GENERATORS):
            yield step, value
        elif isinstance(value, ModuleType):  # `settings.rng`
            inside = vars(value)
            yield from (
                (f"{step}.{n}", g) for n in sorted(attributes & inside.keys()) if isinstance(g := inside[n], GENERATORS)
            )
        elif isinstance(value, (FunctionType, type)) and are_near(value.__module__ or "", function.__module__ or ""):
            yield step, value
    for k, cell in enumerate(function.__closure__ or ()):
        yield from ((f".__closure__[{k}].cell_contents", c) for c in _contents(cell))
    yield from ((f".__defaults__[{k}]", v) for k, v in enumerate(function.__defaults__ or ()))
    yield from ((f".__kwdefaults__[{n!r}]", v) for n, v in (function.__kwdefaults__ or {}).items())


def _contents(cell: Any) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # it is not filled yet
        return []


def _seeding(code: str, generator: Any, more: int) -> str:
    """The line that brings a generator to where `seed` and a number have it."""
    number = f"seed + {more}" if more else "seed"
    if isinstance(generator, torch.Generator):
        return f"{code}.manual_seed({number})"
    if isinstance(generator, np.random.Generator):
        return f"{code}.bit_generator.state = type({code}.bit_generator)({number}).state"
    return f"{code}.seed(({number}) % 2**32)"
