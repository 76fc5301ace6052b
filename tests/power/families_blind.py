"""Families written by someone who had not read the harness: functions and regimes that nothing was adjusted to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from families import Elementwise, sigmoid
from family import Family

Array = np.ndarray
Rng = np.random.Generator
Pair = tuple[Callable[..., Any], Callable[..., Any]]
Draw = Callable[[Rng], tuple[Any, ...]]


def elementwise(f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Callable[[Rng], Any]:
    return lambda rng: Elementwise(f, slope)


def pair(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[[Rng], Pair]:
    return lambda rng: (forward, backward)


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Draw:
    return lambda rng: (shift + scale * rng.standard_normal(shape),)


def uniform(*shape: int, low: float, high: float) -> Draw:
    return lambda rng: (rng.uniform(low, high, shape),)


class GRUCell:
    """h' = (1 − z) n + z h, the reset gate on the hidden side of the candidate."""

    def __init__(self, rng: Rng, width: int = 3, hidden: int = 2, scale: float = 1.0) -> None:
        self.Wi, self.Wh = (
            scale * rng.standard_normal((width, 3 * hidden)),
            scale * rng.standard_normal((hidden, 3 * hidden)),
        )
        self.bi, self.bh, self.n = np.zeros(3 * hidden), np.zeros(3 * hidden), hidden

    def forward(self, x, h):
        a, b, n = x @ self.Wi + self.bi, h @ self.Wh + self.bh, self.n
        self.x, self.h, self.inner = x, h, b[:, 2 * n :]
        s = a[:, : 2 * n] + b[:, : 2 * n]
        self.r, self.z, self.not_r, self.not_z = (
            sigmoid(s[:, :n]),
            sigmoid(s[:, n:]),
            sigmoid(-s[:, :n]),
            sigmoid(-s[:, n:]),
        )
        self.candidate = a[:, 2 * n :] + self.r * self.inner
        self.new = np.tanh(self.candidate)
        return self.not_z * self.new + self.z * h

    def backward(self, dy):
        c = dy * self.not_z / np.cosh(np.clip(self.candidate, -350, 350)) ** 2
        dz = dy * (self.h - self.new) * self.z * self.not_z
        dr = c * self.inner * self.r * self.not_r
        da, db = np.concatenate([dr, dz, c], 1), np.concatenate([dr, dz, c * self.r], 1)
        self.dWi, self.dbi, self.dWh, self.dbh = self.x.T @ da, da.sum(0), self.h.T @ db, db.sum(0)
        return da @ self.Wi.T, db @ self.Wh.T + dy * self.z


class LSTMGates:
    """From the four gates' arguments and the cell: the new hidden state and the new cell."""

    def forward(self, s, c):
        i, f, g, o = np.split(s, 4, 1)
        self.s, self.c, self.parts = s, c, (sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o))
        i, f, g, o = self.parts
        self.new = f * c + i * g
        return o * np.tanh(self.new), self.new

    def backward(self, dh, dc):
        i, f, g, o = self.parts
        a, b, u, v = np.split(self.s, 4, 1)
        d = dc + dh * o / np.cosh(np.clip(self.new, -350, 350)) ** 2
        slopes = (
            d * g * i * sigmoid(-a),
            d * self.c * f * sigmoid(-b),
            d * i / np.cosh(np.clip(u, -350, 350)) ** 2,
            dh * np.tanh(self.new) * o * sigmoid(-v),
        )
        return np.concatenate(slopes, 1), d * f


class GroupNorm:
    """Channels in groups of two, each group normalised over its channels and positions; γ, β by channel."""

    def __init__(self, channels: int, groups: int, eps: float = 1e-5) -> None:
        self.gamma, self.beta, self.groups, self.eps = np.ones(channels), np.zeros(channels), groups, eps

    def forward(self, x):
        b, c, n = x.shape
        g = x.reshape(b, self.groups, -1)
        d = g - g.mean(2, keepdims=True)
        self.invstd = 1 / np.sqrt((d * d).mean(2, keepdims=True) + self.eps)
        self.xhat = d * self.invstd
        return self.gamma[:, None] * self.xhat.reshape(b, c, n) + self.beta[:, None]

    def backward(self, dy):
        shape = dy.shape
        self.dgamma, self.dbeta = (dy * self.xhat.reshape(shape)).sum((0, 2)), dy.sum((0, 2))
        d = (dy * self.gamma[:, None]).reshape(self.xhat.shape)
        inner = d - d.mean(2, keepdims=True) - self.xhat * (d * self.xhat).mean(2, keepdims=True)
        return (self.invstd * inner).reshape(shape)


def log_cosh(x):
    a = np.abs(x)
    return a + np.log1p(np.exp(-2 * a)) - math.log(2)


erf = np.vectorize(math.erf, otypes=[float])


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


def selu(x):
    return SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))


def selu_slope(x):
    return SCALE * np.where(x > 0, 1, ALPHA * np.exp(np.minimum(x, 0)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def mish_slope(x):
    t = np.tanh(softplus(x))
    return t + x * sigmoid(x) / np.cosh(np.minimum(softplus(x), 350)) ** 2


def hypotenuse(x, y):
    r = np.sqrt(x * x + y * y)
    away = np.where(r > 0, r, 1.0)  # at the origin 0, as PyTorch's norm has it
    return r, (x / away, y / away)


def outer_sum(x, y):
    return x[:, None] + y[None, :], None


def log_det(a):
    return np.array([np.linalg.slogdet(a)[1], np.trace(a)]), a


def log_det_backward(d, a):
    return d[0] * np.linalg.inv(a).T + d[1] * np.eye(len(a))


def definite(condition: float) -> Draw:
    def draw(rng: Rng) -> tuple[Any, ...]:
        q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        a = q @ np.diag([1.0, condition**-0.5, 1 / condition]) @ q.T
        return ((a + a.T) / 2,)

    return draw


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_softmax(x):
    y = x - x.max(1, keepdims=True)
    return y - np.log(np.exp(y).sum(1, keepdims=True))


def divergence(x, y):
    p, r = softmax(x), log_softmax(x) - log_softmax(y)
    k = (p * r).sum(1)
    return k, (p, softmax(y), r - k[:, None])


def divergence_backward(d, cache):
    p, q, r = cache
    return d[:, None] * p * r, d[:, None] * (q - p)


def cosine_margin(x, y):
    a, b = np.linalg.norm(x, axis=1, keepdims=True), np.linalg.norm(y, axis=1, keepdims=True)
    u, w = x / a, y / b
    c = (u * w).sum(1, keepdims=True)
    hit = c > 0
    return np.maximum(c[:, 0], 0), (hit * (w - c * u) / a, hit * (u - c * w) / b)


def orthogonal_rows(rng: Rng) -> tuple[Array, ...]:
    """Pairs at a right angle exactly (integers), but for the last."""
    x = rng.integers(1, 4, (4, 3)).astype(float)
    y = np.stack([x[:, 1], -x[:, 0], np.zeros(4)], 1)
    y[3] = rng.standard_normal(3)
    return x, y


def triplet(a, p, n):
    near, far = a - p, a - n
    s = (near * near).sum(1) - (far * far).sum(1) + 1
    return np.maximum(s, 0), (2 * (s > 0)[:, None] * (n - p), -2 * (s > 0)[:, None] * near, 2 * (s > 0)[:, None] * far)


def at_the_margin(rng: Rng) -> tuple[Array, ...]:
    """Two of four rows with ‖a − p‖² + 1 = ‖a − n‖² exactly."""
    a, p, n = (rng.integers(-2, 3, (4, 3)).astype(float) for _ in range(3))
    p[:2], n[:2] = a[:2], a[:2] + np.eye(3)[rng.integers(0, 3, 2)]
    return a, p, n


def smooth_max(x):
    t = 100 * (x - x.max(1, keepdims=True))
    e = np.exp(t)
    return x.max(1) + np.log(e.mean(1)) / 100, e / e.sum(1, keepdims=True)


def quantile(q: float) -> Pair:
    def forward(x):
        order = np.argsort(x, 1, kind="stable")
        at = q * (x.shape[1] - 1)
        k, t = int(at), at - int(at)
        low, high = order[:, k], order[:, min(k + 1, x.shape[1] - 1)]
        rows = np.arange(len(x))
        return (1 - t) * x[rows, low] + t * x[rows, high], (low, high, t, x.shape)

    def backward(d, cache):
        low, high, t, shape = cache
        g, rows = np.zeros(shape), np.arange(shape[0])
        g[rows, low] += (1 - t) * d
        g[rows, high] += t * d
        return g

    return forward, backward


class MaxPool:
    """The largest of each two neighbours; of equal ones the first takes the gradient."""

    def forward(self, x):
        w = x.reshape(len(x), -1, 2)
        self.first, self.shape = w[..., 0] >= w[..., 1], x.shape
        return w.max(2)

    def backward(self, dy):
        return np.stack([dy * self.first, dy * ~self.first], 2).reshape(self.shape)


def average_pool(x):
    """Windows of three, step one."""
    return (x[:, :-2] + x[:, 1:-1] + x[:, 2:]) / 3, x.shape


def average_pool_backward(d, shape):
    g = np.zeros(shape)
    for j in range(3):
        g[:, j : j + d.shape[1]] += d / 3
    return g


def doubling(n: int) -> Array:
    """Bilinear interpolation from n points to 2n, each at the middle of its cell."""
    at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
    low = np.minimum(at.astype(int), n - 1)
    u = np.zeros((2 * n, n))
    np.add.at(u, (np.arange(2 * n), low), 1 - (at - low))
    np.add.at(u, (np.arange(2 * n), np.minimum(low + 1, n - 1)), at - low)
    return u


def upsample(x):
    u, v = doubling(x.shape[1]), doubling(x.shape[2])
    return u @ x @ v.T, (u, v)


def gather(x, ids):
    return np.take_along_axis(x, ids, 1), (ids, x.shape)


def gather_backward(d, cache):
    ids, shape = cache
    g = np.zeros(shape)
    np.add.at(g, (np.arange(len(ids))[:, None], ids), d)
    return g


def scatter_add(x, ids):
    y = np.zeros((6, x.shape[1]))
    np.add.at(y, ids, x)
    return y, ids


class MaskedMean:
    """The mean of each row over its mask; 0 where the mask is empty."""

    def __init__(self, rng: Rng) -> None:
        self.mask = 1.0 * (rng.random((4, 5)) > 0.5)
        self.mask[1] = 0

    def forward(self, x):
        self.count = np.maximum(self.mask.sum(1), 1)
        return (x * self.mask).sum(1) / self.count

    def backward(self, dy):
        return (dy / self.count)[:, None] * self.mask


def absolute_loss(x, y):
    return np.abs(x - y).mean(), np.sign(x - y) / x.size


def huber(x):
    return np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5)


class Tied:
    """x W Wᵀ."""

    def __init__(self, rng: Rng) -> None:
        self.W = rng.standard_normal((4, 2))

    def forward(self, x):
        self.x, self.h = x, x @ self.W
        return self.h @ self.W.T

    def backward(self, dy):
        self.dW = self.x.T @ (dy @ self.W) + dy.T @ self.h
        return dy @ self.W @ self.W.T


class BatchScale:
    """g x/σ, σ² the variance over the batch + ε: x is not centred."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        self.g, self.eps = np.ones(width), eps

    def forward(self, x):
        self.x, self.c = x, x - x.mean(0)
        self.invstd = 1 / np.sqrt((self.c * self.c).mean(0) + self.eps)
        return self.g * x * self.invstd

    def backward(self, dy):
        self.dg = (dy * self.x * self.invstd).sum(0)
        d = dy * self.g
        return self.invstd * (d - self.c * self.invstd**2 * (d * self.x).mean(0))


def expanded(x):
    return ((((x - 5) * x + 10) * x - 10) * x + 5) * x - 1


def fifth(x):
    return 5 * (x - 1) ** 4


_MADE: list[tuple[str, str, Callable[[Rng], Any], Draw, bool]] = [
    ("GRU cell", "GRU", GRUCell, lambda rng: (rng.standard_normal((4, 3)), rng.standard_normal((4, 2))), True),
    ("GRU cell, saturated", "GRU", lambda rng: GRUCell(rng, scale=8.0),
     lambda rng: (3 * rng.standard_normal((4, 3)), rng.standard_normal((4, 2))), True),
    ("LSTM gates", "LSTM", lambda rng: LSTMGates(),
     lambda rng: (3 * rng.standard_normal((3, 8)), rng.standard_normal((3, 2))), False),
    ("group norm", "group norm", lambda rng: GroupNorm(4, 2), normal(2, 4, 3), True),
    ("instance norm over length, + 100", "instance norm", lambda rng: GroupNorm(3, 3), normal(2, 3, 5, shift=100.0), True),
    ("log-cosh, × 300", "log-cosh", elementwise(log_cosh, np.tanh), normal(4, 5, scale=300.0), False),
    ("erf, × 3", "erf", elementwise(erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)), normal(4, 5, scale=3.0), False),
    ("softsign, × 1e3", "softsign", elementwise(lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
     normal(4, 5, scale=1e3), False),
    ("elu, with zeros", "elu", elementwise(elu, lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0)))),
     lambda rng: (rng.integers(-2, 3, (4, 5)).astype(float),), False),
    ("selu, with zeros", "selu", elementwise(selu, selu_slope), lambda rng: (rng.integers(-2, 3, (4, 5)).astype(float),), False),
    ("selu, × 20", "selu", elementwise(selu, selu_slope), normal(4, 5, scale=20.0), False),
    ("mish, × 10", "mish", elementwise(lambda x: x * np.tanh(softplus(x)), mish_slope), normal(4, 5, scale=10.0), False),
    ("arcsinh, 1e-8 to 1e8", "arcsinh", elementwise(np.arcsinh, lambda x: 1 / np.sqrt(1 + x * x)),
     lambda rng: (rng.choice((-1.0, 1.0), (4, 5)) * 10.0 ** rng.uniform(-8, 8, (4, 5)),), False),
    ("arctan, ± 1e6", "arctan", elementwise(np.arctan, lambda x: 1 / (1 + x * x)),
     lambda rng: (rng.choice((-1e6, 1e6), (4, 5)) * rng.uniform(0.5, 2, (4, 5)),), False),
    ("exp, − 700 to − 600", "exp", elementwise(np.exp, np.exp), uniform(4, 5, low=-700, high=-600), False),
    ("log1p, 1e-9 from − 1", "log1p", elementwise(np.log1p, lambda x: 1 / (1 + x)),
     lambda rng: (-1 + 1e-9 * rng.uniform(0.5, 2, (4, 5)),), False),
    ("hypotenuse, 1e-150", "hypotenuse", pair(hypotenuse, lambda d, u: (d * u[0], d * u[1])),
     lambda rng: tuple(1e-150 * rng.standard_normal(6) for _ in range(2)), False),
    ("cross product", "cross product", pair(lambda x, y: (np.cross(x, y), (x, y)), lambda d, c: (np.cross(c[1], d), np.cross(d, c[0]))),
     lambda rng: tuple(rng.standard_normal((4, 3)) for _ in range(2)), False),
    ("outer sum, 1e6 + 1", "outer sum", pair(outer_sum, lambda d, _: (d.sum(1), d.sum(0))),
     lambda rng: (1e6 * rng.standard_normal(4), rng.standard_normal(3)), False),
    ("log-det and trace, condition 10", "log-det", pair(log_det, log_det_backward), definite(10.0), False),
    ("log-det and trace, condition 1e6", "log-det", pair(log_det, log_det_backward), definite(1e6), False),
    ("KL of softmaxes", "KL divergence", pair(divergence, divergence_backward),
     lambda rng: tuple(rng.standard_normal((3, 4)) for _ in range(2)), False),
    ("KL of softmaxes, nearly equal", "KL divergence", pair(divergence, divergence_backward),
     lambda rng: ((x := rng.standard_normal((3, 4))), x + 1e-4 * rng.standard_normal((3, 4))), False),
    ("cosine embedding at its margin", "cosine margin", pair(cosine_margin, lambda d, c: (d[:, None] * c[0], d[:, None] * c[1])),
     orthogonal_rows, False),
    ("triplet hinge at its margin", "triplet", pair(triplet, lambda d, c: tuple(d[:, None] * g for g in c)), at_the_margin, False),
    ("smooth max, temperature 100", "smooth max", pair(smooth_max, lambda d, p: d[:, None] * p), normal(3, 5), False),
    ("quantile, 0.3 of 6", "quantile", lambda rng: quantile(0.3), normal(3, 6), False),
    ("quantile, 0.3 of 6 with ties", "quantile", lambda rng: quantile(0.3),
     lambda rng: (rng.integers(0, 3, (3, 6)).astype(float),), False),
    ("median of 5", "median", lambda rng: quantile(0.5), normal(4, 5), False),
    ("max pool, with ties", "max pool", lambda rng: MaxPool(), lambda rng: (rng.integers(0, 3, (3, 8)).astype(float),), False),
    ("average pool, overlapping", "average pool", pair(average_pool, average_pool_backward), normal(2, 7), False),
    ("median of 5, with ties", "median", lambda rng: quantile(0.5), lambda rng: (rng.integers(0, 3, (4, 5)).astype(float),), False),
    ("bilinear upsampling", "upsampling", pair(upsample, lambda d, c: c[0].T @ d @ c[1]), normal(2, 3, 2), False),
    ("gather, repeated indices", "gather", pair(gather, gather_backward),
     lambda rng: (rng.standard_normal((3, 4)), rng.integers(0, 3, (3, 7))), False),
    ("scatter add, repeated indices", "scatter", pair(scatter_add, lambda d, ids: d[ids]),
     lambda rng: (rng.standard_normal((9, 2)), rng.integers(0, 5, 9)), False),
    ("masked mean, an empty mask", "masked mean", MaskedMean, normal(4, 5), False),
    ("L1 loss, exact zeros", "L1 loss", pair(absolute_loss, lambda d, s: (d * s, -d * s)),
     lambda rng: ((x := rng.standard_normal((3, 4))), np.where(rng.random((3, 4)) < 0.5, x, rng.standard_normal((3, 4)))), False),
    ("huber, × 1e8", "huber", elementwise(huber, lambda x: np.clip(x, -1, 1)), normal(4, 5, scale=1e8), False),
    ("(x − 1)⁵ near 1", "fifth power", elementwise(lambda x: (x - 1) ** 5, fifth), normal(4, 5, scale=1e-3, shift=1.0), False),
    ("(x − 1)⁵ near 1, multiplied out", "fifth power", elementwise(expanded, fifth), normal(4, 5, scale=1e-3, shift=1.0), False),
    ("x W Wᵀ", "tied linear", Tied, normal(3, 4), True),
    ("batch scale, a batch of one", "batch scale", lambda rng: BatchScale(5), normal(1, 5), True),
    ("batch scale, equal rows", "batch scale", lambda rng: BatchScale(5),
     lambda rng: (np.repeat(rng.standard_normal((1, 5)), 3, 0),), True),
]  # fmt: skip

KEYWORDS = {"masked mean, an empty mask": {"grads": {"mask": None}}}
"""What a user says of a layer that discovery can't know: a mask is a constant."""

FAMILIES = tuple(
    Family(name, function, right, draw, None, KEYWORDS.get(name, {}), has) for name, function, right, draw, has in _MADE
)
