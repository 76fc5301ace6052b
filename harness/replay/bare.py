"""Classes that name nothing but code, installed modules, constants and generators, in which no array can stand: looked through
once, they stay so as long as nothing is bound anew."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import attrgetter, is_
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from harness.reading.scopes import are_near, captured, code_names, is_installed, members, own_classes, stored
from harness.tensors.arrays import is_real

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

PLAIN = frozenset((type, bool, int, float, str, bytes, type(None), BuiltinFunctionType, property))
"""The types of what holds nothing."""


def kind_of(value: Any) -> str:
    """What a thing is: a "generator", "code" (a class or function), or neither."""
    return _kind(type(value))  # type: ignore[arg-type]


@lru_cache(4096)
def _kind(kind: type) -> str:
    """Asked often, and torch's own answer is slow."""
    if issubclass(kind, GENERATORS):
        return "generator"
    return "code" if issubclass(kind, (type, FunctionType)) else ""


def is_bare(kind: type) -> bool:
    """Whether a class, with the functions and classes that it names and those that they name, names code, installed modules,
    constants and generators alone."""
    return _reading(kind).is_bare()


def generators_named(kind: type) -> list[Any]:
    """The generators that a bare class names."""
    return _reading(kind).generators


class _Reading:
    """What a class names, and what stood there when it was looked through."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self._look()

    def is_bare(self) -> bool:
        """Whether it is; looked through again where something has been bound anew since. What was not stays so."""
        if self._bare and not self._stands():
            self._look()
        return self._bare

    def _stands(self) -> bool:
        now = self._now()
        return len(now) == len(self._then) and all(map(is_, now, self._then))

    def _now(self) -> list[Any]:
        found: list[Any] = []
        for values in self._members:
            found.extend(values())
        for get, names in self._names:
            found.extend(map(get, names))
        for function in self._closures:
            found.extend(captured(function))
        found.extend(map(attrgetter("__mro__"), self._watched))
        found.extend(map(attrgetter("__code__"), self._functions))
        found.extend(map(attrgetter("__defaults__"), self._functions))
        return found

    def _look(self) -> None:
        self.generators: list[Any] = []
        self._classes: dict[type, None] = {}
        self._functions: dict[FunctionType, None] = {}
        self._scopes: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self._bare = self._walk()
        self._watched = list({k: None for c in self._classes for k in own_classes(c)})
        self._members = [vars(k).values for k in self._watched]
        self._names = [(scope.get, tuple(names)) for scope, names in self._scopes.values()]
        self._closures = [f for f in self._functions if f.__closure__]
        self._then = self._now() if self._bare else []

    def _walk(self) -> bool:
        """Whether nothing is met but what is bare."""
        pending: list[Any] = [self.kind]
        while pending:
            thing = pending.pop()
            if thing in self._classes or thing in self._functions:
                continue
            found = self._of_class(thing) if isinstance(thing, type) else self._of_function(thing)
            if found is None:
                return False
            pending += [v for v in found if kind_of(v) == "code"]
            self.generators += [v for v in found if kind_of(v) == "generator"]
        return True

    def _of_class(self, kind: type) -> list[Any] | None:
        """What stands in it and those above it; None where that may hold arrays."""
        self._classes[kind] = None
        there = list(members(own_classes(kind)))
        bare = all(m.name.startswith("__") or type(m.thing) in PLAIN or not _may_hold(m.thing) for m in there)
        return [m.thing for m in there] if bare else None

    def _of_function(self, function: FunctionType) -> list[Any] | None:
        """What its code names, of functions and classes those near it; None where that may hold arrays, or changes."""
        self._functions[function] = None
        if stored(function.__code__):
            return None
        names, attributes = code_names(function.__code__)
        home = function.__module__ or ""
        values = [*self._named(function.__globals__, names), *self._named(function.__kwdefaults__ or {})]
        values += captured(function)
        modules = [v for v in values if type(v) is ModuleType]
        if any(_may_hold(v) or _is_object(v, home) for v in values if not _is_code(v)):
            return None
        if not all(is_installed(m.__name__) for m in modules):
            return None
        inside = [v for m in modules for v in self._named(vars(m), attributes)]
        inside += function.__defaults__ or ()  # arrays there stay where they are
        return [v for v in (*values, *inside) if kind_of(v) != "code" or are_near(v.__module__ or "", home)]

    def _named(self, scope: Mapping[str, Any], names: Iterable[str] | None = None) -> list[Any]:
        """What stands under these names, or all, which are looked up again later."""
        names = scope if names is None else names
        self._scopes.setdefault(id(scope), (scope, set()))[1].update(names)
        return [scope[n] for n in names if n in scope]


@lru_cache(1024)
def _reading(kind: type) -> _Reading:
    return _Reading(kind)


def _is_code(value: Any) -> bool:
    return type(value) in PLAIN or isinstance(value, (type, FunctionType, ModuleType))


def _may_hold(value: Any) -> bool:
    """Whether this is an array, or a container that may have one, now or later: not a tuple of constants."""
    return is_real(value) or (isinstance(value, (dict, list, tuple)) and not _is_constant(value))


def _is_constant(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and bool(value) and all(map(_is_constant, value)))


def _is_object(value: Any, home: str) -> bool:
    """Whether this is a thing of a package's own, which may hold anything."""
    return are_near(type(value).__module__, home) and not kind_of(value) and not _is_constant(value)
