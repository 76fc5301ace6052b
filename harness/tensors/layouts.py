"""The same values in other memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor


def transposed(t: Tensor) -> Tensor:
    """The last two axes exchanged in memory."""
    return t.transpose(-1, -2).contiguous().transpose(-1, -2) if t.ndim > 1 else t.clone()


def gapped(t: Tensor) -> Tensor:
    """Every other number of memory that holds something else in between, from the fourth on."""
    if not t.ndim:
        return t.clone()
    other = float("nan") if t.is_floating_point() else 0
    memory = torch.full((3 + 2 * t.numel(),), other, dtype=t.dtype, device=t.device)
    strides = tuple(2 * s for s in t.contiguous().stride())
    return memory[3:].as_strided(t.shape, strides).copy_(t)


def channels_last(t: Tensor) -> Tensor:
    """The second axis innermost in memory, as convolutions like it."""
    return t.movedim(1, -1).contiguous().movedim(-1, 1) if t.ndim > 2 else t.clone()


LAYOUTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "transposed storage": transposed,
    "storage with gaps and an offset": gapped,
    "channels-last storage": channels_last,
}
"""{what is said: a copy in that memory}."""


def moved(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape lie differently in memory."""
    return a.stride() != b.stride() or a.storage_offset() != b.storage_offset()


def dense(t: Tensor) -> bool:
    """Whether its entries fill their memory without gaps, in any order."""
    by_stride = sorted(zip(t.stride(), t.shape, strict=True))
    steps = [(stride, size) for stride, size in by_stride if size > 1]
    return all(stride == expected for (stride, _), expected in zip(steps, _filled([n for _, n in steps]), strict=True))


def _filled(sizes: list[int]) -> list[int]:
    return [prod(sizes[:k]) for k in range(len(sizes))]
