"""The modules of numpy-ml 0.1.2, and its one loss with parameters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy_ml_layers import Row, floats, nets

modules = nets.modules


class InOrder:
    """A module whose backward takes the cotangents in another order than forward returns the outputs."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def forward(self, X_main: np.ndarray, X_skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.module.forward(X_main, X_skip)

    def backward(self, dY_main: np.ndarray, dY_skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.module.backward(dY_skip, dY_main)


def rows() -> Iterator[Row]:
    image, series = floats(2, 4, 4, 3), floats(2, 3, 4)
    wave = partial(modules.WavenetResidualModule, ch_residual=3, ch_dilation=2, dilation=1, kernel_width=2)
    both = (floats(2, 6, 3), floats(2, 6, 3, seed=1))
    yield Row("WavenetResidualModule", wave, both)
    yield Row("WavenetResidualModule, in order", lambda: InOrder(wave()), both)
    identity = partial(modules.SkipConnectionIdentityModule, 2, (3, 3), (3, 3))
    yield Row("SkipConnectionIdentityModule", identity, (image,))
    conv = partial(modules.SkipConnectionConvModule, 2, 3, (2, 2), (2, 2), (2, 2), 1, 1)
    yield Row("SkipConnectionConvModule", conv, (image,))
    for mode in ("concat", "sum", "average", "multiply"):
        yield Row(f"BidirectionalLSTM({mode})", partial(modules.BidirectionalLSTM, 2, merge_mode=mode), (series,))
    qkv = (floats(3, 4), floats(3, 4, seed=1), floats(3, 4, seed=2))
    yield Row("MultiHeadedAttentionModule", partial(modules.MultiHeadedAttentionModule, 2), qkv)


ROWS = tuple(rows())
