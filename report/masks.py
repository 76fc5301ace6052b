"""Dropout for many small steps, with the cheapest random bits that a seed can have to itself."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from layers import Dropout

AHEAD = 8  # forwards: from there on the bits themselves take the time, and not the calls


class SeededDropout(Dropout):
    """Dropout whose bits come from one of NumPy's bit generators for each leading index, for several forwards at once.

    SFC64 takes half the time of torch's generator, whose state alone is more than a layer's masks. A seed's masks depend
    on its own source and on how many entries it has, and on nothing else.
    """

    def __init__(self, p: float, sources: Sequence[np.random.BitGenerator]) -> None:
        super().__init__(p)
        self.sources = tuple(sources)
        self.generator = self.sources  # type: ignore[assignment]  # as many as leading indices
        self._drawn = np.empty((0, 0, 0), np.uint64)
        self._left: list[Tensor] = []

    def _words(self, count: int, device: torch.device) -> Tensor:
        if not self._left or self._left[0].shape[-1] != count:
            self._draw(count)
        words, *self._left = self._left
        return words.to(device)

    def _draw(self, count: int) -> None:
        shape = (AHEAD, len(self.sources), count)
        if self._drawn.shape != shape:  # else in the same place: new memory takes longer than what goes there
            self._drawn = np.empty(shape, np.uint64)
        for s, source in enumerate(self.sources):
            self._drawn[:, s] = source.random_raw((AHEAD, count))
        self._left = list(torch.from_numpy(self._drawn.view(np.int64)).unbind(0))
