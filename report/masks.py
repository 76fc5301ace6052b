"""Dropout for many small steps, with the cheapest random bits that a seed can have to itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layers import Dropout

AHEAD = 8  # forwards: from there on the bits themselves take the time, and not the calls


class SeededDropout(Dropout):
    """Dropout whose bits come from one of NumPy's bit generators for each leading index, masks for several forwards at once.

    SFC64 takes half the time of torch's generator, whose state alone is more than a layer's masks. A seed's masks depend
    on its own source and on how many entries it has, and on nothing else.
    """

    def __init__(self, p: float, sources: Sequence[np.random.BitGenerator]) -> None:
        super().__init__(p)
        self.sources = tuple(sources)
        self.generator = self.sources  # type: ignore[assignment]  # as many as leading indices
        self._drawn = np.empty((0, 0), np.uint64)
        self._left: list[Tensor] = []

    def _mask(self, z: Tensor) -> Tensor:
        if not self._left or self._left[0].shape != z.shape or self._left[0].dtype != z.dtype:
            several = z.unsqueeze(1).expand(
                -1, AHEAD, *z.shape[1:]
            )  # (S, AHEAD, …): a mask needs no more than the shape
            self._left = list(super()._mask(several).unbind(1))
        mask, *self._left = self._left
        return mask

    def _words(self, count: int, device: torch.device) -> Tensor:
        if self._drawn.shape[1] != count:  # else in the same place: new memory takes longer than what goes there
            self._drawn = np.empty((len(self.sources), count), np.uint64)
        for row, source in zip(self._drawn, self.sources, strict=True):
            row[:] = source.random_raw(count)
        return torch.from_numpy(self._drawn.view(np.int64)).to(device)
