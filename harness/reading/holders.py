"""How things hold others: asked of everything inside a layer at each walk, and so answered once a class."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch


def has_parts(value: Any) -> bool:
    """Whether something may hold arrays."""
    return holds(value) != ""


def holds(value: Any) -> str:
    """How it holds others; an array of objects, `np.array([W1, W2], dtype=object)`, does as a list."""
    return holder(type(value)) or ("sequence" if is_objects(value) else "")  # type: ignore[arg-type]


def is_objects(value: Any) -> bool:
    """Whether it is an array of objects along one axis."""
    return isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1


def is_mapping(value: Any) -> bool:
    """Whether it is a dict or the like: many times faster than Python's own answer where it is none."""
    return holder(type(value)) == "mapping"  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def holder(kind: type) -> str:
    """How things of a class hold others: "mapping", "sequence", "object" (by attributes), or not at all."""
    if issubclass(kind, _NO_HOLDERS) or kind in _NUMBERS:
        return ""
    if issubclass(kind, Mapping):
        return "mapping"
    if issubclass(kind, (list, tuple)):
        return "sequence"
    return "object" if kind.__dictoffset__ or hasattr(kind, "__slots__") else ""


_NO_HOLDERS = (bool, int, float, str, type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)

_NUMBERS = (torch.Tensor, torch.nn.Parameter, torch.Size)
"""What has nothing in it but numbers. Those of integers, such as labels that are kept, have a hundred attributes to look at."""
