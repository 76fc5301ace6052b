"""Batch normalisation in training and dropout, put into a mode in every way that people use."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class Norm:
    """x̂ γ by the batch's statistics in training, by the running ones else; `training` says which."""

    factor = 1.0

    def __init__(self) -> None:
        self.gamma = np.array([1.0, 1.5, 0.5])
        self.running_mean, self.running_var = np.zeros(3), np.ones(3)

    def compute(self, x: Any, training: bool) -> Any:
        mean, var = (x.mean(0), x.var(0)) if training else (self.running_mean, self.running_var)
        if training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var
        self.batch, self.s = training, np.sqrt(var + 1e-5)
        self.xhat = (x - mean) / self.s
        return self.xhat * self.gamma

    def backward(self, dy: Any) -> Any:
        self.dgamma = self.factor * (dy * self.xhat).sum(0)
        dh = dy * self.gamma
        if self.batch:
            dh = dh - dh.mean(0) - self.xhat * (dh * self.xhat).mean(0)
        return dh / self.s


def by_attribute(name: str, on: Any = True, off: Any = False) -> type:
    """A layer whose attribute says the mode."""

    class ByAttribute(Norm):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, name, on)

        def forward(self, x: Any) -> Any:
            return self.compute(x, getattr(self, name) == on)

    return ByAttribute


class Lent(Norm):
    """Its `trainable` is its mode, and in evaluation what it keeps for backward is the running statistics' own arrays; the wrong
    twin goes back through a batch's statistics there too."""

    def __init__(self) -> None:
        self.mean = self.var = np.zeros(3)
        super().__init__()
        self.trainable = True

    def forward(self, x: Any) -> Any:
        if self.trainable:
            self.mean, self.var = x.mean(0), x.var(0)
            self.running_mean = 0.9 * self.running_mean + 0.1 * self.mean
            self.running_var = 0.9 * self.running_var + 0.1 * self.var
        else:
            self.mean, self.var = self.running_mean, self.running_var
        self.batch, self.s = self.trainable or self.factor != 1.0, np.sqrt(self.var + 1e-5)
        self.xhat = (x - self.mean) / self.s
        return self.xhat * self.gamma

    def backward(self, dy: Any) -> Any:
        self.dgamma = (dy * self.xhat).sum(0)
        dh = dy * self.gamma
        return (dh - dh.mean(0) - self.xhat * (dh * self.xhat).mean(0) if self.batch else dh) / self.s


class Frozen(Norm):
    """One that is told by `trainable` whether to keep what a gradient of its parameters needs: no mode."""

    trainable = True

    def forward(self, x: Any) -> Any:
        self.x = x if self.trainable else None
        return x * self.gamma

    def backward(self, dy: Any) -> Any:
        if self.trainable:
            self.dgamma = self.factor * (dy * self.x).sum(0)
        return dy * self.gamma


class ByMethods(Norm):
    """train() and eval()."""

    def __init__(self) -> None:
        super().__init__()
        self.train()

    def train(self) -> None:
        self.now = True

    def eval(self) -> None:
        self.now = False

    def forward(self, x: Any) -> Any:
        return self.compute(x, self.now)


class Training(Norm):
    def forward(self, x: Any, training: bool = True) -> Any:
        return self.compute(x, training)


class Train(Norm):
    def forward(self, x: Any, train: bool = False) -> Any:
        return self.compute(x, train)


class IsTrain(Norm):
    def forward(self, x: Any, *, is_train: bool) -> Any:
        return self.compute(x, is_train)


class TrainFlg(Norm):
    def forward(self, x: Any, train_flg: bool = True) -> Any:
        return self.compute(x, train_flg)


class Eval(Norm):
    """CMU 11-785's mytorch."""

    def forward(self, Z: Any, eval: bool = False) -> Any:
        return self.compute(Z, not eval)


class ModeRequired(Norm):
    def forward(self, x: Any, mode: str) -> Any:
        if mode not in ("train", "inference"):
            raise ValueError(mode)
        return self.compute(x, mode == "train")


class Mode(Norm):
    def forward(self, x: Any, mode: str = "train") -> Any:
        if mode not in ("train", "test"):
            raise ValueError(mode)
        return self.compute(x, mode == "train")


class Net:
    """Its layers have the attribute, it has none itself."""

    factor = 1.0

    def __init__(self) -> None:
        norm = by_attribute("training")
        self.layers = [norm(), norm()]
        self.layers[0].factor = self.factor

    def forward(self, x: Any) -> Any:
        return self.layers[1].forward(np.tanh(self.layers[0].forward(x)))

    def backward(self, dy: Any) -> Any:
        y = np.tanh(self.layers[0].xhat * self.layers[0].gamma)
        return self.layers[0].backward(self.layers[1].backward(dy) * (1 - y**2))


def dropout(draw: Any) -> type:
    """A dropout whose mask comes from this function of the shape; the wrong twin forgets the mask."""

    class Dropout:
        factor = 1.0

        def forward(self, x: Any, training: bool = True) -> Any:
            self.mask = (draw(x.shape) < 0.7) / 0.7 if training else np.ones(x.shape)
            return x * self.mask

        def backward(self, dy: Any) -> Any:
            return dy * (self.mask if self.factor == 1.0 else 1.0)

    return Dropout


class OneInEval:
    """What is an array in training is a number in eval."""

    factor = 1.0

    def __init__(self) -> None:
        self.training = True

    def forward(self, x: Any) -> Any:
        self.mask = (np.random.rand(*x.shape) < 0.7) / 0.7 if self.training else 1.0  # noqa: NPY002
        return x * self.mask

    def backward(self, dy: Any) -> Any:
        return self.factor * dy * self.mask


class OwnGenerator:
    """A generator of its own."""

    factor = 1.0

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def forward(self, x: Any) -> Any:
        self.mask = self.rng.random(x.shape) < 0.7
        return x * self.mask

    def backward(self, dy: Any) -> Any:
        return dy * (self.mask if self.factor == 1.0 else 1.0)


class OfItsClass(OwnGenerator):
    """A generator that all layers of the class share."""

    rng = np.random.default_rng(1)

    def __init__(self) -> None:
        pass


RNG, TORCH_RNG = np.random.RandomState(2), torch.Generator().manual_seed(3)
"""At the top of the file, as courses have it."""


def drawn(shape: tuple[int, ...]) -> Any:
    return RNG.random_sample(shape)


class Unlucky:
    """Draws from NumPy's global generator; that at the top of the file only made its weights."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = RNG.standard_normal(3)

    def forward(self, x: Any) -> Any:
        self.x, self.mask = x, np.random.rand(*x.shape) < 0.7  # noqa: NPY002
        return x * self.W * self.mask

    def backward(self, dy: Any) -> Any:
        self.dW = (dy * self.x * self.mask).sum(0)
        return dy * self.W * (self.mask if self.factor == 1.0 else 1.0)


GENERATORS: dict[str, Any] = {
    "the file's": drawn,
    "the file's, torch": lambda shape: torch.rand(shape, generator=TORCH_RNG).numpy(),
    "numpy.random": lambda shape: np.random.rand(*shape),  # noqa: NPY002
    "random": lambda shape: np.array([random.random() for _ in range(int(np.prod(shape)))]).reshape(shape),
    "torch": lambda shape: torch.rand(*shape).numpy(),
}
