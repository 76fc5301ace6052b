"""Blocks of a leaf's entries and of the outputs that belong together, as the shapes suggest: no forward is spent on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

AXES = 5
"""Of how many axes at most every subset is tried."""


@dataclass(frozen=True)
class Pairing:
    """A block for every entry of a leaf and for every output, by number.

    It is only a guess, and need not be checked by itself: a claim that meets ⟨v, J d⟩ block by block along random
    directions is right and the guess with it, or off by what another block moves in one draw of measure zero.
    """

    entries: Tensor
    outputs: Tensor
    count: int

    def of_entries(self, t: Tensor) -> Tensor:
        """The sum over the entries of each block."""
        return t.new_zeros(self.count).index_add_(0, self.entries, t)

    def of_outputs(self, t: Tensor) -> Tensor:
        """The sum over the outputs of each block."""
        return t.new_zeros(self.count).index_add_(0, self.outputs, t)

    def to(self, device: torch.device) -> Pairing:
        """On the device of the layer's tensors."""
        return Pairing(self.entries.to(device), self.outputs.to(device), self.count)

    def least(self, t: Tensor) -> Tensor:
        """The smallest entry of each block, 0 where it has none."""
        found = t.new_full((self.count,), torch.inf).scatter_reduce_(0, self.entries, t, "amin")
        return torch.where(found.isinf(), 0.0, found)


def whole(entries: int, outputs: int) -> Pairing:
    """All in one block."""
    return Pairing(torch.zeros(entries, dtype=torch.int64), torch.zeros(outputs, dtype=torch.int64), 1)


def pairings(leaf: torch.Size, outputs: Sequence[torch.Size]) -> list[Pairing]:
    """The finest first: elementwise, windows that do not overlap, rows, columns, …; all in one block last."""
    found = sorted(_suggested(leaf, outputs), key=lambda p: -p.count)
    return [*found, whole(math.prod(leaf), sum(map(math.prod, outputs)))]


def _suggested(leaf: torch.Size, outputs: Sequence[torch.Size]) -> Iterator[Pairing]:
    rank = min([len(leaf), *map(len, outputs)])
    if rank > AXES or not math.prod(leaf):
        return
    last = all(len(y) == len(leaf) for y in outputs)
    for kept in (c for r in range(rank, 0, -1) for c in combinations(range(rank), r)):
        for sign in (1,) if last else (1, -1):  # counted from the first axis, or from the last
            if (found := _paired(leaf, outputs, [k if sign > 0 else -1 - k for k in kept])) is not None:
                yield found


def _paired(leaf: torch.Size, outputs: Sequence[torch.Size], axes: Sequence[int]) -> Pairing | None:
    """Blocks along these axes, each of a place of the outputs or of as many entries as come to one; the entries that are left
    over at the end belong to one more, which moves nothing."""
    sizes = [outputs[0][k] for k in axes]
    if any([y[k] for k in axes] != sizes for y in outputs) or math.prod(sizes) < 2:
        return None
    if any(not 0 < n <= leaf[k] for k, n in zip(axes, sizes, strict=True)):
        return None
    count = math.prod(sizes)
    places = [_places(y, axes, sizes, [1] * len(axes), count) for y in outputs]
    windows = [leaf[k] // n for k, n in zip(axes, sizes, strict=True)]
    return Pairing(_places(leaf, axes, sizes, windows, count), torch.cat(places), count + 1)


def _places(shape: torch.Size, axes: Sequence[int], sizes: Sequence[int], windows: Sequence[int], rest: int) -> Tensor:
    """For each entry of a tensor the number of its block, `rest` beyond the last."""
    number, beyond = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool)
    for k, n, window in zip(axes, sizes, windows, strict=True):
        along = (torch.arange(shape[k]) // window).reshape(-1, *[1] * (len(shape) - 1 - k % len(shape)))
        number, beyond = number * n + along, beyond | (along >= n)
    return number.masked_fill(beyond, rest).reshape(-1)
