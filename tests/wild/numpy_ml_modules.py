"""The modules of numpy-ml 0.1.2, and its one loss with parameters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy_ml_layers import IN_INPUTS, IN_PARAMETERS, Row, floats, nets

losses, modules = nets.losses, nets.modules

ORDER = "WavenetResidualModule.backward takes (dY_skip, dY_main) where forward returns (Y_main, Y_skip)"
MERGE = "BidirectionalLSTM.backward asks for merge_mode 'multiplty'"
HIT = "NCELoss._grad deletes a target's own gradient where it is among the negative samples"


class InOrder:
    """A module whose backward takes the cotangents in another order than forward returns the outputs."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def forward(self, X_main: np.ndarray, X_skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.module.forward(X_main, X_skip)

    def backward(self, dY_main: np.ndarray, dY_skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.module.backward(dY_skip, dY_main)


class Sampler:
    """What NCELoss asks of its noise: probabilities. The negative samples are given."""

    probs = np.array([0.3, 0.2, 0.1, 0.1, 0.2, 0.1])


class Contrastive:
    """NCELoss at given targets and negative samples, its gradients kept where it would take a step with them."""

    def __init__(self, target: list[int], negative: list[int]) -> None:
        self.loss = losses.NCELoss(6, Sampler(), len(negative))
        self.target, self.negative = np.array(target), np.array(negative)

    def forward(self, X: np.ndarray) -> float:
        return self.loss.loss(X, self.target, self.negative)[0]

    def backward(self) -> np.ndarray:
        return self.loss.grad(update_params=False)


def rows() -> Iterator[Row]:
    image, series = floats(2, 4, 4, 3), floats(2, 3, 4)
    wave = partial(modules.WavenetResidualModule, ch_residual=3, ch_dilation=2, dilation=1, kernel_width=2)
    both = (floats(2, 6, 3), floats(2, 6, 3, seed=1))
    yield Row("WavenetResidualModule", wave, both, IN_INPUTS, ORDER)
    yield Row("WavenetResidualModule, in order", lambda: InOrder(wave()), both)
    identity = partial(modules.SkipConnectionIdentityModule, 2, (3, 3), (3, 3))
    yield Row("SkipConnectionIdentityModule", identity, (image,))
    conv = partial(modules.SkipConnectionConvModule, 2, 3, (2, 2), (2, 2), (2, 2), 1, 1)
    yield Row("SkipConnectionConvModule", conv, (image,))
    for mode in ("concat", "sum", "average", "multiply"):
        wrong = (IN_INPUTS, MERGE) if mode == "multiply" else ()
        yield Row(
            f"BidirectionalLSTM({mode})", partial(modules.BidirectionalLSTM, 2, merge_mode=mode), (series,), *wrong
        )
    qkv = (floats(3, 4), floats(3, 4, seed=1), floats(3, 4, seed=2))
    yield Row("MultiHeadedAttentionModule", partial(modules.MultiHeadedAttentionModule, 2), qkv)
    x, constant = floats(3, 1, 4), {"loss.noise_sampler.probs": None}
    yield Row("NCELoss", partial(Contrastive, [1, 3, 3], [0, 2, 2, 5]), (x,), grads=constant)
    hit = partial(Contrastive, [1, 3, 4], [0, 3, 2, 5])
    yield Row("NCELoss, a target sampled", hit, (x,), IN_PARAMETERS, HIT, constant)


ROWS = tuple(rows())
