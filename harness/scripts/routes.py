"""How a script reaches the generators that a layer draws from, and brings them to where `seed` has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from harness.reading.scopes import are_near, members, named, own_classes
from harness.replay.bare import GENERATORS

_ENDS = (bool, int, float, str, bytes, torch.Tensor, np.ndarray, ModuleType, type(None))


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
    for member in {m.name: m for m in members(reversed(own_classes(kind)))}.values():
        if isinstance(member.thing, (FunctionType, type, *GENERATORS)):
            yield member.step, member.thing


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Whatever it holds itself; of what it names beside that, generators and code near it."""
    home = function.__module__ or ""
    for each in named(function, libraries=True):
        own = isinstance(each.home, (CellType, tuple)) or each.home is function.__kwdefaults__
        near = isinstance(each.thing, (FunctionType, type)) and are_near(each.thing.__module__ or "", home)
        if own or near or isinstance(each.thing, GENERATORS):
            yield each.step, each.thing


def _seeding(code: str, generator: Any, more: int) -> str:
    """The line that brings a generator to where `seed` and a number have it."""
    number = f"seed + {more}" if more else "seed"
    if isinstance(generator, torch.Generator):
        return f"{code}.manual_seed({number})"
    if isinstance(generator, np.random.Generator):
        return f"{code}.bit_generator.state = type({code}.bit_generator)({number}).state"
    return f"{code}.seed(({number}) % 2**32)"
