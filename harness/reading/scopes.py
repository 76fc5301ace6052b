"""What code names outside itself: what closures, globals and defaults hold for a function, and what stands in classes.

Each search goes through this one walk and keeps what it is for: arrays, generators, learning rates, other code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dis import get_instructions
from functools import cache, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple


class Named(NamedTuple):
    """A thing that code names, and where it stands."""

    name: str
    """What the code calls it, such as `W` or `settings.W`."""
    thing: Any
    home: Any
    """The dict or tuple in which it is an entry, or the cell, module or class of which it is an attribute."""
    key: str | int
    step: str
    """How a script reaches it from the function or class, such as `.__globals__['W']`."""


def named(function: FunctionType, libraries: bool = False) -> Iterator[Named]:
    """What a function computes with beside its arguments, modules themselves left out.

    Args:
        function: a plain one; functions made in it count as its code.
        libraries: also what it names in installed modules, such as `torch.default_generator`.
    """
    yield from _in_closure(function)
    yield from _in_globals(function, libraries)
    yield from _in_defaults(function)


def _in_closure(function: FunctionType) -> Iterator[Named]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for k, (name, cell) in enumerate(cells):
        with suppress(ValueError):  # a cell that is not filled yet
            yield Named(name, cell.cell_contents, cell, "cell_contents", f".__closure__[{k}].cell_contents")


def _in_globals(function: FunctionType, libraries: bool) -> Iterator[Named]:
    """Its globals, and what it names in those of them that are modules, and in modules in these."""
    scope, (names, attributes) = function.__globals__, code_names(function.__code__)
    waiting, seen = [_global(function, n) for n in sorted(names & scope.keys())], set[int]()
    for each in waiting:  # which grows on the way
        module = each.thing
        if not isinstance(module, ModuleType):
            yield each
        elif id(module) not in seen and (
            not is_installed(module.__name__) or (libraries and each.home is scope)  # no library is walked through
        ):
            seen.add(id(module))
            inside = vars(module)
            waiting += [
                Named(f"{each.name}.{n}", inside[n], module, n, f"{each.step}.{n}")
                for n in sorted(attributes & inside.keys())
            ]


def _global(function: FunctionType, name: str) -> Named:
    scope = function.__globals__
    return Named(name, scope.get(name), scope, name, f".__globals__[{name!r}]")


def _in_defaults(function: FunctionType) -> Iterator[Named]:
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    for k, name in enumerate(names):
        yield Named(name, given[k], given, k, f".__defaults__[{k}]")
    words = function.__kwdefaults__ or {}
    for name, thing in words.items():
        yield Named(name, thing, words, name, f".__kwdefaults__[{name!r}]")


def bound_anew(function: FunctionType) -> list[Named]:
    """The globals that a function's code binds anew, there or not yet, and such names of functions around it."""
    names, free = stored(function.__code__), {*function.__code__.co_freevars}
    return [
        *(_global(function, n) for n in sorted(names - free)),
        *(each for each in _in_closure(function) if each.name in names),
    ]


def members(kinds: Iterable[type]) -> Iterator[Named]:
    """What stands in classes, static and class methods as the functions that they wrap."""
    for kind in kinds:
        for name, value in vars(kind).items():
            if isinstance(value, _WRAPPED):
                step = f".{name}.__func__" if isinstance(value, classmethod) else f".{name}"
                yield Named(name, value.__func__, kind, name, step)
            else:
                yield Named(name, value, kind, name, f".{name}")


_WRAPPED = (staticmethod, classmethod)


def own_classes(kind: type) -> list[type]:
    """A class and those above it, without those of Python, NumPy and torch."""
    return [k for k in kind.__mro__ if k.__module__.partition(".")[0] not in ("builtins", "torch", "numpy")]


def captured(function: Any) -> list[Any]:
    """What a function's closure holds."""
    held = []
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a cell that is not filled yet
            held.append(cell.cell_contents)
    return held


@cache
def are_near(home: str, other: str) -> bool:
    """Whether a module is of the same package as another, or of none that somebody has installed."""
    return home.partition(".")[0] == other.partition(".")[0] or not is_installed(home)


def is_installed(module: str) -> bool:
    """Whether a module is Python's own, or stands among the packages from a registry."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module.partition(".")[0] in sys.stdlib_module_names or "site-packages" in file


@lru_cache(4096)
def code_names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals, and the attributes and globals, that code and the functions made in it name."""
    inner = [code_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return global_names(code).union(*(n for n, _ in inner)), frozenset(code.co_names).union(*(a for _, a in inner))


@lru_cache(4096)
def global_names(code: CodeType) -> frozenset[str]:
    """The global names that the code loads."""
    return frozenset(i.argval for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))


@lru_cache(4096)
def stored(code: CodeType) -> frozenset[str]:
    """The globals, and the names of functions around it, that code binds anew."""
    free = code.co_freevars
    steps = [(i.opname, i.argval) for i in get_instructions(code)]
    return frozenset(n for op, n in steps if op == "STORE_GLOBAL" or (op == "STORE_DEREF" and n in free))
