"""A class whose forward and backward have other names, such as `forward_pass` and `backprop`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any

import torch

from harness.conventions import subject_of
from harness.reading.titles import renamed
from harness.request import Request
from harness.subject import Recipe, Subject

ORDER = 25


def recognises(layer: Any) -> bool:
    """Whether it is an object with methods for both under other names."""
    plain = not isinstance(layer, (type, torch.nn.Module, tuple, list)) and not hasattr(layer, "__code__")
    return plain and bool(renamed(layer))


def subject(request: Request) -> Subject:
    """The layer as a subject, its methods under the usual names."""
    names = {usual: name for usual, name in renamed(request.layer).items() if name not in (usual, "__call__")}
    layer = copy.copy(request.layer)
    for usual, name in names.items():
        # bound to the copy: what the method writes belongs there
        setattr(layer, usual, MethodType(getattr(type(layer), name), layer))
    made: Subject = subject_of(replace(request, layer=layer))
    lines = tuple(f"layer.{usual} = layer.{name}" for usual, name in names.items())
    return replace(made, recipe=_with(made.recipe, lines))


def _with(recipe: Callable[[], Recipe] | None, lines: tuple[str, ...]) -> Callable[[], Recipe] | None:
    """The script with these lines after the layer is made."""
    if recipe is None:
        return None

    def made() -> Recipe:
        plain = recipe()
        return replace(plain, setup=(*plain.setup, *lines))

    return made
