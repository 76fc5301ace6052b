"""Whether a global generator went on from where it was, as by draws, or was put elsewhere, as by a seed."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

WORDS = 624
"""Those of a Mersenne Twister, which makes so many anew at a time."""

TURNS = 2**14
"""After how many times that it is not looked for any more: ten million draws."""

TORCH = np.dtype(
    [("seed", np.uint64), ("left", np.int32), ("seeded", np.int32), ("next", np.uint64), ("state", np.uint64, WORDS)]
)
"""How torch's state begins: ATen's CPUGeneratorImplStateLegacy."""


def went_on(name: str, before: Any, after: Any) -> bool:
    """Whether draws alone lead from one state to the other, or it can't be told; the same state again is none.

    Args:
        name: the generator's, "torch", "numpy.random" or "random".
        before: its state, as `harness.replay.sources` reads it.
        after: the same later.
    """
    if before == after:
        return True
    if (old := _words(name, before)) is None or (new := _words(name, after)) is None:
        return True
    return _turned(*old, *new)


def _words(name: str, state: Any) -> tuple[np.ndarray, int] | None:
    """The words of a Mersenne Twister and how many of them are used; None of another kind."""
    if name == "torch":
        held = np.frombuffer(state, TORCH, 1)[0]
        return held["state"].astype(np.uint32), WORDS if held["left"] == 1 else int(held["next"])
    if isinstance(state, bytes):
        if len(state) != 4 * WORDS + 4:
            return None
        found = np.frombuffer(state, np.uint32)
    else:
        found = np.array(state[1], np.uint32)
    return found[:WORDS], int(found[WORDS])


def _turned(old: np.ndarray, start: int, new: np.ndarray, end: int) -> bool:
    """Whether the old words become the new ones, by turning them over as often as need be."""
    if np.array_equal(old, new):
        return end >= start
    twister = np.random.MT19937(0)
    twister.state = {"bit_generator": "MT19937", "state": {"key": old, "pos": WORDS}}
    first, address = new[:4].tobytes(), twister.ctypes.state_address
    for _ in range(TURNS):
        twister.random_raw(WORDS, output=False)
        if ctypes.string_at(address, len(first)) == first:
            return True
    return False
