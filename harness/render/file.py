"""Output files: looked at before the work begins, written whole or not at all. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

from harness.outcome import SpecError


def ready(path: str | Path) -> None:
    """Return if a file can be written there.

    Raises:
        SpecError: its folder is missing or closed, or it is a folder itself.
    """
    place = Path(path)
    if place.is_dir():
        raise SpecError(f"can't write {path}: it is a folder")
    if not place.parent.is_dir():
        raise SpecError(f"can't write {path}: there is no folder {place.parent}")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise SpecError(f"can't write {path}: permission denied")


def write(path: str | Path, text: str) -> None:
    """Put the text there: beside it first, then renamed, so that whoever reads sees the old file or all of the new.

    Raises:
        SpecError: it can't be written; what stood there still does.
    """
    ready(path)
    place = Path(path).resolve()  # a link stays a link
    if place.exists() and not place.is_file():  # /dev/stdout: nothing to rename over
        Path(path).write_text(text, encoding="utf-8")
        return
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(place)
    except OSError as error:
        raise SpecError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
