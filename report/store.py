"""The files of one report: each written whole or not at all, and read back with errors that say what is wrong."""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UsageError

Arrays = dict[str, NDArray[Any]]


def prepare(out: Path) -> None:
    """Make the directory and see that it can be written, before hours are spent on what would go there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written ({error.strerror}); give a directory that can") from None


def write(directory: Path, contents: Mapping[str, bytes]) -> None:
    """All files beside their places first, then each in its place in one step.

    A reader, or a killed run, never meets a part of a file; and a full disk leaves every file as it was.
    """
    staged: list[Path] = []
    try:
        for name, content in contents.items():
            staged.append(_beside(directory / name, content))
        for name, beside in zip(contents, staged, strict=True):
            beside.replace(directory / name)
    finally:
        for beside in staged:
            beside.unlink(missing_ok=True)


def _beside(path: Path, content: bytes) -> Path:
    """The content in a new hidden file of the same directory."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's file is readable by its owner only
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def to_json(content: Any) -> bytes:
    """NaN is not JSON: what has no value is null, and a NaN here is an error."""
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def to_npz(arrays: Arrays) -> bytes:
    """A compressed archive; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_json(path: Path) -> Any:
    """The content, or an error that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; `python -m report --out {path.parent}` makes it") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from None


# Everything that opening what is no archive, or only half of one, was seen to raise.
UNREADABLE = (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path) -> Arrays:
    """All arrays of an .npz; no pickle is ever loaded. Raises one of UNREADABLE."""
    # np.load does not close a file that it opened itself and could not make sense of
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_arrays(path: Path) -> Arrays:
    """The same, or an error that names the file."""
    try:
        return load_arrays(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; `python -m report --out {path.parent}` makes it") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: cannot be read as an .npz archive ({error})") from None
