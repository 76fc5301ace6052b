"""Families written after those of `families.py`, when all of them passed: other functions, other regimes.

Three of the 28 showed mechanisms that the judge lacked (kinks of several pieces, outputs that depend on an entry by less than
their last digit, kinks hidden by rounding), and these were built then: no constant was moved for one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from families import Elementwise
from family import Family

Array = np.ndarray
Rng = np.random.Generator
Pair = tuple[Callable[..., Any], Callable[..., Any]]


def elementwise(f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Callable[[Rng], Any]:
    return lambda rng: Elementwise(f, slope)


def pair(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[[Rng], Pair]:
    return lambda rng: (forward, backward)


def log_sum_exp(x):
    m = x.max(1, keepdims=True)
    e = np.exp(x - m)
    return np.log(e.sum(1)) + m[:, 0], e / e.sum(1, keepdims=True)


def masked_log_softmax(x):
    z = np.where(np.arange(x.shape[1]) < 2, x, x - 1e9)
    y = z - z.max(1, keepdims=True)
    y = y - np.log(np.exp(y).sum(1, keepdims=True))
    return y[:, :2], (np.exp(y), x.shape)


def masked_log_softmax_backward(dy, cache):
    p, shape = cache
    d = np.zeros(shape)
    d[:, :2] = dy
    return d - p * d.sum(1, keepdims=True)


def cumulative_product(x):
    return np.cumprod(x, 1), x


def cumulative_product_backward(dy, x):
    g = np.zeros_like(x)
    for k in range(x.shape[1]):  # without the k-th factor; no division, since it may be zero
        rest = x.copy()
        rest[:, k] = 1
        g[:, k] = (dy[:, k:] * np.cumprod(rest, 1)[:, k:]).sum(1)
    return g


def sorted_rows(x):
    order = np.argsort(x, 1, kind="stable")
    return np.take_along_axis(x, order, 1), order


def sorted_rows_backward(dy, order):
    g = np.zeros_like(dy)
    np.put_along_axis(g, order, dy, 1)
    return g


class Embedding:
    """Rows of a table by index."""

    def __init__(self, rng: Rng) -> None:
        self.W = rng.standard_normal((5, 3))

    def forward(self, ids):
        self.ids = ids
        return self.W[ids]

    def backward(self, dy):
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.ids, dy)


def bilinear(x, w):
    return np.einsum("bi,ij,bj->b", x, w, x), (x, w)


def bilinear_backward(dy, cache):
    x, w = cache
    return dy[:, None] * (x @ (w + w.T)), np.einsum("b,bi,bj->ij", dy, x, x)


class Convolution:
    """One filter along rows, valid positions only."""

    def __init__(self, rng: Rng) -> None:
        self.k = rng.standard_normal(3)

    def forward(self, x):
        self.x = x
        n = x.shape[1] - 2
        return sum(self.k[j] * x[:, j : j + n] for j in range(3))

    def backward(self, dy):
        n = dy.shape[1]
        self.dk = np.array([(dy * self.x[:, j : j + n]).sum() for j in range(3)])
        g = np.zeros_like(self.x)
        for j in range(3):
            g[:, j : j + n] += self.k[j] * dy
        return g


def attention(q, k, v):
    s = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(s - s.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return p @ v, (q, k, v, p)


def attention_backward(dy, cache):
    q, k, v, p = cache
    dp = dy @ v.T
    ds = p * (dp - (dp * p).sum(1, keepdims=True)) / np.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, p.T @ dy


def distance(x, y):
    r = x - y
    n = np.sqrt((r * r).sum(1))
    return n, r / np.where(n > 0, n, 1.0)[:, None]  # 0 of equal points, which lies between all slopes there


def cosine(x, y):
    a, b = np.linalg.norm(x, axis=1, keepdims=True), np.linalg.norm(y, axis=1, keepdims=True)
    return (x * y).sum(1) / (a * b)[:, 0], (x / a, y / b, a, b)


def cosine_backward(dy, cache):
    u, w, a, b = cache
    c = (u * w).sum(1, keepdims=True)
    return dy[:, None] * (w - c * u) / a, dy[:, None] * (u - c * w) / b


def inverse(a):
    y = np.linalg.inv(a)
    return y, y


class RootMeanSquareNorm:
    """g x / rms x."""

    def __init__(self, rng: Rng) -> None:
        self.g = np.ones(5)

    def forward(self, x):
        self.r = np.sqrt((x * x).mean(1, keepdims=True) + 1e-12)
        self.n = x / self.r
        return self.g * self.n

    def backward(self, dy):
        self.dg = (dy * self.n).sum(0)
        d = dy * self.g
        return (d - self.n * (d * self.n).mean(1, keepdims=True)) / self.r


class WeightNorm:
    """x (g v/‖v‖)."""

    def __init__(self, rng: Rng) -> None:
        self.v, self.g = rng.standard_normal(4), np.array([1.7])

    def forward(self, x):
        self.x, self.n = x, np.linalg.norm(self.v)
        self.u = self.v / self.n
        return x @ self.u * self.g

    def backward(self, dy):
        s = self.x.T @ dy
        self.dg = np.array([s @ self.u])
        self.dv = self.g * (s - self.u * (s @ self.u)) / self.n
        return self.g * np.outer(dy, self.u)


def hinge(x):
    return np.maximum(0, 1 - x).sum(1), x < 1


def huber(x):
    return np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5), np.clip(x, -1, 1)


def two_outputs(x):
    return (1e-8 * np.sin(x), 1e8 * np.cos(x)), x


def normal(*shape: int, scale: float = 1.0) -> Callable[[Rng], tuple[Array, ...]]:
    return lambda rng: (scale * rng.standard_normal(shape),)


def positive(*shape: int, low: float, high: float) -> Callable[[Rng], tuple[Array, ...]]:
    return lambda rng: (10.0 ** rng.uniform(low, high, shape),)


def conditioned(condition: float) -> Callable[[Rng], tuple[Array, ...]]:
    def draw(rng: Rng) -> tuple[Array, ...]:
        u, v = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
        return (u @ np.diag([1.0, condition**-0.5, 1 / condition]) @ v,)

    return draw


gelu = elementwise(
    lambda x: 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x**3))),
    lambda x: (
        0.5 * (1 + np.tanh(0.79788456 * (x + 0.044715 * x**3)))
        + 0.5 * x * (1 - np.tanh(0.79788456 * (x + 0.044715 * x**3)) ** 2) * 0.79788456 * (1 + 0.134145 * x * x)
    ),
)
softmax_rows = pair(log_sum_exp, lambda dy, p: dy[:, None] * p)
attend = pair(attention, attention_backward)
invert = pair(inverse, lambda dy, y: -y.T @ dy @ y.T)
norm_of = pair(distance, lambda dy, u: (dy[:, None] * u, -dy[:, None] * u))

_MADE: list[tuple[str, str, Callable[[Rng], Any], Callable[[Rng], tuple[Any, ...]], bool]] = [
    ("log-sum-exp, ± 1e3", "log-sum-exp", softmax_rows, normal(3, 5, scale=1e3), False),
    ("log-sum-exp, unit", "log-sum-exp", softmax_rows, normal(3, 5), False),
    ("gelu, unit", "gelu", gelu, normal(4, 5), False),
    ("gelu, × 30", "gelu", gelu, normal(4, 5, scale=30.0), False),
    ("log near 1e-6", "log", elementwise(np.log, lambda x: 1 / x), positive(4, 5, low=-7, high=-5), False),
    ("sqrt near 1e-12", "sqrt", elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), positive(4, 5, low=-13, high=-11), False),
    ("1/x near 1e-4", "1/x", elementwise(lambda x: 1 / x, lambda x: -1 / x**2), positive(4, 5, low=-4, high=0), False),
    ("x log x", "x log x", elementwise(lambda x: x * np.log(x), lambda x: np.log(x) + 1), positive(4, 5, low=-6, high=1), False),
    ("masked log-softmax", "log-softmax", pair(masked_log_softmax, masked_log_softmax_backward), normal(3, 5), False),
    ("cumulative sum", "cumsum", pair(lambda x: (np.cumsum(x, 1), 0), lambda d, _: np.cumsum(d[:, ::-1], 1)[:, ::-1]),
     normal(3, 6), False),
    ("cumulative product with zeros", "cumprod", pair(cumulative_product, cumulative_product_backward),
     lambda rng: (rng.integers(-2, 3, (3, 5)).astype(float),), False),
    ("sort, with ties", "sort", pair(sorted_rows, sorted_rows_backward),
     lambda rng: (rng.integers(0, 3, (3, 5)).astype(float),), False),
    ("sort", "sort", pair(sorted_rows, sorted_rows_backward), normal(3, 6), False),
    ("embedding, repeated ids", "embedding", Embedding, lambda rng: (rng.integers(0, 3, 8),), True),
    ("bilinear", "bilinear", pair(bilinear, bilinear_backward),
     lambda rng: (rng.standard_normal((4, 3)), rng.standard_normal((3, 3))), False),
    ("convolution", "convolution", Convolution, normal(2, 9), True),
    ("convolution, × 1e6", "convolution", Convolution, normal(2, 9, scale=1e6), True),
    ("attention", "attention", attend, lambda rng: tuple(rng.standard_normal((4, 3)) for _ in range(3)), False),
    ("attention, × 30", "attention", attend, lambda rng: tuple(30 * rng.standard_normal((4, 3)) for _ in range(3)), False),
    ("distance, nearly equal", "distance", norm_of,
     lambda rng: ((x := rng.standard_normal((4, 3))), x + 1e-5 * rng.standard_normal((4, 3))), False),
    ("cosine", "cosine", pair(cosine, cosine_backward),
     lambda rng: (rng.standard_normal((4, 3)), 1e4 * rng.standard_normal((4, 3))), False),
    ("inverse", "inverse", invert, conditioned(10.0), False),
    ("inverse, condition 1e4", "inverse", invert, conditioned(1e4), False),
    ("rms norm, rows of 1e-3 to 1e3", "rms norm", RootMeanSquareNorm,
     lambda rng: (rng.standard_normal((4, 5)) * 10.0 ** rng.uniform(-3, 3, (4, 1)),), True),
    ("weight norm", "weight norm", WeightNorm, normal(5, 4), True),
    ("hinge, margins at 0", "hinge", pair(hinge, lambda d, hit: -d[:, None] * hit),
     lambda rng: (rng.integers(0, 3, (4, 3)).astype(float),), False),
    ("huber at its threshold", "huber", pair(huber, lambda d, g: d * g), lambda rng: (rng.integers(-2, 3, (4, 4)) * 1.0,), False),
    ("two outputs, 1e-8 and 1e8", "two outputs",
     pair(two_outputs, lambda a, b, x: 1e-8 * a * np.cos(x) - 1e8 * b * np.sin(x)), normal(4, 3), False),
]  # fmt: skip

FAMILIES = tuple(Family(name, function, right, draw, parameters=has) for name, function, right, draw, has in _MADE)
