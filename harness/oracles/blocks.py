"""Entries that do not interact: found by probing, so that many are differenced with the evaluations of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from harness.draws import directions_like
from harness.oracles.differences import FIRST, Differences
from harness.oracles.stencil import Parts

POSITIONS = 600
"""Up to how many entries a block may have: each costs as many evaluations as an entry alone."""


SMALLER = 64
"""From how many times smaller than its unit an entry gets a unit of its own."""


@dataclass(frozen=True)
class Units:
    """In what a leaf's entries are moved."""

    step: Tensor
    """For a derivative."""
    reach: Tensor
    """To see how large the outputs are nearby."""


@dataclass(frozen=True)
class Blocks:
    """A tensor's entries in blocks such that every output depends on one block at most."""

    entries: Tensor
    """(positions, blocks): the flat index of the k-th entry of each block. One row is differenced at once."""
    parts: Parts
    """Which block each output depends on."""

    def units(self, differences: Differences, name: str) -> list[Units]:
        """Other units of each entry's step than the whole's: the spread within its block, where that has one (a row of 10⁻⁸
        beside rows of 1 has its own), and its own size, where that is smaller (10⁻⁹ beside 1 in one row)."""
        x = differences.case.leaves[name].detach().double()
        whole = differences.scales[name].expand(x.shape).reshape(-1)
        spread = x.reshape(-1)[self.entries].std(0, correction=0).expand_as(self.entries)
        by_block = whole.clone()
        by_block[self.entries] = torch.where(spread > 0, spread, by_block[self.entries])
        size = x.abs().reshape(-1)
        by_size = torch.where((size > 0) & (size < by_block), size, by_block)
        found = [Units(by_block, by_block)] if len(self.entries) > 1 and not torch.equal(by_block, whole) else []
        found += [Units(by_size, by_block)] if bool((SMALLER * by_size < by_block).any()) else []
        return [Units(u.step.reshape(x.shape), u.reach.reshape(x.shape)) for u in found]

    def outputs_of(self, entry: int) -> Tensor:
        """The outputs that one entry's block is seen to move, and those that no block is."""
        assert self.parts.owner is not None
        block = int((self.entries == entry).any(0).nonzero()[0])
        return (self.parts.owner == block) | (self.parts.owner < 0)


def blocks_of(
    differences: Differences, name: str, enough: Callable[[Tensor], bool] = lambda entries: False
) -> Blocks | None:
    """The finest blocks along axes of a leaf that no output joins; None where all its entries interact, or where whichever
    of those that are left it would be is `enough`: nobody asks for them.

    Elementwise functions have a block an entry, functions of rows a block a row. That a block moves an output is seen at a
    step as large as any that is used later; what is seen is what counts, so that a disagreement found through blocks must
    be found again in the entry alone.
    """
    shape = differences.case.leaves[name].shape
    index = torch.arange(math.prod(shape), device=differences.case.leaves[name].device).reshape(shape)
    candidates = [_within(index, joined) for joined in _joined(shape)]
    asked = [not enough(entries) for entries in candidates]
    for k, entries in enumerate(candidates):
        if not any(asked[k:]):
            break
        owner = _owners(differences, name, entries)
        if owner is not None:
            return Blocks(entries, Parts(owner, entries.shape[1])) if asked[k] else None
    return None


def _within(index: Tensor, joined: tuple[int, ...]) -> Tensor:
    """The entries of blocks that these axes lie within: (positions, blocks)."""
    rest = [k for k in range(index.ndim) if k not in joined]
    return index.permute(*joined, *rest).reshape(math.prod(index.shape[k] for k in joined), -1)


def _joined(shape: torch.Size) -> Iterator[tuple[int, ...]]:
    """Which axes lie within a block, the smallest blocks first; blocks of at most so many entries, and two at least."""
    axes = [k for k, n in enumerate(shape) if n > 1]
    chosen = [c for r in range(len(axes)) for c in combinations(axes, r)]
    sizes = {c: math.prod(shape[k] for k in c) for c in chosen}
    return iter(sorted((c for c in chosen if sizes[c] <= POSITIONS), key=lambda c: (sizes[c], c)))


def _owners(differences: Differences, name: str, entries: Tensor) -> Tensor | None:
    """For each output the block that moves it, −1 where none does; None where two blocks move one output.

    Blocks are told apart by the bits of their numbers: for each bit the blocks that have it are moved, then the others.
    """
    count = entries.shape[1]
    numbers = torch.arange(count, device=entries.device)
    owner, moved = torch.zeros_like(differences.y, dtype=torch.int64), None
    for bit in range(max(1, (count - 1).bit_length())):
        has = (numbers >> bit) % 2 == 1
        if (apart := _apart(differences, name, entries[:, has], entries[:, ~has])) is None:
            return None
        ones, zeros = apart
        if moved is not None and not torch.equal(moved, ones | zeros):
            return None
        moved = ones | zeros
        owner += ones.long() << bit
    assert moved is not None
    return torch.where(moved, owner, -1)


def _apart(differences: Differences, name: str, *parts: Tensor) -> tuple[Tensor, ...] | None:
    """Which outputs differ where the entries of each part are moved, to either side; None where two parts move one output,
    as one side shows most often, or the function refuses both sides."""
    x = differences.case.leaves[name]
    full = directions_like([x], differences.case.seed, 23)[0] * (differences.scales[name].to(x) * 2.0**-FIRST)
    steps = [{name: _only(full, part)} for part in parts]
    seen = [torch.zeros_like(differences.y, dtype=torch.bool) for _ in parts]
    known = [False for _ in parts]
    for side in (1.0, -1.0):
        for k, step in enumerate(steps):
            if (change := differences.change(step, side)) is not None:
                seen[k], known[k] = seen[k] | (change != 0), True
        if bool((torch.stack(seen).sum(0) > 1).any()):
            return None
    return tuple(seen) if all(known) else None


def _only(full: Tensor, entries: Tensor) -> Tensor:
    """A step in these entries alone."""
    step = torch.zeros_like(full).reshape(-1)
    step[entries.reshape(-1)] = full.reshape(-1)[entries.reshape(-1)]
    return step.reshape(full.shape)
