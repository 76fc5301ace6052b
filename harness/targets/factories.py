"""Functions that make a layer: `make_layer(n_in, n_out)` returns an object, a pair of functions or a closure. Found by their code,
since nobody knows yet what to call them with."""

from __future__ import annotations

import dis
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import CellType, CodeType, FunctionType
from typing import Any

NAMESPACES = ("SimpleNamespace", "dict", "namedtuple")
"""What an object with two functions is made by."""

PROGRAMS = ("main", "train", "fit", "run", "test", "load", "plot", "demo", "experiment", "evaluate", "check", "grad")
"""How functions begin that do more than make a layer."""


def made_by(function: FunctionType, is_layer: Callable[[Any], bool], is_pair: Callable[[str, str], bool]) -> Any:
    """What stands for the layer that a function makes, which has its methods and what they ask for: a class, a pair of functions or
    a closure; None where it makes none.

    Args:
        is_layer: whether a class is one of layers.
        is_pair: whether two functions of these names are a forward and its backward.
    """
    name, code = function.__name__, function.__code__
    if name.startswith("_") or name.split("_")[0].lower() in PROGRAMS:
        return None
    inside = {c.co_name: c for c in code.co_consts if isinstance(c, CodeType)}
    for returned in _returned(code):
        names = [n for n in returned if n in inside]
        if len(names) == 2 and len(returned) == 2 and is_pair(*names):
            return tuple(_function(inside[n], function) for n in names)
        if len(returned) == 1 and len(names) == 1 and gives_pullback(inside[names[0]]):
            return _function(inside[names[0]], function)
        kind = _kind(returned[:1], inside, function)
        if isinstance(kind, type) and is_layer(kind):
            return kind
        if returned[:1] and returned[0] in NAMESPACES and {"forward", "backward"} <= {*inside}:
            return tuple(_function(inside[n], function) for n in ("forward", "backward"))
    return None


def gives_pullback(code: CodeType) -> bool:
    """Whether a function returns a pair, the second of which is a function that it has made."""
    inside = {c.co_name for c in code.co_consts if isinstance(c, CodeType)}
    steps = list(dis.get_instructions(code))
    for k, (first, second) in enumerate(pairwise(steps)):
        if (first.opname, first.arg) == ("BUILD_TUPLE", 2) and second.opname == "RETURN_VALUE":
            before = steps[k - 1]
            last = _loaded(before)[-1:]
            if before.opname in ("MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE") or (last and last[0] in inside):
                return True
    return False


def _returned(code: CodeType) -> list[list[str]]:
    """The names that each returned expression loads, in their order; of a variable those of what it was last set to."""
    found: list[list[str]] = []
    names: list[str] = []
    made: dict[str, list[str]] = {}
    for step in dis.get_instructions(code):
        if step.opname == "RETURN_VALUE":
            found.append(made.get(names[0], names) if len(names) == 1 else names)
        if step.opname.startswith(("STORE_FAST", "STORE_DEREF")):
            stored = step.argval[0] if isinstance(step.argval, tuple) else step.argval
            made |= {stored: names} if names and stored not in names else {}
        if step.opname.startswith(("STORE_", "POP_TOP", "RETURN_", "POP_JUMP", "JUMP_", "FOR_ITER", "END_FOR")):
            names = []
            if step.opname == "STORE_FAST_LOAD_FAST":  # both in one, from Python 3.13 on
                names = [step.argval[1]]
        elif isinstance(step.argval, CodeType):
            while names and names[-1] in step.argval.co_freevars:  # loaded for the closure, from Python 3.13 on
                names = names[:-1]
        else:
            names = [*names, *_loaded(step)]
    return found


def _loaded(step: dis.Instruction) -> list[str]:
    """The variables that a step loads; from Python 3.13 on one may load two."""
    if not step.opname.startswith(("LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")):
        return []
    return [*step.argval] if isinstance(step.argval, tuple) else [step.argval]


def _kind(names: list[str], inside: Mapping[str, CodeType], function: FunctionType) -> Any:
    """The class of this name: one of the module, or one that the function defines."""
    if not names:
        return None
    if (body := inside.get(names[0])) is None:
        return function.__globals__.get(names[0])
    methods = [c for c in body.co_consts if isinstance(c, CodeType)]
    return type(names[0], (), {c.co_name: _function(c, function) for c in methods})


def _function(code: CodeType, within: FunctionType) -> FunctionType:
    """A function with what this code asks for. It is not called."""
    return FunctionType(code, within.__globals__, code.co_name, None, tuple(CellType() for _ in code.co_freevars))
