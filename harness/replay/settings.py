"""What a program sets once for all that runs in it: seen to be changed, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

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
)


def _change(setting: _Setting, before: Any, after: Any) -> Change:
    """What is said of it."""
    was = f"{before} ({setting.instead} is enough)" if setting.instead else str(before)
    return Change(setting.what, str(after), was, setting.spoils)


def settings() -> list[Any]:
    """All of them, as they are."""
    return [s.get() for s in _SETTINGS]


def put_back(before: list[Any]) -> list[Change]:
    """Have all as they were; what was otherwise."""
    if (now := settings()) == before:
        return []
    changed = [(s, was, is_) for s, was, is_ in zip(_SETTINGS, before, now, strict=True) if was != is_]
    for setting, was, _ in changed:
        setting.put(was)
    return [_change(*each) for each in changed]


@contextmanager
def settings_kept() -> Iterator[list[Change]]:
    """What the block leaves changed is put back as it was, and noted."""
    before, changes = settings(), list[Change]()
    try:
        yield changes
    finally:
        changes += put_back(before)
