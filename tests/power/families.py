"""Awkward but right layers by hand: functions × regimes of their inputs. `FAMILIES` is what the campaign runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from family import Family

Array = np.ndarray
Rng = np.random.Generator
SHAPE = B, D = 4, 6


class Elementwise:
    """y = f(x), with f′ written out."""

    def __init__(self, f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
        self.f, self.slope = f, slope

    def forward(self, x):
        self.x = x
        return self.f(x)

    def backward(self, dy):
        return dy * self.slope(self.x)


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


ELEMENTWISE: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -350, 350)) ** 2),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), sigmoid),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "abs": (np.abs, np.sign),
    "leaky relu": (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
    "hard tanh": (lambda x: np.clip(x, -1, 1), lambda x: 1.0 * (np.abs(x) < 1)),
    "square": (np.square, lambda x: 2 * x),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "x|x|": (lambda x: x * np.abs(x), lambda x: 2 * np.abs(x)),
    "constant": (lambda x: 0 * x + 3, lambda x: 0 * x),
    "sin 1e3 x": (lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x)),
    "1e8 + sin x": (lambda x: 1e8 + np.sin(x), np.cos),
    "1e-9 sin x": (lambda x: 1e-9 * np.sin(x), lambda x: 1e-9 * np.cos(x)),
    "1e12 sin x": (lambda x: 1e12 * np.sin(x), lambda x: 1e12 * np.cos(x)),
}


class Norm:
    """γ x̂ + β over an axis, x̂ with the biased variance."""

    def __init__(self, width: int, axis: int = 1) -> None:
        self.gamma, self.beta, self.axis = np.ones(width), np.zeros(width), axis

    def forward(self, x):
        c = x - x.mean(self.axis, keepdims=True)
        c = c - c.mean(self.axis, keepdims=True)  # a shift of 10⁶ leaves the first mean's rounding behind
        self.invstd = 1 / np.sqrt((c * c).mean(self.axis, keepdims=True) + 1e-5)
        self.xhat = c * self.invstd
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        d = dy * self.gamma
        inner = d - d.mean(self.axis, keepdims=True) - self.xhat * (d * self.xhat).mean(self.axis, keepdims=True)
        return self.invstd * inner


class Linear:
    """x W + b."""

    def __init__(self, rng: Rng, width: int, out: int) -> None:
        self.W, self.b = rng.standard_normal((width, out)), rng.standard_normal(out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class MLP:
    """Linear → Norm → tanh → Linear."""

    def __init__(self, rng: Rng, width: int) -> None:
        self.first, self.norm, self.last = Linear(rng, width, 4), Norm(4), Linear(rng, 4, 3)

    def forward(self, x):
        self.h = np.tanh(self.norm.forward(self.first.forward(x)))
        return self.last.forward(self.h)

    def backward(self, dy):
        return self.first.backward(self.norm.backward(self.last.backward(dy) * (1 - self.h**2)))


class CrossEntropy:
    """Mean over rows of log Σ eᶻ − z_y."""

    def forward(self, z, y):
        m = z - z.max(1, keepdims=True)
        e = np.exp(m)
        self.p, self.y = e / e.sum(1, keepdims=True), y
        return (np.log(e.sum(1)) - m[np.arange(len(y)), y]).mean()

    def backward(self):
        g, rows = self.p.copy(), np.arange(len(self.y))
        g[rows, self.y] = 0
        g[rows, self.y] = -g.sum(1)  # p − 1 without cancellation
        return g / len(self.y)


class Softmax:
    """eˣ / Σ eˣ over rows."""

    def forward(self, x):
        e = np.exp(x - x.max(1, keepdims=True))
        self.p = e / e.sum(1, keepdims=True)
        return self.p

    def backward(self, dy):
        return self.p * (dy - (dy * self.p).sum(1, keepdims=True))


class RowMax:
    """The largest entry of each row; ties share the gradient, or the first takes it."""

    def __init__(self, first: bool) -> None:
        self.first = first

    def forward(self, x):
        self.x = x
        return x.max(1)

    def backward(self, dy):
        hit = 1.0 * (self.x == self.x.max(1, keepdims=True))
        if self.first:
            hit = 1.0 * (np.arange(self.x.shape[1]) == self.x.argmax(1)[:, None])
        return dy[:, None] * hit / hit.sum(1, keepdims=True)


class CentredBias:
    """(x + b) less its mean over the batch: the gradient of b is zero."""

    def __init__(self, width: int) -> None:
        self.b = np.linspace(-1, 1, width) if width > 1 else np.ones(1)

    def forward(self, x):
        z = x + self.b
        return z - z.mean(0)

    def backward(self, dy):
        g = dy - dy.mean(0)
        self.db = g.sum(0)
        return g


class Slightly:
    """The wrong twin of any layer: its input's gradient is a hundredth too large in every entry."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, x):
        return self.layer.forward(x)

    def backward(self, dy):
        return 1.01 * self.layer.backward(dy)


def signs(rng: Rng) -> Array:
    return rng.choice((-1.0, 1.0), SHAPE)


REGIMES: dict[str, Callable[[Rng], Array]] = {
    "unit": lambda rng: rng.standard_normal(SHAPE),
    "× 1e-9": lambda rng: 1e-9 * rng.standard_normal(SHAPE),
    "× 1e-3": lambda rng: 1e-3 * rng.standard_normal(SHAPE),
    "× 1e3": lambda rng: 1e3 * rng.standard_normal(SHAPE),
    "× 1e9": lambda rng: 1e9 * rng.standard_normal(SHAPE),
    "+ 1e6": lambda rng: rng.standard_normal(SHAPE) + 1e6,
    "D = 1": lambda rng: rng.standard_normal((B, 1)),
    "D = 2": lambda rng: rng.standard_normal((B, 2)),
    "B = 1": lambda rng: rng.standard_normal((1, D)),
    "tiny variance": lambda rng: 1 + 1e-4 * rng.standard_normal(SHAPE),
    "a constant row": lambda rng: np.where(np.arange(B)[:, None] == 1, 2.5, rng.standard_normal(SHAPE)),
    "± 50": lambda rng: 50 * signs(rng),
    "± 1e4": lambda rng: 1e4 * signs(rng),
    "around ± 20": lambda rng: 20 * signs(rng) + rng.standard_normal(SHAPE),
    "zeros": lambda rng: rng.standard_normal(SHAPE) * (rng.random(SHAPE) > 0.4),
    "1e-12 from 0": lambda rng: np.where(rng.random(SHAPE) > 0.5, 1e-12 * signs(rng), rng.standard_normal(SHAPE)),
    "1e-6 from 0": lambda rng: np.where(rng.random(SHAPE) > 0.5, 1e-6 * signs(rng), rng.standard_normal(SHAPE)),
    "ulps from 1": lambda rng: (1 + 2.0**-52 * rng.integers(-2, 3, SHAPE)) * signs(rng),
    "integers": lambda rng: rng.integers(-2, 3, SHAPE).astype(float),
    "rows of 1e-8 to 1e8": lambda rng: rng.standard_normal(SHAPE) * 10.0 ** rng.integers(-8, 9, (B, 1)),
    "one outlier": lambda rng: np.where(np.arange(B * D).reshape(SHAPE) == 3, 1e6, rng.standard_normal(SHAPE)),
}

NEAR_ONE = tuple(r for r in REGIMES if r not in ("× 1e3", "× 1e9", "+ 1e6", "± 50", "± 1e4", "around ± 20"))
"""Where x is of the size of one, for functions whose period is: at 10⁹ the last digit of x is a thousandth of it."""

ROOMS: dict[str, Sequence[str]] = {
    "sin 1e3 x": [r for r in NEAR_ONE if r not in ("rows of 1e-8 to 1e8", "one outlier")],
    "1e-9 sin x": [r for r in NEAR_ONE if r not in ("rows of 1e-8 to 1e8", "one outlier")],
    "1e12 sin x": [r for r in NEAR_ONE if r not in ("rows of 1e-8 to 1e8", "one outlier")],
    "1e8 + sin x": ("unit", "zeros", "tiny variance", "1e-12 from 0", "integers"),
}
"""The regimes in which a function is what its name says; all of them where it has no entry."""

LAYERS: dict[str, Callable[[Rng, int], Any]] = {
    **{n: lambda rng, width, pair=pair: Elementwise(*pair) for n, pair in ELEMENTWISE.items()},
    "layer norm": lambda rng, width: Norm(width),
    "batch norm": lambda rng, width: Norm(width, axis=0),
    "linear": lambda rng, width: Linear(rng, width, 3),
    "MLP": MLP,
    "cross-entropy": lambda rng, width: CrossEntropy(),
    "softmax": lambda rng, width: Softmax(),
    "max, shared": lambda rng, width: RowMax(first=False),
    "max, first": lambda rng, width: RowMax(first=True),
    "bias, centred": lambda rng, width: CentredBias(width),
}
WITH_PARAMETERS = ("layer norm", "batch norm", "linear", "MLP", "bias, centred")
UNMARKED = ("constant", "cross-entropy")
"""Without the wrong twin: a gradient of zero stays zero, and a loss's backward takes no cotangent."""


def _inputs(function: str, regime: str, rng: Rng) -> tuple[Array, ...]:
    x = REGIMES[regime](rng)
    return (x, rng.integers(0, x.shape[1], len(x))) if function == "cross-entropy" else (x,)


def _family(function: str, regime: str) -> Family:
    width = {"D = 1": 1, "D = 2": 2}.get(regime, D)
    make = LAYERS[function]
    marked = regime == "unit" and function not in UNMARKED
    return Family(
        f"{function}, {regime}",
        function,
        lambda rng: make(rng, width),
        lambda rng: _inputs(function, regime, rng),
        (lambda rng: Slightly(make(rng, width))) if marked else None,
        parameters=function in WITH_PARAMETERS,
    )


FAMILIES = tuple(_family(f, r) for f in LAYERS for r in ROOMS.get(f, tuple(REGIMES)))
