"""Which array library a layer computes with, where its inputs do not tell: by what its code names, or seems to be written for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from harness.reading.holders import is_mapping
from harness.reading.scopes import captured, global_names
from harness.tensors.arrays import Library, is_array


def library_of(*things: Any) -> Library | None:
    """The array library that the code of these objects names: "torch", "numpy", or None if neither or both."""
    used = {lib for thing in things for lib in _libraries(thing, set())}
    return next(iter(used)) if len(used) == 1 else None


def imported_beside(layer: Any) -> Library | None:
    """The only array library that the module of a class, or those of several functions, imports: code such as `W.dot(x)` names
    none."""
    things = layer if isinstance(layer, (list, tuple)) else [layer]
    homes = {getattr(t if hasattr(t, "__qualname__") else type(t), "__module__", "") for t in things}
    values = [v for home in homes if home in sys.modules for v in vars(sys.modules[home]).values()]
    found = [lib for lib in _LIBRARIES if any(isinstance(v, ModuleType) and v.__name__ == lib for v in values)]
    return found[0] if len(found) == 1 else None


NUMPYS, TORCHS = frozenset({"axis", "keepdims", "ddof"}), frozenset({"dim", "keepdim", "unbiased", "correction"})
"""Keywords of reductions as either library calls them. Tensors take NumPy's words too, but `x.var(axis=1)` then is another number:
torch's is that of n − 1."""


def meant_for(layer: Any) -> Library | None:
    """The library that code which names neither is written for: by what is imported beside it, else by the keywords that it uses."""
    if (only := imported_beside(layer)) is not None:
        return only
    things = layer if isinstance(layer, (list, tuple)) else [layer]
    words = {w for t in things for function in _functions(t) for w in _keywords(function.__code__)}
    if bool(words & NUMPYS) == bool(words & TORCHS):
        return None
    return "numpy" if words & NUMPYS else "torch"


def _functions(thing: Any) -> list[FunctionType]:
    if isinstance(thing, FunctionType):
        return [thing]
    owner = thing if isinstance(thing, type) else type(thing)
    members = {name: m for c in reversed(owner.__mro__) for name, m in vars(c).items()}
    return [m for m in members.values() if isinstance(m, FunctionType)]


def _keywords(code: CodeType) -> set[str]:
    """The keywords of the calls in some code: tuples of names among its constants."""
    tuples = [c for c in code.co_consts if isinstance(c, tuple)]
    inside = [_keywords(c) for c in code.co_consts if isinstance(c, CodeType)]
    return {w for t in tuples for w in t if isinstance(w, str)}.union(*inside)


def _libraries(thing: Any, seen: set[int]) -> set[Library]:
    """Which of torch and numpy the functions of a class or object refer to by a global name."""
    if isinstance(thing, Tensor):
        return {"torch"}
    if isinstance(thing, (np.ndarray, np.ufunc)):
        return {"numpy"}
    if id(thing) in seen or type(thing) in _NEUTRAL or isinstance(thing, ModuleType):
        return set()
    seen.add(id(thing))
    if isinstance(thing, FunctionType):
        # of what it has captured only functions: arrays may be data
        inside = {lib for held in captured(thing) if isinstance(held, FunctionType) for lib in _libraries(held, seen)}
        return _of_code(thing.__code__, thing.__globals__, seen) | inside
    if isinstance(thing, (staticmethod, classmethod)) or hasattr(thing, "__func__"):
        return _libraries(thing.__func__, seen)
    if is_mapping(thing):
        return {lib for item in thing.values() for lib in _libraries(item, seen)}
    if isinstance(thing, (list, tuple)):
        return {lib for item in thing for lib in _libraries(item, seen)}
    owner = thing if isinstance(thing, type) else type(thing)
    state = list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    parts = [v for v in state if is_array(v) or hasattr(v, "backward") or isinstance(v, (list, tuple)) or is_mapping(v)]
    parts += [thing.computes_like] if hasattr(owner, "computes_like") else []
    return {*_of_class(owner), *(lib for part in parts for lib in _libraries(part, seen))}


_NEUTRAL = (bool, int, float, str, type(None), torch.Size, torch.dtype, torch.device)

_classes: WeakKeyDictionary[type, frozenset[Library]] = WeakKeyDictionary()


def _of_class(owner: type) -> frozenset[Library]:
    """By what the methods of a class and of its bases refer to; read once a class."""
    if owner not in _classes:
        members = [m for c in owner.__mro__ if c.__module__ != "builtins" for m in vars(c).values()]
        methods = [m for m in members if isinstance(m, (FunctionType, staticmethod, classmethod))]
        seen: set[int] = set()
        _classes[owner] = frozenset(lib for m in methods for lib in _libraries(m, seen))
    return _classes[owner]


def _of_code(code: CodeType, scope: Mapping[str, Any], seen: set[int]) -> set[Library]:
    """By the global names that the code loads; functions of the same module that it calls are followed."""
    found: set[Library] = set()
    for name in global_names(code):
        value = scope.get(name)
        if isinstance(value, FunctionType) and value.__module__ == scope.get("__name__"):
            found |= _libraries(value, seen)
        elif isinstance(value, (ModuleType, FunctionType, BuiltinFunctionType, type)) or type(value) is np.ufunc:
            home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
            for library in _LIBRARIES:
                if (
                    home == library
                    or home.startswith(f"{library}.")
                    or (library == "numpy" and isinstance(value, np.ufunc))
                ):
                    found.add(library)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _of_code(constant, scope, seen)
    return found


_LIBRARIES: tuple[Library, ...] = ("torch", "numpy")
