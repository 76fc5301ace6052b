"""What a program sets once for all that runs in it: seen to be changed, and put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class Left(NamedTuple):
    """What a layer left otherwise than it was."""

    what: str
    found: str
    expected: str
    spoils: bool
    """Whether what runs later computes something else for it."""

    def __str__(self) -> str:
        return f"{self.what}: {self.found}, better {self.expected}"


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

    def left(self, found: str, was: Any) -> Left:
        """What is said of it."""
        expected = f"{was} ({self.instead} is enough)" if self.instead else str(was)
        return Left(self.what, found, expected, self.spoils)


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


def settings() -> list[Any]:
    """All of them, as they are."""
    return [s.get() for s in _SETTINGS]


def put_back(before: list[Any], by: str) -> list[Left]:
    """Have all as they were; what `by` had left otherwise."""
    if (now := settings()) == before:
        return []
    found = list[Left]()
    for setting, was, after in zip(_SETTINGS, before, now, strict=True):
        if after != was:
            setting.put(was)
            found.append(setting.left(f"{after} after {by}", was))
    return found


@contextmanager
def settings_kept() -> Iterator[list[Left]]:
    """What the block leaves changed is put back as it was, and noted."""
    before, changes = settings(), list[Left]()
    try:
        yield changes
    finally:
        changes += put_back(before, "the block")
