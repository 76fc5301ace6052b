"""Arrays that lie in the memory of a larger one: `W = theta[:6].reshape(3, 2)` of parameters in one flat vector."""

from __future__ import annotations

import torch
from torch import Tensor


def position(part: Tensor, whole: Tensor) -> Tensor | None:
    """Where each entry of one array stands among those of a larger one; None where it does not lie in it."""
    if part.dtype != whole.dtype or not 0 < part.numel() < whole.numel() or not whole.is_contiguous():
        return None
    start, rest = divmod(part.data_ptr() - whole.data_ptr(), part.element_size())
    reach = sum((size - 1) * step for size, step in zip(part.shape, part.stride(), strict=True))
    if rest or part.device != whole.device or start < 0 or start + reach >= whole.numel():
        return None
    return torch.arange(whole.numel(), device=whole.device).as_strided(part.shape, part.stride(), start)
