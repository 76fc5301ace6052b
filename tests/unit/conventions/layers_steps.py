"""Backwards in two steps, and those that are handed what forward has returned for them, before the cotangent."""

from __future__ import annotations

from typing import Any

import numpy as np

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)


class Accumulating:
    """backward for the input, accumulate for the weight."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.W_grad = W0.copy(), np.zeros_like(W0)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        self.dy = dy
        return dy @ self.W.T

    def accumulate(self) -> None:
        self.W_grad += self.factor * self.x.T @ self.dy


class CallingIt(Accumulating):
    """Its backward calls the other itself."""

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.accumulate()
        return dx


class CallingByItsBase(CallingIt):
    """Its base's backward does."""

    def backward(self, dy: Any) -> Any:
        return super().backward(1.0 * dy)


class Private:
    """What it has of its own under such a name is nobody's to call."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.W_grad = W0.copy(), np.zeros_like(W0)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        self.dy, self.W_grad = dy, np.zeros_like(self.W)
        getattr(self, "_accumulate")()  # noqa: B009
        return dy @ self.W.T

    def _accumulate(self) -> None:
        self.W_grad += self.factor * self.x.T @ self.dy


class Overwriting(Accumulating):
    """It overwrites, under another name."""

    accumulate = None  # type: ignore[assignment]

    def compute_gradients(self) -> None:
        self.W_grad = self.factor * self.x.T @ self.dy


class Memory:
    """tanh whose forward returns what backward needs beside its output."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        y = np.tanh(x)
        return y, y

    @classmethod
    def backward(cls, y: Any, grad: Any) -> Any:
        return cls.factor * grad * (1 - y**2)


class MemoryLast(Memory):
    """The same, asked for after the cotangent."""

    def backward(self, grad: Any, mask: Any) -> Any:  # type: ignore[override]
        return self.factor * grad * (1 - mask**2)


class TwoOutputs:
    """Two outputs, a cotangent for each: nothing is kept."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        self.x = x
        return x**2, 3 * x

    def backward(self, dy: Any, dz: Any) -> Any:
        return self.factor * 2 * self.x * dy + 3 * dz


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pullback_softmax(y: Any, y_bar: Any) -> Any:
    return y * (y_bar - (y * y_bar).sum(-1, keepdims=True))


def wrong_pullback_softmax(y: Any, y_bar: Any) -> Any:
    return y * y_bar * (1 - y)


class Capa:
    """Methods under Spanish names."""

    factor = 1.0

    def __init__(self) -> None:
        self.pesos = W0.copy()

    def adelante(self, x: Any) -> Any:
        self.x = x
        return x @ self.pesos

    def atras(self, grad: Any) -> Any:
        self.grad_pesos = self.factor * self.x.T @ grad
        return grad @ self.pesos.T


class Schicht:
    """Methods under German names, one with an umlaut."""

    factor = 1.0

    def __init__(self) -> None:
        self.gewicht = W0.copy()

    def vorwärts(self, x: Any) -> Any:
        self.x = x
        return x @ self.gewicht

    def rückwärts(self, dy: Any) -> Any:
        self.d_gewicht = self.factor * self.x.T @ dy
        return dy @ self.gewicht.T


class Couche:
    factor = 1.0

    def __init__(self) -> None:
        self.W = W0.copy()

    def propagation(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def retropropagation(self, dy: Any) -> Any:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


class Activates:
    factor = 1.0

    def activate(self, x: Any) -> Any:
        self.x = x
        return np.tanh(x)

    def back_propagation(self, dy: Any) -> Any:
        return self.factor * dy * (1 - np.tanh(self.x) ** 2)


class Foreign:
    """What is like an array of neither torch nor NumPy, with a slot that can't be asked for."""

    __slots__ = ("__weakref__", "array")

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


class InAnotherLibrary:
    def __init__(self) -> None:
        self.W = Foreign(W0)

    def forward(self, x: Any) -> Any:
        return Foreign(x @ W0)

    def backward(self, dy: Any) -> Any:
        return Foreign(dy @ W0.T)


class StepsOfNorm:
    """Batch normalisation that moves γ and β itself: of one example in training γ stands still."""

    factor = 1.0

    def __init__(self, size: int) -> None:
        self.gamma, self.beta, self.lr = np.ones(size), np.zeros(size), 0.01
        self.running_mean, self.running_var = np.zeros(size), np.ones(size)

    def forward(self, x: Any, training: bool = True) -> Any:
        self.mean, self.var = self.running_mean, self.running_var
        if training:
            self.mean, self.var = x.mean(0), x.var(0)
            self.running_mean = 0.9 * self.running_mean + 0.1 * self.mean
            self.running_var = 0.9 * self.running_var + 0.1 * self.var
        self.training, self.std = training, np.sqrt(self.var + 1e-5)
        self.xhat = (x - self.mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, grad: Any) -> Any:
        g = grad * self.gamma
        through = g.mean(0) + self.xhat * (g * self.xhat).mean(0) if self.training else 0.0
        self.gamma -= self.lr * self.factor * (grad * self.xhat).sum(0)
        self.beta -= self.lr * grad.sum(0)
        return (g - through) / self.std
