"""A backward that takes what it can't do without by keyword alone: `backward(*, grad)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

import torch

from harness.conventions import subject_of
from harness.request import Request
from harness.signatures import parameters_of
from harness.subject import Recipe, Subject

ORDER = 5


def recognises(layer: Any) -> bool:
    """Whether it is an object or a pair with such a backward."""
    if isinstance(layer, tuple):
        return len(layer) == 2 and all(map(callable, layer)) and bool(_words(layer[1]))
    plain = not isinstance(layer, (type, torch.nn.Module)) and hasattr(layer, "__dict__")
    return plain and bool(_words(getattr(layer, "backward", None)))


def _words(backward: Any) -> list[str]:
    """The keywords that it can't do without."""
    try:
        parameters = parameters_of(backward) if callable(backward) else ()
    except (TypeError, ValueError):  # a builtin has none
        return []
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def subject(request: Request) -> Subject:
    """The layer as a subject, those keywords given by position."""
    if isinstance(request.layer, tuple):
        forward, backward = request.layer
        made: Subject = subject_of(replace(request, layer=(forward, ByPosition(backward))))
        return replace(made, recipe=None)
    layer = copy.copy(request.layer)
    words = _words(layer.backward)
    layer.backward = MethodType(ByPosition(getattr(type(layer), "backward", layer.backward)), layer)
    made = subject_of(replace(request, layer=layer))
    line = f"layer.backward = lambda *given, made=layer.backward: made(**dict(zip({words!r}, given)))"
    asked = [p for p in parameters_of(request.layer.backward) if p.kind is p.POSITIONAL_OR_KEYWORD]
    return replace(made, recipe=None if asked or made.recipe is None else _with(made.recipe, line))


def _with(recipe: Callable[[], Recipe], line: str) -> Callable[[], Recipe]:
    """The script with this line after the layer is made."""

    def made() -> Recipe:
        plain = recipe()
        return replace(plain, setup=(*plain.setup, line))

    return made


class ByPosition:
    """A function that takes the keywords which it can't do without after its other arguments."""

    def __init__(self, function: Any) -> None:
        self.function, self.words = function, _words(function)
        self.__name__ = getattr(function, "__name__", "backward")
        parameters = list(inspect.signature(function).parameters.values())
        first = [
            p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
        self.count = len(first)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([*first, *(inspect.Parameter(n, kind) for n in self.words)])

    def __call__(self, *given: Any, **keywords: Any) -> Any:
        """What the function returns."""
        named = dict(zip(self.words, given[self.count :], strict=False))
        return self.function(*given[: self.count], **named, **keywords)
