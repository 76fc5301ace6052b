"""Layers that want CUDA tensors: known by what they raise where they are given others."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterator

import torch

from harness.domain import OTHERS

_WORDS = re.compile(r"cuda|triton|nvidia|\bgpus?\b|\d+ active drivers", re.IGNORECASE)
"""What such layers and those that run kernels for them speak of, in exceptions and in the lines that raise them."""

_MISSING = re.compile(r"no module named", re.IGNORECASE)
"""A package that is missing is missing on every machine."""

OPTION = "--device cuda"
"""What the command line is to be told."""

_WRITE = f'give inputs made with device="cuda", or write check(spec, device="cuda") or {OPTION}'
_HERE = f"it wants CUDA tensors: {_WRITE}"
_NOWHERE = f"it wants CUDA tensors, and this machine has no CUDA device: where there is one {_WRITE}"


def cuda_wanted(error: BaseException, device: str) -> str:
    """What to write where a layer given tensors on this device raised for want of CUDA tensors; empty where it was not that."""
    if device.startswith("cuda") or not any(map(_WORDS.search, _said(error.__cause__ or error))):
        return ""
    return _HERE if torch.cuda.is_available() else _NOWHERE


def _said(error: BaseException) -> Iterator[str]:
    """What was raised, and the condition that stands in the line that raised it or above it."""
    if _MISSING.search(str(error)):
        return
    yield f"{type(error).__name__}: {error}"
    last = traceback.extract_tb(error.__traceback__)[-1:]
    for frame in (f for f in last if not f.filename.startswith(OTHERS)):
        at = frame.lineno or 0
        raising, above = (linecache.getline(frame.filename, n).strip() for n in (at, at - 1))
        yield raising if "assert " in raising else above if above.startswith(("if ", "elif ")) else ""
