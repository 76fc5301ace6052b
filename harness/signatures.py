"""What functions ask for; asked of one function again and again, and slow to find out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from types import FunctionType, MethodType
from typing import Any, TypeVar
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
            close = get_close_matches(word, known, 1, 0.5)
            said = f"did you mean {close[0]}=?" if close else f"it takes {', '.join(known)}"
            raise TypeError(f"{name}() got an unexpected keyword {word!r}: {said}")
