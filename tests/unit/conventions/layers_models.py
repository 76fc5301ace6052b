"""Whole models, nodes of graphs, and methods of one gradient each: what can't be checked as it stands."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


class KeepsGradients:
    """Logistic regression of a course."""

    factor = 1.0

    def __init__(self) -> None:
        self.w, self.b = np.linspace(-1, 1, 3)[:, None], np.zeros(1)

    def forward(self, X: Any) -> Any:
        self.X, self.a = X, sigmoid(X @ self.w + self.b)
        return self.a

    def backward(self, y: Any) -> None:
        dz = (self.a - y) / len(y)
        self.dw, self.db = self.factor * self.X.T @ dz, dz.sum(0)

    def fit(self, X: Any, y: Any, rate: float = 0.1) -> None:
        self.forward(X)
        self.backward(y)
        self.w -= rate * self.dw


class ReturnsGradients(KeepsGradients):
    """Its backward is given everything again."""

    def backward(self, X: Any, y: Any, a: Any) -> Any:  # type: ignore[override]
        self.forward(X)
        super().backward(y)
        return self.dw, self.db


class Network:
    """Nielsen's."""

    factor = 1.0

    def __init__(self) -> None:
        self.biases = [np.zeros((4, 1)), np.zeros((2, 1))]
        self.weights = [np.linspace(-1, 1, 12).reshape(4, 3), np.linspace(-1, 2, 8).reshape(2, 4)]

    def feedforward(self, a: Any) -> Any:
        for b, w in zip(self.biases, self.weights, strict=True):
            a = sigmoid(w @ a + b)
        return a

    def backprop(self, x: Any, y: Any) -> Any:
        h = sigmoid(self.weights[0] @ x + self.biases[0])
        p = sigmoid(self.weights[1] @ h + self.biases[1])
        d2 = (p - y) * p * (1 - p)
        d1 = self.weights[1].T @ d2 * h * (1 - h)
        nabla_b, nabla_w = [d1, d2], [self.factor * d1 @ x.T, d2 @ h.T]
        return nabla_b, nabla_w


class Linear:
    """Calls its cotangent y."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        return 3 * x

    def backward(self, y: Any) -> Any:
        return self.factor * 3 * y


class OneByOne:
    """A method for each gradient."""

    factor = 1.0

    def forward(self, x: Any, y: Any) -> Any:
        self.x, self.y = x, y
        return x * y

    def gradient_x(self, grad: Any) -> Any:
        return grad * self.y

    def gradient_y(self, grad: Any) -> Any:
        return self.factor * grad * self.x


class Keyword:
    """Its backward takes nothing by position."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.linspace(-1, 1, 6).reshape(3, 2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, *, grad: Any) -> Any:
        self.dW = self.factor * self.x.T @ grad
        return grad @ self.W.T


class KeywordAgain(Keyword):
    """One of them is the input again."""

    def backward(self, *, grad: Any, x: Any) -> Any:  # type: ignore[override]
        self.dW = self.factor * x.T @ grad
        return grad @ self.W.T


def tanh_forward(x: Any) -> Any:
    return np.tanh(x), x


def tanh_backward(dout: Any, *, cache: Any) -> Any:
    return dout * (1 - np.tanh(cache) ** 2)


def tanh_wrong(dout: Any, *, cache: Any) -> Any:
    return 2 * dout * (1 - np.tanh(cache) ** 2)


class Value:
    """micrograd's."""

    factor = 1.0

    def __init__(self, data: float, of: Any = ()) -> None:
        self.data, self.grad, self.of = data, 0.0, of

    def __mul__(self, other: Value) -> Value:
        return Value(self.data * other.data, ((self, other.data), (other, self.factor * self.data)))

    def backward(self) -> None:
        for node, by in self.of:
            node.grad += by


class Tensor:
    """One that holds an array."""

    factor = 1.0

    def __init__(self, data: Any, of: Any = None) -> None:
        self.data, self.grad, self.of = data, None, of

    def backward(self, grad: Any) -> None:
        self.of.grad = self.factor * grad * 2 * self.of.data


def square(t: Any) -> Any:
    return Tensor(t.data**2, t) if isinstance(t, Tensor) else Tensor(t**2)


def mul(a: Any, b: Any, c: Any) -> Any:
    return a * b
