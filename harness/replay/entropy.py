"""What no seed replays: the system's entropy and the clock, seen as they are asked."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any

import torch

_CLOCKS = ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time")
_ASKED = frozenset(filter(None, (os.urandom, getattr(os, "getrandom", None), *(getattr(time, n) for n in _CLOCKS))))
_KINDS: dict[str, Callable[[Any], bool]] = {
    "seed": lambda owner: isinstance(owner, torch.Generator),
    "now": lambda owner: isinstance(owner, type) and issubclass(owner, datetime),
    "utcnow": lambda owner: isinstance(owner, type) and issubclass(owner, datetime),
}


@contextmanager
def entropy_watched() -> Iterator[list[str]]:
    """The names of what was called inside the block and answers otherwise each time. `secrets`, `SystemRandom`, `uuid4` and
    NumPy's generators without a seed ask `os.urandom`; what C code asks by itself is not seen."""
    asked: list[str] = []

    def seen(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _is_unreplayable(called):
            asked.append(called.__name__)

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # what is done at a collection, such as to take its time, is not the layer's
    sys.setprofile(seen)
    try:
        yield asked
    finally:
        _resume(before)
        if collects:
            gc.enable()


def _resume(profiler: Any) -> None:
    """Profiling as it was: what is written in C, as cProfile's up to Python 3.11, can't be called but enabled."""
    if profiler is None or callable(profiler):
        sys.setprofile(profiler)
    else:
        sys.setprofile(None)
        profiler.enable()


def _is_unreplayable(called: Any) -> bool:
    name = getattr(called, "__name__", "")
    return called in _ASKED if name not in _KINDS else _KINDS[name](getattr(called, "__self__", None))
