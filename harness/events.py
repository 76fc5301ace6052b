"""What the engine tells its listeners. It never prints."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report import Result


@dataclass(frozen=True)
class Started:
    """A layer is about to be looked at in one mode."""

    layer: str
    mode: str | None
    examples: int


@dataclass(frozen=True)
class Refused:
    """The layer's forward refused an example."""

    layer: str
    mode: str | None
    example: str
    why: str


@dataclass(frozen=True)
class Noted:
    """Something worth saying about the layer as a whole."""

    layer: str
    note: str


@dataclass(frozen=True)
class Finished:
    """A check has its result."""

    result: Result


Event = Started | Refused | Noted | Finished
