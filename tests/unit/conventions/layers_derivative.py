"""Functions beside their derivatives, without a backward."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class Sigmoid:
    """Called, with the derivative at each entry (ML-From-Scratch)."""

    factor = 1.0

    def __call__(self, x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def gradient(self, x: Any) -> Any:
        return self.factor * self(x) * (1 - self(x))


class Tanh:
    """In torch."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        return torch.tanh(x)

    def prime(self, x: Any) -> Any:
        return self.factor * (1 - torch.tanh(x) ** 2)


class ByOutput:
    """At the output instead of the input."""

    factor = 1.0

    def activate(self, x: Any) -> Any:
        return np.tanh(x)

    def derivative(self, y: Any) -> Any:
        return self.factor * (1 - y**2)


class OfState:
    """At what forward has kept."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        self.y = np.tanh(x)
        return self.y

    def grad(self) -> Any:
        return self.factor * (1 - self.y**2)


class Backward:
    """A backward under a derivative's name."""

    factor = 1.0

    def call(self, x: Any) -> Any:
        return np.tanh(x)

    def grad(self, x: Any, dout: Any) -> Any:
        return self.factor * dout * (1 - np.tanh(x) ** 2)


class Identity:
    """One number for all entries."""

    factor = 1.0

    def f(self, x: Any) -> Any:
        return 3 * x

    def f_prime(self, x: Any) -> Any:
        return 3 * self.factor


class Softmax:
    """A Jacobian for each example."""

    factor = 1.0

    def __call__(self, x: Any) -> Any:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def gradient(self, x: Any) -> Any:
        p = self(x)
        return self.factor * (p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :])


class Product:
    """One Jacobian of all."""

    factor = 1.0

    def __call__(self, x: Any) -> Any:
        return x.sum(0) * x[0]

    def gradient(self, x: Any) -> Any:
        jacobian = np.einsum("j,jk,i->jik", x[0], np.eye(x.shape[1]), np.ones(len(x)))
        jacobian[:, 0] += np.diag(x.sum(0))
        return self.factor * jacobian


class SquareLoss:
    """A loss at each entry, its target first."""

    factor = 1.0

    def loss(self, y: Any, y_pred: Any) -> Any:
        return 0.5 * (y - y_pred) ** 2

    def gradient(self, y: Any, y_pred: Any) -> Any:
        return self.factor * (y_pred - y)


class CrossEntropy:
    """A loss of all entries, of inputs with short names."""

    factor = 1.0

    def loss(self, y: Any, p: Any) -> Any:
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    def gradient(self, y: Any, p: Any) -> Any:
        return self.factor * (p - y) / (p * (1 - p)) / p.size


class SquaresOfT(CrossEntropy):
    """Beside `t` for the targets `y` is what is predicted."""

    def loss(self, y: Any, t: Any) -> Any:
        return ((y - t) ** 2).sum()

    def gradient(self, y: Any, t: Any) -> Any:
        return self.factor * 2 * (y - t)


class Optional:
    """A derivative that may be given the input, and asks in a way that no array answers."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        self.y = np.tanh(x)
        return self.y

    def derivative(self, x: Any = None) -> Any:
        y = np.tanh(x) if x else self.y
        return self.factor * (1 - y**2)


class PerExample:
    """A loss of each example."""

    factor = 1.0

    def __call__(self, output: Any, target: Any) -> Any:
        return ((output - target) ** 2).sum(1)

    def derivative(self, output: Any, target: Any) -> Any:
        return self.factor * 2 * (output - target)


class Named:
    """Called by what it is."""

    factor = 1.0

    def sigmoid(self, x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def sigmoid_prime(self, x: Any) -> Any:
        return self.factor * self.sigmoid(x) * (1 - self.sigmoid(x))


class Diagonal(Softmax):
    """ML-From-Scratch's softmax: the diagonal of the Jacobian alone."""

    def gradient(self, x: Any) -> Any:
        return self(x) * (1 - self(x))


class OfNoShape(Sigmoid):
    """What has no derivative's shape."""

    def gradient(self, x: Any) -> Any:
        return np.ones(7)


class OfTwo:
    """One derivative of two inputs, and no telling of which."""

    def __call__(self, a: Any, b: Any) -> Any:
        return a * b

    def gradient(self, a: Any, b: Any) -> Any:
        return a


class Asking(Sigmoid):
    """A derivative that asks for what no forward is given."""

    def gradient(self, x: Any, temperature: Any) -> Any:  # type: ignore[override]
        return temperature


class Prelu:
    """With an array that it depends on."""

    def __init__(self) -> None:
        self.alpha = np.array([0.1, 0.2, 0.3])

    def __call__(self, x: Any) -> Any:
        return np.where(x > 0, x, self.alpha * x)

    def gradient(self, x: Any) -> Any:
        return np.where(x > 0, 1.0, self.alpha)


def tanh(x: Any) -> Any:
    return np.tanh(x)


def tanh_prime(x: Any) -> Any:
    return 1 - np.tanh(x) ** 2


def tanh_derivative(a: Any) -> Any:
    """Of the output."""
    return 1 - a**2


def tanh_grad(s: Any) -> Any:
    """Of the output, whose name does not tell."""
    return 1 - s**2


def wrong_grad(s: Any) -> Any:
    return 2 * (1 - s**2)


wrong_grad.__name__ = "tanh_grad"


def d_tanh(x: Any) -> Any:
    """Wrong by a factor of two."""
    return 2 * tanh_prime(x)


def tanh_backward(dout: Any, x: Any) -> Any:
    return dout * tanh_prime(x)


class OwnBackward:
    """An activation whose backward is its derivative, at what it is given."""

    def forward(self, X: Any) -> Any:
        return np.tanh(X)

    def backward(self, X: Any) -> Any:
        return 1 - np.tanh(X) ** 2


class CotangentAsX(OwnBackward):
    """Its cotangent is called as its input is."""

    def forward(self, X: Any) -> Any:
        self.y = np.tanh(X)
        return self.y

    def backward(self, X: Any) -> Any:
        return X * (1 - self.y**2)


class WrongCotangentAsX(CotangentAsX):
    def backward(self, X: Any) -> Any:
        return X * (1 - self.y)
