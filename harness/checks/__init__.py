"""The checks, one module a group. A module offers `CHECKS`; it is found by being here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from harness.outcome import SpecError
from harness.session import Observation, Session
from harness.spelling import among


@dataclass(frozen=True)
class Check:
    """One question about a layer, asked of every example in every mode."""

    name: str
    group: str
    about: str
    observe: Callable[[Session], Observation]
    given: bool = True
    """Whether `gradcheck` asks it without `battery=True`: it falls out of the gradient's evaluations."""
    echoes: bool = True
    """Whether it is asked again beside other parameters: not what has nothing to do with their values."""
    enough: int | None = None
    """How many examples that fail are enough, for judging one that does takes ten times as long as one that passes; None where all
    are asked, for at which sizes it fails tells why."""


_ORDER = (
    "gradient",
    "cotangent",
    "contract",
    "repetition",
    "reuse",
    "memory",
    "partial",
    "inputs",
    "batch",
    "mode",
    "randomness",
    "precision",
    "device",
)


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check, by group."""
    modules = {m.name: import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)}
    ranked = sorted(modules, key=_ORDER.index)
    return tuple(check for name in ranked for check in modules[name].CHECKS)


def selected(only: Sequence[str] = (), skip: Sequence[str] = ()) -> tuple[Check, ...]:
    """The checks named by `only` (all of them if empty) without those named by `skip`; groups may be named too.

    Raises:
        SpecError: a name that is neither a check's nor a group's, or nothing is left.
    """
    checks = all_checks()
    known = {c.name for c in checks} | {c.group for c in checks}
    if strangers := [n for n in (*only, *skip) if n not in known]:
        raise SpecError(f"there is no check or group {strangers[0]!r}: {among(strangers[0], _named(checks))}")
    chosen = tuple(
        c for c in checks if (not only or {c.name, c.group} & set(only)) and not {c.name, c.group} & set(skip)
    )
    if not chosen:
        raise SpecError(f"only={list(only)} and skip={list(skip)} leave no check")
    return chosen


def _named(checks: Iterable[Check]) -> list[str]:
    return list(dict.fromkeys([n for c in checks for n in (c.group, c.name)]))
