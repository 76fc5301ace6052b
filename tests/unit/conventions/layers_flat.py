"""Layers as courses write them: parameters in one flat vector, gradients in a tuple or a dataclass of their own, outputs asked for
again, methods and properties of other names."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from layers_backwards import Linear
from twins import randn as tensor


def randn(*shape: int) -> Any:
    return tensor(*shape).numpy()


class Flat:
    """Weights and biases are views of `theta`, and their gradients of `grad_theta`."""

    factor = 1.0

    def __init__(self) -> None:
        self.theta, self.grad_theta = randn(8), np.zeros(8)
        self.W, self.b = self.theta[:6].reshape(3, 2), self.theta[6:]
        self.dW, self.db = self.grad_theta[:6].reshape(3, 2), self.grad_theta[6:]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW[:], self.db[:] = self.factor * self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class FlatApart(Flat):
    """The parts' gradients lie elsewhere; the vector's is another."""

    def backward(self, dy: Any) -> Any:
        dW, self.db = self.x.T @ dy, dy.sum(0)
        self.dW, self.grad_theta = 2 * dW, np.concatenate([dW.ravel(), self.db])
        return dy @ self.W.T


class InTheirOwnTuple(Linear):
    def forward(self, x: Any, y: Any) -> Any:  # type: ignore[override]
        self.y = y
        return super().forward(x) * y

    def backward(self, dy: Any) -> Any:
        plain = self.x @ self.W + self.b
        d = dy * self.y
        return (d @ self.W.T, dy * plain), {"W": self.factor * self.x.T @ d, "b": d.sum(0)}


class InListsOfTheirOwn:
    factor = 1.0

    def __init__(self) -> None:
        self.params = [randn(3, 2), randn(2)]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dy: Any) -> Any:
        return [dy @ self.params[0].T], [self.factor * self.x.T @ dy, dy.sum(0)]


@dataclass
class Gradients:
    dx: Any
    dW: Any  # noqa: N815
    db: Any


class InADataclass(Linear):
    def backward(self, dy: Any) -> Any:
        return Gradients(dy @ self.W.T, self.factor * self.x.T @ dy, dy.sum(0))


class InANamespace(Linear):
    def backward(self, dy: Any) -> Any:
        return SimpleNamespace(x=dy @ self.W.T, W=self.factor * self.x.T @ dy, b=dy.sum(0))


class OutputAgain:
    factor = 1.0

    def __init__(self) -> None:
        self.w = randn(3)

    def forward(self, x: Any) -> Any:
        return np.tanh(self.w * x)

    def backward(self, x: Any, y: Any, dy: Any) -> Any:
        d = dy * (1 - y**2)
        self.dw = self.factor * (d * x).sum(0)
        return d * self.w


class Properties:
    factor = 1.0

    def __init__(self) -> None:
        self._theta, self._g = randn(3, 2), np.zeros((3, 2))

    weights = property(lambda self: self._theta)
    weights_grad = property(lambda self: self._g)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.weights

    def backward(self, dy: Any) -> Any:
        self._g = self.factor * self.x.T @ dy
        return dy @ self.weights.T


class Shaped:
    """The caller tells the shape, then has the parameters made."""

    factor = 1.0

    def set_input_shape(self, shape: Any) -> None:
        self.shape = shape

    def initialize(self) -> None:
        self.W = np.random.default_rng(0).standard_normal((self.shape[0], 2))

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


def renamed(forward: str, backward: str) -> type:
    """A linear layer with methods of these names."""

    def fore(self: Any, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def back(self: Any, dy: Any) -> Any:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T

    def made(self: Any) -> None:
        self.W = randn(3, 2)

    return type("Renamed", (), {"factor": 1.0, "__init__": made, forward: fore, backward: back})


class ByKeyword(Linear):
    def forward(self, *, x: Any) -> Any:  # type: ignore[override]
        return super().forward(x)

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.factor * self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class SecondByKeyword(ByKeyword):
    def forward(self, x: Any, *, y: Any) -> Any:  # type: ignore[override]
        self.y = y
        return super().forward(x=x) + y

    def backward(self, dy: Any) -> Any:
        return super().backward(dy), dy


class Pair(NamedTuple):
    """A layer that is a tuple."""

    W: Any

    def forward(self, x: Any) -> Any:
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        return dy @ self.W.T


class Cost:
    """Methods of no usual name."""

    @staticmethod
    def fn(a: Any) -> Any:
        return a**2

    @staticmethod
    def delta(a: Any) -> Any:
        return 2 * a


class OneVector:
    """All parameters one after another in one vector, all gradients in another."""

    factor = 1.0

    def __init__(self) -> None:
        self.theta, self.grad = np.linspace(-1.0, 1.5, 8), np.zeros(8)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.theta[:6].reshape(3, 2) + self.theta[6:]

    def backward(self, dy: Any) -> Any:
        self.grad = np.concatenate([self.factor * (self.x.T @ dy).ravel(), dy.sum(0)])
        return dy @ self.theta[:6].reshape(3, 2).T


class ConstantVector:
    """What is called so may be a constant, and `grad` that of the input."""

    factor = 1.0

    def __init__(self) -> None:
        self.p = np.linspace(-1.0, 1.5, 3)

    def forward(self, x: Any) -> Any:
        return x + self.p

    def backward(self, dy: Any) -> Any:
        self.grad = self.factor * dy
        return self.grad
