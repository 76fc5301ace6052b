"""What the command line asks of a child process, and what that answers. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from harness.report import Report


@dataclass(frozen=True)
class Job:
    """One file, module or package to look at."""

    target: str
    build: str | None = None
    inputs: tuple[str, ...] = ()
    examples: int = 25
    seed: int = 0
    device: str = "cpu"
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    listing: bool = False
    """Whether the layers are only to be listed."""
    run_all: bool = False
    """Whether every cell of a notebook is run."""
    specs: str | None = None
    """A file of specs that are tried on the layers of the target."""
    halted: str = ""
    """Why an import of the whole target had to be ended: what it defines is run without the rest."""
    done: frozenset[int] = frozenset()
    """The layers that have their row already: a child which goes on after another leaves them out."""

    @property
    def is_script(self) -> bool:
        """Whether the target is a file of Python."""
        return self.target.partition(":")[0].endswith(".py")


def files_of(target: str) -> list[str]:
    """The files and notebooks that a folder stands for which is no package, as one of submissions: those in it, else those in its
    folders. Of any other target itself."""
    place, colon, name = target.partition(":")
    folder = Path(place)
    if not place or not folder.is_dir() or _is_package(folder):
        return [target]
    inner = [f for f in sorted(folder.iterdir()) if f.is_dir() and f.name[0] not in "._" and not _is_package(f)]
    held = _files(folder) or list(chain.from_iterable(map(_files, inner)))
    return [f"{file}{colon}{name}" for file in held] or [target]


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix in (".py", ".ipynb") and f.is_file())


@dataclass(frozen=True)
class Found:
    """The layers of the target, by what they are called before any of them is built."""

    labels: Mapping[int, str]


@dataclass(frozen=True)
class At:
    """Code of this layer is about to run: what ends the process from here on is its doing."""

    index: int
    label: str


@dataclass(frozen=True)
class Done:
    """A layer has its report."""

    index: int
    report: Report


@dataclass(frozen=True)
class Listed:
    """A layer, and how it is or would be checked."""

    index: int
    label: str
    how: str


@dataclass(frozen=True)
class Left:
    """A layer without a spec that could not be tried out, and the command that checks it."""

    index: int
    label: str
    why: str
    command: str


@dataclass(frozen=True)
class Said:
    """For the terminal: a traceback."""

    text: str


@dataclass(frozen=True)
class LeftOut:
    """What of a notebook, or of a file that can't be imported, was not executed, and why."""

    why: str


@dataclass(frozen=True)
class Unusable:
    """What the user wrote can't be checked as it stands: a `SpecError`."""

    why: str
    option: bool = False
    """Whether it is an option, which is as wrong for every other target."""


@dataclass(frozen=True)
class Over:
    """The job is done: an end without this is the doing of the layer it was at."""


Message = Found | At | Done | Left | LeftOut | Listed | Said | Unusable | Over
