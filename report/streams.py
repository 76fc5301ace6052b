"""One random stream for each purpose and seed, so that nothing drawn for one shifts another.

A stream depends on the run seed and the purpose's name alone. The four models therefore start from the same
weights on the same split, see the same batches, and (the two with Dropout) the same masks: their differences are
paired. And a seed draws the same numbers whichever others it runs beside.
"""

import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

Purpose = Literal["split", "initialisation", "batches", "masks"]


def root(seed: int, purpose: Purpose) -> np.random.SeedSequence:
    """What all randomness of one purpose of one run comes from."""
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),))


def stream(seed: int, purpose: Purpose) -> torch.Generator:
    """The generator of one purpose of one run; on the CPU, so that every device draws the same."""
    return torch.Generator().manual_seed(int(root(seed, purpose).generate_state(1, np.uint64)[0]))


def streams(seeds: Sequence[int], purpose: Purpose) -> list[torch.Generator]:
    """The same for several runs, in their order."""
    return [stream(seed, purpose) for seed in seeds]


def bits(seeds: Sequence[int], purpose: Purpose) -> list[np.random.BitGenerator]:
    """The cheapest random bits there are, for each of several runs."""
    return [np.random.SFC64(root(seed, purpose)) for seed in seeds]
