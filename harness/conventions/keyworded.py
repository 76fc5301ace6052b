"""A backward, or a forward, that takes what it can't do without by keyword alone: `backward(*, grad)`, `forward(*, x)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any

import torch

from harness.conventions import subject_of
from harness.reading.modes import KEYWORDS
from harness.reading.signatures import parameters_of
from harness.request import Request
from harness.subject import Recipe, Subject

ORDER = 5


def recognises(layer: Any) -> bool:
    """Whether it is an object with such a method, or a pair with such a backward."""
    if isinstance(layer, tuple):
        return len(layer) == 2 and all(map(callable, layer)) and bool(_words(layer[1]))
    plain = not isinstance(layer, (type, torch.nn.Module)) and hasattr(layer, "__dict__")
    return plain and bool(_words(getattr(layer, "backward", None)) or _inputs(layer))


def _inputs(layer: Any) -> list[str]:
    """Those of its forward, which are inputs unless they say the mode."""
    if not callable(getattr(layer, "backward", None)):
        return []
    found = _words(getattr(layer, "forward", None))
    return found if KEYWORDS.isdisjoint(found) else []


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
    lines = []
    for name, words in (("forward", _inputs(layer)), ("backward", _words(layer.backward))):
        if words:
            plain = ByPosition(getattr(type(layer), name, getattr(layer, name)))
            setattr(layer, name, MethodType(plain, layer))
            before = plain.count - hasattr(type(layer), name)  # but for self
            given = f"*given[:{before}], **dict(zip({words!r}, given[{before}:])), **more"
            lines.append(f"layer.{name} = lambda *given, made=layer.{name}, **more: made({given})")
    made = subject_of(replace(request, layer=layer))
    return replace(made, recipe=None if made.recipe is None else _with(made.recipe, lines))


def _with(recipe: Callable[[], Recipe], lines: Sequence[str]) -> Callable[[], Recipe]:
    """The script with these lines after the layer is made."""

    def made() -> Recipe:
        plain = recipe()
        return replace(plain, setup=(*plain.setup, *lines))

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
