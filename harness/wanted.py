"""Layers that want CUDA tensors: known by what they raise where they are given others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dis import get_instructions
from traceback import walk_tb
from types import CodeType

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


def told(error: BaseException, device: str, said: str = "") -> str:
    """What was raised, or is said of it, and what to write where it was for want of CUDA tensors."""
    return "; ".join(filter(None, (said or str(error), cuda_wanted(error, device))))


def _said(error: BaseException) -> Iterator[str]:
    """What was raised, and what the condition names that stands in the line that raised it or above it."""
    if _MISSING.search(str(error)):
        return
    yield f"{type(error).__name__}: {error}"
    *_, last = [None, *walk_tb(error.__traceback__)]
    if last is not None and not last[0].f_code.co_filename.startswith(OTHERS):
        yield from _named(last[0].f_code, last[1])


def _named(code: CodeType, line: int) -> list[str]:
    """The names and words of a line and the one that code comes from there."""
    steps = [(s.positions.lineno, s.argval) for s in get_instructions(code) if s.positions and s.positions.lineno]
    above = max((n for n, _ in steps if n and n < line), default=line)
    return [value for n, value in steps if n in (above, line) and isinstance(value, str)]
