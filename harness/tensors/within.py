"""Arrays that lie in the memory of a larger one: `W = theta[:6].reshape(3, 2)` of parameters in one flat vector."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

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


def beginning_inside(arrays: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """The pairs (part, whole) of arrays the first of which begins in the memory of the second, in the order of the arrays: the only
    ones that `position` may say more of. Found by one walk through their addresses: a model may have hundreds."""
    order = {name: k for k, name in enumerate(arrays)}
    filled = sorted((t.data_ptr(), name) for name, t in arrays.items() if t.numel())
    pairs, wholes = [], dict[str, int]()  # {array that is still open at this address: where it ends}
    for address, beginning in groupby(filled, key=lambda found: found[0]):
        parts = [name for _, name in beginning]
        ends = {n: address + t.numel() * t.element_size() for n in parts if (t := arrays[n]).is_contiguous()}
        wholes = {n: end for n, end in wholes.items() if end > address} | ends
        pairs += [(part, whole) for part in parts for whole in wholes if whole != part]
    return sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))
