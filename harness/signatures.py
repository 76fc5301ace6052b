"""What functions ask for; asked of one function again and again, and slow to find out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

Parameters = tuple[inspect.Parameter, ...]

_known: WeakKeyDictionary[FunctionType, Parameters] = WeakKeyDictionary()


def parameters_of(function: Callable[..., Any] | None) -> Parameters:
    """Its parameters in order, those of a method without the first.

    Raises:
        TypeError: it is no function.
        ValueError: it is one without a signature, as some built in.
    """
    plain = function.__func__ if isinstance(function, MethodType) else function
    if type(plain) is not FunctionType or hasattr(plain, "__signature__"):
        return tuple(inspect.signature(function).parameters.values())  # type: ignore[arg-type]
    if plain not in _known:
        _known[plain] = tuple(inspect.signature(plain).parameters.values())
    known = _known[plain]
    bound = plain is not function and bool(known) and known[0].kind in _POSITIONAL
    return known[1:] if bound else known


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
