"""Torch and NumPy at the border: the engine computes on tensors, a layer gets what it understands."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from harness.outcome import SpecError

Library = Literal["torch", "numpy"]

RESOLUTION: Mapping[torch.dtype, float] = {torch.float64: 1e-6, torch.float32: 1e-3}
"""The relative error that must be seen for a tensor to count as verified, by working precision."""


def dtype_name(dtype: torch.dtype) -> str:
    """As in "float32"."""
    return str(dtype).removeprefix("torch.")


@cache
def unit_roundoff(dtype: torch.dtype) -> float:
    """u, half the distance from 1 to the next larger number."""
    return torch.finfo(dtype).eps / 2


def rms(t: Tensor) -> float:
    """The root mean square of the entries; 0 for none."""
    return float(torch.linalg.vector_norm(t.detach(), dtype=torch.float64)) / math.sqrt(t.numel()) if t.numel() else 0.0


def narrow(t: Tensor) -> bool:
    """Whether a float64 tensor holds nothing but numbers of float32, and they use all of its digits: three at least that are
    not zero, the last three bits set as often as not (numbers on a coarser grid have zeros there)."""
    first = (float(t.detach().as_strided((), ())) or float(t.detach().amax())) if t.numel() else 0.0
    if ctypes.c_float(first).value != first:  # settles nearly all that are not, at once
        return False
    if t.dtype is not torch.float64 or int(count := t.count_nonzero()) < 3 or not torch.equal(t, t.float().double()):
        return False
    return int(((t.float().view(torch.int32) & 7) != 0).sum()) >= int(count) / 2


SIGNIFICANT = {torch.bfloat16: 8, torch.float16: 11}
"""How many binary digits numbers of 16 bits have."""


def of_sixteen_bits(t: Tensor) -> torch.dtype | None:
    """The type of 16 bits that all numbers of a wider tensor are of, with all of its digits in use, as above."""
    if not t.is_floating_point() or t.element_size() <= 2 or int(count := t.count_nonzero()) < 3:
        return None
    for dtype, digits in SIGNIFICANT.items():
        if torch.equal(t, t.to(dtype).to(t.dtype)):
            last = (torch.frexp(t).mantissa * 2**digits).long() & 7
            return dtype if int((last != 0).sum()) >= int(count) / 2 else None
    return None


def ratio(t: Tensor) -> float:
    """By how much the largest entry exceeds the smallest that is not zero; 1 where all are."""
    low = least(t)
    return largest(t) / low if 0 < low < math.inf else 1.0


def largest(t: Tensor) -> float:
    """The largest size of an entry."""
    return float(torch.linalg.vector_norm(t.detach(), torch.inf))


def least(t: Tensor) -> float:
    """The smallest size of an entry that is not zero; infinite where all are."""
    low = float(torch.linalg.vector_norm(t.detach(), -torch.inf))
    return low or float(torch.threshold(t.detach().abs(), 0.0, torch.inf).amin())


def all_finite(t: Tensor) -> bool:
    """Whether no entry is infinite or NaN."""
    # a finite sum has finite terms; an infinite one may have overflowed
    return math.isfinite(float(t.detach().sum())) or bool(torch.isfinite(t).all())


def is_array(value: Any) -> bool:
    """Whether this is a tensor or a NumPy array."""
    return isinstance(value, (Tensor, np.ndarray))


def is_real(value: Any) -> bool:
    """Whether this is a tensor or array of floating-point numbers."""
    if isinstance(value, Tensor):
        return value.is_floating_point()
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)


def to_tensor(value: Any, what: str) -> Tensor:
    """A tensor that shares memory with `value` where it can.

    Raises:
        SpecError: complex, sparse, nested, meta or object data, which are not supported.
    """
    if isinstance(value, Tensor):
        return _supported(value, what)
    if isinstance(value, (bool, int, float)):
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            write = ": make it one of numbers, np.array(….tolist(), float)" if value.dtype == object else ""
            raise SpecError(f"{what} has dtype {value.dtype}: real, integer and boolean arrays are supported{write}")
        if any(stride < 0 for stride in value.strides) or not value.flags.writeable:
            value = value.copy()
        return torch.from_numpy(value.astype(np.float64) if value.dtype == np.longdouble else value)
    closure = "def run(x): return np.asarray(layer.forward(x)), lambda v: np.asarray(layer.backward(v))"
    foreign = f" of torch or NumPy; check a closure on NumPy's: {closure}" if hasattr(value, "__array__") else ""
    yielded = ": write return a, b in the place of yield a and yield b" if isinstance(value, Iterator) else ""
    raise SpecError(f"{what} is {type(value).__name__}, not a tensor, an array or a number{foreign}{yielded}")


def _supported(value: Tensor, what: str) -> Tensor:
    if value.is_complex() or value.layout is not torch.strided or value.is_nested or value.is_meta:
        form = "nested" if value.is_nested else "on the device meta" if value.is_meta else value.layout
        raise SpecError(
            f"{what} is {value.dtype}, {form}: complex, sparse, nested and meta tensors are not supported yet"
        )
    return value


def to_native(tensor: Tensor, library: Library) -> Any:
    """What the layer is given: the tensor itself, or a NumPy array on the same memory."""
    return tensor if library == "torch" else tensor.detach().numpy()


def same_bytes(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits, NaN and signed zeros included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a is b or torch.equal(_bits(a), _bits(b))


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as integers of the same width."""
    own = tensor.detach()
    return own.view(_INTEGERS[own.element_size()]) if own.is_floating_point() else own


_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}
