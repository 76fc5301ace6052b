"""What a program sets once for all that runs in it: seen to be changed, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


class Change(NamedTuple):
    """A setting, as it was left and as it should have been."""

    what: str
    after: str
    expected: str
    spoils: bool


def _set_deterministic(how: tuple[bool, bool]) -> None:
    # what torch.use_deterministic_algorithms calls once it has imported the compiler, which takes seconds
    torch._C._set_deterministic_algorithms(how[0], warn_only=how[1])


class _Setting(NamedTuple):
    what: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    spoils: bool = False
    """Whether what runs later computes something else for it."""
    instead: str = ""
    """What changes it for a while."""


_SETTINGS = (
    _Setting(
        "torch.is_grad_enabled()", torch.is_grad_enabled, torch._C._set_grad_enabled, True, "with torch.no_grad():"
    ),
    _Setting("torch.get_default_dtype()", torch.get_default_dtype, torch.set_default_dtype, True, "dtype="),
    _Setting(
        "torch.are_deterministic_algorithms_enabled()",
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        _set_deterministic,
    ),
    _Setting("torch.is_anomaly_enabled()", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Setting("torch.get_num_threads()", torch.get_num_threads, torch.set_num_threads),
    _Setting("numpy.geterr()", np.geterr, lambda how: np.seterr(**how), instead="with np.errstate(...):"),
)


def _change(setting: _Setting, before: Any, after: Any) -> Change:
    """What is said of it: of NumPy's only the kinds that are handled otherwise."""
    if isinstance(before, dict):
        said = ", ".join(f"{k}={v!r}" for k, v in after.items() if v != before[k])
        was = "as it was"
    else:
        said, was = str(after), str(before)
    return Change(
        setting.what, said, f"{was} ({setting.instead} is enough)" if setting.instead else was, setting.spoils
    )


@contextmanager
def settings_kept() -> Iterator[list[Change]]:
    """What the block leaves changed is put back as it was, and noted."""
    before, changes = [s.get() for s in _SETTINGS], list[Change]()
    try:
        yield changes
    finally:
        for setting, was in zip(_SETTINGS, before, strict=True):
            if (now := setting.get()) != was:
                changes.append(_change(setting, was, now))
                setting.put(was)


@contextmanager
def unlike_usual() -> Iterator[None]:
    """NumPy's errors are handled as nobody asks for, and passed over: whoever asks for something changes it."""
    with np.errstate(all="call", call=lambda *_: None):
        yield
