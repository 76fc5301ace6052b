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


def stream(seed: int, purpose: Purpose, device: str = "cpu") -> torch.Generator:
    """The generator of one purpose of one run."""
    key = zlib.crc32(purpose.encode())
    state = np.random.SeedSequence(seed, spawn_key=(key,)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state))


def streams(seeds: Sequence[int], purpose: Purpose, device: str = "cpu") -> list[torch.Generator]:
    """The same for several runs, in their order."""
    return [stream(seed, purpose, device) for seed in seeds]
