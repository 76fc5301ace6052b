"""What functions ask for; asked of one function again and again, and slow to find out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from types import FunctionType, MethodType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from harness.spelling import meant

Parameters = tuple[inspect.Parameter, ...]


class Asked:
    """What a function asks for."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        given = [p for p in parameters if p.kind in _POSITIONAL]
        self.positional = tuple(p.name for p in given)
        """The names of what can be given by position."""
        self.required = tuple(p.name for p in given if p.default is p.empty)
        """Of these, the names of what has no default."""


_functions: WeakKeyDictionary[FunctionType, Asked] = WeakKeyDictionary()
_methods: WeakKeyDictionary[FunctionType, Asked] = WeakKeyDictionary()


def asked_of(function: Callable[..., Any] | None) -> Asked:
    """Its parameters in order, those of a method without the first.

    Raises:
        TypeError: it is no function.
        ValueError: it is one without a signature, as some built in.
    """
    plain = function.__func__ if isinstance(function, MethodType) else function
    if type(plain) is not FunctionType or hasattr(plain, "__signature__"):
        return Asked(tuple(inspect.signature(function).parameters.values()))  # type: ignore[arg-type]
    known = _functions if plain is function else _methods
    if (found := known.get(plain)) is None:
        parameters = tuple(inspect.signature(plain).parameters.values())
        own = plain is not function and bool(parameters) and parameters[0].kind in _POSITIONAL
        found = known[plain] = Asked(parameters[1:] if own else parameters)
    return found


def parameters_of(function: Callable[..., Any] | None) -> Parameters:
    """The same without the names.

    Raises:
        TypeError: it is no function.
        ValueError: it is one without a signature, as some built in.
    """
    return asked_of(function).parameters


def asks(function: Callable[..., Any]) -> bool:
    """Whether it can't be called with nothing; of what has no signature it is not known."""
    try:
        parameters = parameters_of(function)
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


F = TypeVar("F", bound=Callable[..., Any])


def spelt(function: F) -> F:
    """The function, which says of a keyword that it does not have which one may be meant."""
    known = [p.name for p in inspect.signature(function).parameters.values()]

    @wraps(function)
    def called(*given: Any, **words: Any) -> Any:
        misspelt(function.__name__, words, known)
        return function(*given, **words)

    return called  # type: ignore[return-value]


def misspelt(name: str, words: Iterable[str], known: Sequence[str]) -> None:
    """Say of a keyword that is none of the known ones which one may be meant.

    Raises:
        TypeError: there is one.
    """
    for word in words:
        if word not in known:
            said = meant(word, known, "{}=", 0.5) or f"it takes {', '.join(known)}"
            raise TypeError(f"{name}() got an unexpected keyword {word!r}: {said}")
