"""Layers whose methods have other names than forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np


class Backprop:
    """`forward` and `backprop`, which keeps its gradient."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.linspace(-1, 1, 6).reshape(3, 2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backprop(self, dy: Any) -> Any:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


class Passes(Backprop):
    """`forward_pass` and `backward_pass`."""

    forward = None  # type: ignore[assignment]

    def forward_pass(self, x: Any) -> Any:
        return Backprop.forward(self, x)

    def backward_pass(self, dy: Any) -> Any:
        return self.backprop(dy)


class Called(Backprop):
    """`__call__` and `bprop`."""

    forward = None  # type: ignore[assignment]

    def __call__(self, x: Any) -> Any:
        return Backprop.forward(self, x)

    def bprop(self, dy: Any) -> Any:
        return self.backprop(dy)


class Pulled(Backprop):
    """`forward` and `vjp`."""

    backprop = None  # type: ignore[assignment]

    def vjp(self, v: Any) -> Any:
        return Backprop.backprop(self, v)


class Steps(Backprop):
    """A step instead of a gradient, as in tutorials on convolution."""

    def backprop(self, dy: Any, learn_rate: Any) -> Any:  # type: ignore[override]
        dx = dy @ self.W.T
        self.W -= learn_rate * self.factor * self.x.T @ dy
        return dx
