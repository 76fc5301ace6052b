"""Layers of which something could be skipped in silence, and gradients that are added up or overwritten."""

from __future__ import annotations

from typing import Any

import numpy as np

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)


class Scaled:
    """A float array that changes the output and has no gradient, beside a parameter that has one."""

    def __init__(self) -> None:
        self.W, self.scale = W0.copy(), np.array([1.5, 0.5])

    def forward(self, x: Any) -> Any:
        self.x = x
        return (x @ self.W) * self.scale

    def backward(self, dy: Any) -> Any:
        self.dW = self.x.T @ (dy * self.scale)
        return (dy * self.scale) @ self.W.T


class Deep:
    """The same array inside an inner layer that keeps it in a list."""

    def __init__(self) -> None:
        self.inner = [Scaled()]

    def forward(self, x: Any) -> Any:
        return self.inner[0].forward(x)

    def backward(self, dy: Any) -> Any:
        return self.inner[0].backward(dy)


class Accumulates:
    """Both gradients are added up."""

    def __init__(self) -> None:
        self.W, self.b = W0.copy(), np.zeros(2)
        self.dW, self.db = np.zeros((3, 2)), np.zeros(2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW += self.x.T @ dy
        self.db += dy.sum(0)
        return dy @ self.W.T


class Resets(Accumulates):
    """Both are added up, and cleared by a method of its own."""

    def zero_grad(self) -> None:
        self.dW, self.db = np.zeros((3, 2)), np.zeros(2)


class ResetsOne(Accumulates):
    """Its method clears the gradient of W alone."""

    def zero_grad(self) -> None:
        self.dW = np.zeros((3, 2))


class Overwrites(Accumulates):
    """Both are overwritten."""

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class Mixed(Accumulates):
    """One is added up, the other overwritten."""

    def backward(self, dy: Any) -> Any:
        self.dW += self.x.T @ dy
        self.db = dy.sum(0)
        return dy @ self.W.T


class Now(Overwrites):
    """Both are overwritten, and added up for two examples."""

    def backward(self, dy: Any) -> Any:
        before = (self.dW, self.db) if len(dy) == 2 else (0.0, 0.0)
        self.dW, self.db = before[0] + self.x.T @ dy, before[1] + dy.sum(0)
        return dy @ self.W.T


class Twice(Accumulates):
    """Adds the gradient of b to what stands there twice over: right from zero, wrong from the second backward on."""

    def backward(self, dy: Any) -> Any:
        self.dW += self.x.T @ dy
        self.db = 2 * self.db + dy.sum(0)
        return dy @ self.W.T


class Position:
    """Adds a table that is made when a length first comes up, kept by length or by shape."""

    factor = 1.0
    key: Any = staticmethod(lambda shape: shape[0])

    def __init__(self) -> None:
        self.cache: Any = {}

    def forward(self, x: Any) -> Any:
        key = self.key(x.shape)
        if key not in self.cache:
            self.cache[key] = np.sin(np.arange(x.size).reshape(x.shape))
        self.x = x
        return x**2 + self.cache[key]

    def backward(self, dy: Any) -> Any:
        return self.factor * 2 * self.x * dy


class ByShape(Position):
    key = staticmethod(tuple)


class Causal(Position):
    """Keeps the last mask alone."""

    def __init__(self) -> None:
        self.mask: Any = None

    def forward(self, x: Any) -> Any:
        if self.mask is None or self.mask.shape != x.shape:
            self.mask = np.tril(np.ones(x.shape))
        self.x = x
        return x**2 * self.mask

    def backward(self, dy: Any) -> Any:
        return super().backward(dy * self.mask)


class Listed:
    """Weights in a list, one of them without a gradient."""

    def __init__(self) -> None:
        self.ws = [np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5])]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.ws[0] * self.ws[1]

    def backward(self, dy: Any) -> Any:
        return dy * self.ws[0] * self.ws[1]


class Biased:
    """Writes the gradient of a bias that it has not, and what it calls `dscores` on the way."""

    def __init__(self) -> None:
        self.W = np.arange(6.0).reshape(3, 2) / 4

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        self.dscores = 2 * dy
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class Loss:
    """The mean square of x − y; None for the gradient of y."""

    def forward(self, x: Any, y: Any) -> Any:
        self.c = x - y
        return (self.c**2).mean()

    def backward(self) -> Any:
        return 2 * self.c / self.c.size, None


class Difference(Loss):
    """No loss: None is no gradient there."""

    def forward(self, x: Any, y: Any) -> Any:
        return x - y

    def backward(self, d: Any) -> Any:
        return d, None


class Integers:
    """The sum of the entries, its gradient in integers or booleans."""

    factor, dtype = 1, int

    def forward(self, x: Any) -> Any:
        self.x = x
        return x.sum()

    def backward(self) -> Any:
        return (self.factor * np.ones(self.x.shape)).astype(self.dtype)
