"""The files of one report: each written whole or not at all, and read back with errors that say what is wrong."""

import io
import json
import os
import tempfile
import zipfile
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


def write(path: Path, content: bytes) -> None:
    """Beside the file first, then in its place in one step: a reader, or a killed run, never meets a part of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)  # mkstemp's file is readable by its owner only
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """NaN is not JSON: what has no value is null, and a NaN here is an error."""
    write(path, (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content, or an error that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; `python -m report --out {path.parent}` makes it") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from None


def write_arrays(path: Path, arrays: Arrays) -> None:
    """A compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write(path, buffer.getvalue())


def read_arrays(path: Path) -> Arrays:
    """All arrays of an .npz, or an error that names the file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; `python -m report --out {path.parent}` makes it") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read as an .npz archive ({error})") from None
