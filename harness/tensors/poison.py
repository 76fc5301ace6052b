"""Memory that was never written to, made visible: whatever allocates without filling gets NaN for the duration."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch


@contextmanager
def poisoned() -> Iterator[None]:
    """torch fills what it allocates unwritten with NaN (its own setting for deterministic runs), and `numpy.empty` and
    `numpy.empty_like` do. Not filled: what `from numpy import empty` in the layer's module, `numpy.ndarray(shape)` and compiled
    code allocate (`harness explain repeatable` says so)."""
    with _torch_fills(), patch.multiple(np, empty=_filled(np.empty), empty_like=_filled(np.empty_like)):
        yield


@contextmanager
def _torch_fills() -> Iterator[None]:
    was, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch._C._get_deterministic_fill_uninitialized_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations without a deterministic form: only the filling is wanted
        # what torch.use_deterministic_algorithms calls once it has imported the compiler, which takes seconds
        torch._C._set_deterministic_algorithms(True, warn_only=True)
        torch._C._set_deterministic_fill_uninitialized_memory(True)
        try:
            yield
        finally:
            torch._C._set_deterministic_fill_uninitialized_memory(filled)
            torch._C._set_deterministic_algorithms(was, warn_only=warned)


def _filled(allocate: Callable[..., Any]) -> Callable[..., Any]:
    def filling(*arguments: Any, **keywords: Any) -> Any:
        made = allocate(*arguments, **keywords)
        if made.dtype.kind in "fc":
            made.fill(np.nan)
        return made

    return filling
