"""Layers that are right or wrong at special values only: each wrong one is its right twin with a fault there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness import LayerSpec, floats, ints


class Elementwise:
    """f with the derivative g; where `at` holds, the derivative is off by `factor`."""

    def __init__(self, f: Callable[[Any], Any], g: Callable[[Any], Any], at: Any = None, factor: float = 1.5) -> None:
        self.f, self.g, self.at, self.factor = f, g, at, factor

    def forward(self, x):
        self.x = x
        return self.f(x)

    def backward(self, d):
        g = d * self.g(self.x)
        return g if self.at is None else np.where(self.at(self.x), self.factor * g + 1e-3, g)


class RowMax:
    """The largest of each row; its ties share the gradient, the first has it, or each has all of it."""

    def __init__(self, share: str = "shared") -> None:
        self.share = share

    def forward(self, x):
        self.x = x
        return np.max(x, -1)

    def backward(self, d):
        hit = (self.x == self.x.max(-1, keepdims=True)).astype(float)
        if self.share == "shared":
            hit = hit / hit.sum(-1, keepdims=True)
        if self.share == "first":
            hit = hit * (hit.cumsum(-1) == 1)
        return d[..., None] * hit


class Softmax:
    """Each row's softmax; wrong in rows whose largest entry is not alone."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong

    def forward(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        self.x, self.p = x, e / e.sum(-1, keepdims=True)
        return self.p

    def backward(self, d):
        g = self.p * (d - (d * self.p).sum(-1, keepdims=True))
        tied = (self.x == self.x.max(-1, keepdims=True)).sum(-1, keepdims=True) > 1
        return np.where(tied & self.wrong, g + 0.1 * d, g)


class LayerNorm:
    """(x − μ)/√(σ² + ε); wrong in constant rows."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong

    def forward(self, x):
        c = x - x.mean(-1, keepdims=True)
        self.var = (c * c).mean(-1, keepdims=True)
        self.r = 1 / np.sqrt(self.var + 1e-5)
        self.z = c * self.r
        return self.z

    def backward(self, d):
        g = self.r * (d - d.mean(-1, keepdims=True) - self.z * (d * self.z).mean(-1, keepdims=True))
        return np.where((self.var == 0) & self.wrong, d, g)


class Embedding:
    """W[i]; its wrong twin loses all but one of equal indices."""

    def __init__(self, V: int, D: int, wrong: bool = False) -> None:
        self.W, self.wrong = np.ones((V, D)), wrong

    def forward(self, i):
        self.i = i
        return self.W[i]

    def backward(self, d):
        self.dW = np.zeros_like(self.W)
        if self.wrong:
            self.dW[self.i] += d
        else:
            np.add.at(self.dW, self.i, d)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elementwise(f: Callable[[Any], Any], g: Callable[[Any], Any], inputs: Any = "B D", **more: Any) -> LayerSpec:
    return LayerSpec(build=lambda: Elementwise(f, g, **more), inputs=inputs, name="Elementwise")


def layer(build: Callable[..., Any], inputs: Any = "B D") -> LayerSpec:
    return LayerSpec(build=build, inputs=inputs, name="layer")


def embedding(wrong: bool) -> LayerSpec:
    def build(V: int, D: int) -> Embedding:
        return Embedding(V, D, wrong)

    return LayerSpec(build=build, inputs=ints("B", below="V"), dims={"D": range(1, 5)}, name="layer")


SINE = (np.sin, np.cos)
TANH = (np.tanh, lambda x: 1 - np.tanh(x) ** 2)
RELU = (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0)

WRONG = {
    "exact_zero": elementwise(*SINE, at=lambda x: x == 0),
    "negative_zero": elementwise(*SINE, at=lambda x: (x == 0) & np.signbit(x)),
    "relu_at_zero": layer(lambda: Elementwise(RELU[0], lambda x: np.where(x == 0, 1.5, x > 0))),
    "below_minus_8": elementwise(*SINE, at=lambda x: x < -8),
    "beyond_30": elementwise(*SINE, at=lambda x: abs(x) > 30),
    "tanh_beyond_30": elementwise(*TANH, at=lambda x: abs(x) > 30),
    "at_one": elementwise(*SINE, at=lambda x: x == 1),
    "at_halves": elementwise(*SINE, at=lambda x: abs(x) == 0.5),
    "log1p_at_0": elementwise(np.log1p, lambda x: 1 / (1 + x), floats("B D", low=0), at=lambda x: x == 0),
    "square_at_1": elementwise(np.square, lambda x: 2 * x, floats("B D", low=0, high=1), at=lambda x: x == 1),
    "log_near_0": elementwise(np.log, lambda x: 1 / x, floats("B D", low=0, low_open=True), at=lambda x: x < 1e-5),
    "softmax_at_ties": layer(lambda: Softmax(wrong=True)),
    "full_gradient_to_each_maximum": layer(lambda: RowMax("each")),
    "norm_at_constant_rows": layer(lambda: LayerNorm(wrong=True)),
    "repeated_indices": embedding(wrong=True),
}
RIGHT = {
    "sine": elementwise(*SINE),
    "tanh": elementwise(*TANH),
    "sigmoid": elementwise(sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "square": elementwise(np.square, lambda x: 2 * x),
    "cube": elementwise(lambda x: x**3, lambda x: 3 * x**2),
    "softplus": elementwise(lambda x: np.logaddexp(0, x), sigmoid),
    "relu": elementwise(*RELU),
    "leaky_relu": elementwise(lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
    "abs": elementwise(np.abs, np.sign),
    "hard_tanh": elementwise(lambda x: np.clip(x, -1, 1), lambda x: (abs(x) < 1) * 1.0),
    "clamp": elementwise(lambda x: np.clip(x, -0.5, 2.5), lambda x: ((x >= -0.5) & (x <= 2.5)) * 1.0),
    "log1p": elementwise(np.log1p, lambda x: 1 / (1 + x), floats("B D", low=0)),
    "unit_square": elementwise(np.square, lambda x: 2 * x, floats("B D", low=0, high=1)),
    "sqrt": elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x), floats("B D", low=0)),
    "log": elementwise(np.log, lambda x: 1 / x, floats("B D", low=0, low_open=True)),
    "softmax": layer(Softmax),
    "shared_max": layer(RowMax),
    "first_max": layer(lambda: RowMax("first")),
    "norm": layer(LayerNorm),
    "embedding": embedding(wrong=False),
}
