"""The last families written by someone who had not read the harness, each with a wrong twin beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.special
import torch
from family import Family

Array = np.ndarray
Rng = np.random.Generator
Layer = Callable[[Rng], Any]
Draw = Callable[[Rng], tuple[Any, ...]]


def elementwise(f: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Layer:
    return lambda rng: (lambda x: (f(x), x), lambda d, x: d * slope(x))


def pair(forward: Callable[..., Any], backward: Callable[..., Any]) -> Layer:
    return lambda rng: (forward, backward)


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Draw:
    return lambda rng: (shift + scale * rng.standard_normal(shape),)


def uniform(*shape: int, low: float, high: float) -> Draw:
    return lambda rng: (rng.uniform(low, high, shape),)


def magnitudes(*shape: int, low: float, high: float, signed: bool = True) -> Draw:
    """10 to a uniform power, of either sign."""
    return lambda rng: (10.0 ** rng.uniform(low, high, shape) * (rng.choice((-1.0, 1.0), shape) if signed else 1.0),)


def angle(y: Array, x: Array) -> tuple[Array, tuple[Array, Array]]:
    return np.arctan2(y, x), (y, x)


def angle_backward(d: Array, cache: tuple[Array, Array], sign: float = -1.0) -> tuple[Array, Array]:
    y, x = cache
    r = np.hypot(y, x)
    return d * (x / r) / r, sign * d * (y / r) / r


def beside_the_cut(rng: Rng) -> tuple[Array, Array]:
    y = rng.choice((-1.0, 1.0), 8) * 10.0 ** rng.uniform(-6, -3, 8)
    return y, -rng.uniform(0.5, 2, 8)


def of_all_radii(rng: Rng) -> tuple[Array, Array]:
    r, t = 10.0 ** rng.uniform(-9, 9, 8), rng.uniform(-3, 3, 8)
    return r * np.sin(t), r * np.cos(t)


def relative_exponential(x: Array) -> Array:
    """(eˣ − 1)/x, 1 at 0."""
    return np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x))


def relative_slope(x: Array, first: int = 1) -> Array:
    small = np.abs(x) < 0.5
    s, far = np.where(small, x, 0.0), np.where(small, 1.0, x)
    series = sum(k * s ** (k - 1) / math.factorial(k + 1) for k in range(first, 20))
    return np.where(small, series, (np.exp(far) * (far - 1) + 1) / far**2)


def sinc(x: Array) -> Array:
    return np.where(x == 0, 1.0, np.sin(x) / np.where(x == 0, 1.0, x))


def sinc_slope(x: Array, missing: bool = False) -> Array:
    small = np.abs(x) < 0.5
    s, far = np.where(small, x, 0.0), np.where(small, 1.0, x)
    series = sum((-1) ** k * 2 * k * s ** (2 * k - 1) / math.factorial(2 * k + 1) for k in range(1, 12))
    return np.where(small, series, (np.cos(far) - (0.0 if missing else sinc(far))) / far)


def near_zero_and_far(rng: Rng) -> tuple[Array]:
    x = rng.permutation(np.r_[0.0, 0.0, 1e-6 * rng.standard_normal(5), 10 * rng.standard_normal(5)])
    return (x.reshape(3, 4),)


def log_complement(x: Array) -> Array:
    """log(1 − e⁻ˣ), of x > 0."""
    return np.where(x < math.log(2), np.log(-np.expm1(-x)), np.log1p(-np.exp(-x)))


def shrink(x: Array, at: float = 0.5) -> Array:
    return np.sign(x) * np.maximum(np.abs(x) - at, 0)


def near_the_threshold(rng: Rng) -> tuple[Array]:
    return (
        rng.choice((-1.0, 1.0), (3, 4)) * (0.5 + 1e-9 * rng.choice((-1.0, 1.0), (3, 4)) * rng.uniform(1, 2, (3, 4))),
    )


def unit(x: Array) -> tuple[Array, tuple[Array, Array]]:
    n = np.sqrt((x * x).sum(-1, keepdims=True))
    return x / n, (x / n, n)


def unit_backward(d: Array, cache: tuple[Array, Array], axis: int = -1, detached: bool = False) -> Array:
    u, n = cache
    return (d - (0 if detached else u * (d * u).sum(axis, keepdims=True))) / n


def correlation(x: Array, y: Array) -> tuple[Array, tuple[Array, ...]]:
    a, b = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    p, q = (np.sqrt((c * c).sum(-1, keepdims=True)) for c in (a, b))
    r = ((a / p) * (b / q)).sum(-1)
    return r, (a / p, b / q, p, q, r)


def correlation_backward(d: Array, cache: tuple[Array, ...], missing: bool = False) -> tuple[Array, Array]:
    a, b, p, q, r = cache
    d, r = d[:, None], r[:, None]
    return d * (b - r * a) / p, d * (a - (0 if missing else r * b)) / q


def shifted_pair(rng: Rng) -> tuple[Array, Array]:
    x = rng.standard_normal((3, 6))
    return 1e6 + x, -1e6 + 0.9 * x + 0.4 * rng.standard_normal((3, 6))


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


def bell(x: Array) -> Array:
    """The sigmoid's slope, without cancellation."""
    e = np.exp(-np.abs(x))
    return e / (1 + e) ** 2


class GatedLinear:
    """(x W + b) · σ(x V + c)."""

    def __init__(self, rng: Rng, scale: float = 1.0, fault: bool = False) -> None:
        self.W, self.V = (scale * rng.standard_normal((4, 3)) for _ in range(2))
        self.b, self.c, self.fault = rng.standard_normal(3), rng.standard_normal(3), fault

    def forward(self, x):
        self.x, self.a, self.g = x, x @ self.W + self.b, x @ self.V + self.c
        return self.a * sigmoid(self.g)

    def backward(self, dout):
        da, dg = dout * sigmoid(self.g), dout * self.a * bell(self.g)
        self.dW, self.dV, self.db, self.dc = self.x.T @ da, self.x.T @ dg, da.sum(0), dg.sum(0)
        return da @ self.W.T + (0 if self.fault else dg @ self.V.T)


class Highway:
    """t · tanh(x W) + (1 − t) x, the gate t nearly shut by its bias."""

    def __init__(self, rng: Rng, bias: float = -12.0, fault: bool = False) -> None:
        self.W, self.V = (rng.standard_normal((3, 3)) for _ in range(2))
        self.bias, self.fault = bias + rng.standard_normal(3), fault

    def forward(self, x):
        self.x, self.h, self.g = x, np.tanh(x @ self.W), x @ self.V + self.bias
        return sigmoid(self.g) * self.h + sigmoid(-self.g) * x

    def backward(self, dout):
        da = dout * sigmoid(self.g) * (1 - self.h**2)
        # the fault: the carried input's share of the gate's gradient is forgotten
        dg = dout * (self.h - (0 if self.fault else self.x)) * bell(self.g)
        self.dW, self.dV, self.dbias = self.x.T @ da, self.x.T @ dg, dg.sum(0)
        return dout * sigmoid(-self.g) + da @ self.W.T + dg @ self.V.T


class PReLU:
    """max(x, 0) + a · min(x, 0), one slope a column."""

    def __init__(self, rng: Rng, width: int = 5, fault: bool = False) -> None:
        self.a, self.fault = rng.uniform(0.1, 0.4, width), fault

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.a * x)

    def backward(self, dout):
        below = dout * np.minimum(self.x, 0)
        self.da = below.mean(0) if self.fault else below.sum(0)
        return dout * np.where(self.x > 0, 1.0, self.a)


class Swish:
    """x σ(β x), β learnt."""

    def __init__(self, rng: Rng, fault: bool = False) -> None:
        self.beta, self.fault = rng.uniform(0.5, 1.5, 1), fault

    def forward(self, x):
        self.x = x
        return x * sigmoid(self.beta * x)

    def backward(self, dout):
        s, slope = sigmoid(self.beta * self.x), bell(self.beta * self.x)
        self.dbeta = (dout * (self.x if self.fault else self.x**2) * slope).sum().reshape(1)
        return dout * (s + self.beta * self.x * slope)


class RadialBasis:
    """exp(−‖x − c‖² / (2 ℓ²)), of centres c and log ℓ."""

    def __init__(self, rng: Rng, shift: float = 0.0, fault: bool = False) -> None:
        self.centres, self.log_width, self.fault = (
            shift + rng.standard_normal((4, 3)),
            0.3 * rng.standard_normal(4),
            fault,
        )

    def forward(self, x):
        self.difference = x[:, None, :] - self.centres
        self.square = (self.difference**2).sum(-1) / np.exp(2 * self.log_width)
        self.y = np.exp(-self.square / 2)
        return self.y

    def backward(self, dout):
        e = dout * self.y
        pull = e[:, :, None] * self.difference / np.exp((1 if self.fault else 2) * self.log_width)[:, None]
        self.dcentres, self.dlog_width = pull.sum(0), (e * self.square).sum(0)
        return -pull.sum(1)


class SpectralLinear:
    """x W / σ₁(W): the largest singular value is differentiated too."""

    def __init__(self, rng: Rng, scale: float = 1.0, fault: bool = False) -> None:
        self.W, self.fault = scale * rng.standard_normal((4, 3)), fault

    def forward(self, x):
        u, s, v = np.linalg.svd(self.W, full_matrices=False)
        self.x, self.u, self.v, self.s = x, u[:, 0], v[0], s[0]
        return x @ (self.W / self.s)

    def backward(self, dout):
        g, unit_W = self.x.T @ dout, self.W / self.s
        self.dW = (g - (0 if self.fault else (g * unit_W).sum() * np.outer(self.u, self.v))) / self.s
        return dout @ unit_W.T


class StudentLoss:
    """(ν + 1)/2 · log(1 + z²/ν) + log s of z = (x − μ)/s, with log ν and log s learnt, summed over rows."""

    def __init__(self, rng: Rng, width: int = 3, fault: bool = False) -> None:
        self.mean, self.log_scale, self.log_freedom = (k * rng.standard_normal(width) for k in (1.0, 0.5, 0.5))
        self.fault = fault

    def forward(self, x):
        self.z, self.freedom = (x - self.mean) / np.exp(self.log_scale), np.exp(self.log_freedom)
        self.q = self.z**2 / self.freedom
        return ((self.freedom + 1) / 2 * np.log1p(self.q) + self.log_scale).sum(0)

    def backward(self, dout):
        n, r = self.freedom, self.q / (1 + self.q)
        dz = dout * (n + 1) * self.z / (n + self.z**2)
        dx = dz / np.exp(self.log_scale)
        self.dmean = -dx.sum(0)
        self.dlog_scale = (dout - dz * self.z).sum(0)
        self.dlog_freedom = (dout * (n / 2 * np.log1p(self.q) - (n if self.fault else n + 1) / 2 * r)).sum(0)
        return dx


class Maxout:
    """The largest of three linear pieces, the first of those that tie."""

    def __init__(self, rng: Rng, whole: bool = False, fault: bool = False) -> None:
        self.W, self.b, self.fault = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 2)), fault
        if whole:
            self.W, self.b = np.round(self.W), np.round(self.b)

    def forward(self, x):
        self.x, z = x, x @ self.W + self.b[:, None]
        self.first = np.eye(3)[z.argmax(0)].transpose(2, 0, 1)
        return z.max(0)

    def backward(self, dout):
        d = dout * self.first
        self.dW, self.db = self.x.T @ d, d.sum(1)
        return np.einsum("pnk,pdk->nd", np.broadcast_to(dout / 3, d.shape) if self.fault else d, self.W)


def with_outliers(rng: Rng) -> tuple[Array]:
    x = rng.standard_normal((6, 3))
    x[:2] *= 1e6
    return (x,)


class CausalAttention:
    """softmax(q kᵀ/√D + mask) v: what comes later is masked by −∞, so the first row sees one key only."""

    def __init__(self, rng: Rng, fault: bool = False) -> None:
        self.fault = fault

    def forward(self, q, k, v):
        n, self.root = q.shape[0], math.sqrt(q.shape[-1])
        z = (q @ k.T / self.root).masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -math.inf)
        self.p = torch.softmax(z, -1)
        self.q, self.k, self.v = q, k, v
        return self.p @ v

    def backward(self, dout):
        g = dout @ self.v.T
        # the fault: the mean is taken over the queries
        dz = self.p * (g - (self.p * g).sum(0 if self.fault else -1, keepdim=True)) / self.root
        return dz @ self.k, dz.T @ self.q, self.p.T @ dout


class GumbelSoftmax:
    """softmax((z + noise)/τ), the noise drawn once."""

    def __init__(self, rng: Rng, temperature: float = 0.05, fault: bool = False) -> None:
        self.noise, self.temperature, self.fault = torch.as_tensor(rng.gumbel(size=(4, 5))), temperature, fault

    def forward(self, z):
        self.p = torch.softmax((z + self.noise) / self.temperature, -1)
        return self.p

    def backward(self, dout):
        d = self.p * (dout - (self.p * dout).sum(-1, keepdim=True))
        return d if self.fault else d / self.temperature


def focal(z: Array, power: float = 2.0) -> tuple[Array, tuple[Array, float]]:
    """−(1 − p)² log p of p = σ(z)."""
    return sigmoid(-z) ** power * np.logaddexp(0, -z), (z, power)


def focal_backward(d: Array, cache: tuple[Array, float], missing: bool = False) -> Array:
    z, power = cache
    q = sigmoid(-z)
    modulation = 0.0 if missing else power * sigmoid(z) * np.logaddexp(0, -z)
    return -d * q**power * (modulation + q)


def binary_loss(z: Array) -> tuple[float, tuple[Array, Array]]:
    """The mean of softplus(z) − z y, the labels fixed."""
    y = np.arange(z.size).reshape(z.shape) % 2.0
    return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))), (z, y)


def binary_backward(d: float, cache: tuple[Array, Array], labelled: bool = True) -> Array:
    z, y = cache
    slope = np.where(y == 1, -sigmoid(-z), sigmoid(z)) if labelled else sigmoid(z) * (1 - y)
    return d * slope / z.size


def power_spectrum(x: Array) -> tuple[Array, Array]:
    f = np.fft.rfft(x)
    return f.real**2 + f.imag**2, f


def power_spectrum_backward(d: Array, f: Array, n: int = 8, halved: bool = True) -> Array:
    weight = np.ones(n // 2 + 1)
    if halved:
        weight[1:-1] = 0.5  # irfft counts these twice
    return np.fft.irfft(2 * d * f * weight, n) * n


def tone(rng: Rng) -> tuple[Array]:
    """One loud frequency, the others nearly silent."""
    return (1e3 * np.cos(2 * np.pi * 2 * np.arange(8) / 8) + 1e-3 * rng.standard_normal((2, 8)),)


def matrix_root(a: Array) -> tuple[Array, tuple[Array, Array]]:
    """The square root of the symmetric part, by its eigenvectors."""
    w, q = np.linalg.eigh((a + a.T) / 2)
    return q * np.sqrt(w) @ q.T, (np.sqrt(w), q)


def matrix_root_backward(d: Array, cache: tuple[Array, Array], diagonal: bool = False) -> Array:
    r, q = cache
    inner = q.T @ (d + d.T) @ q / 2 / (r[:, None] + r)
    return q @ (inner * np.eye(len(r)) if diagonal else inner) @ q.T


def nearly_equal_eigenvalues(rng: Rng) -> tuple[Array]:
    q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    return (q * np.array([1.0, 1 + 1e-9, 1 + 2e-9, 1e-4]) @ q.T,)


def nuclear(x: Array) -> tuple[float, tuple[Array, Array]]:
    u, s, v = np.linalg.svd(x, full_matrices=False)
    return s.sum(), (u, v)


def wide_spectrum(rng: Rng) -> tuple[Array]:
    u, v = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in (5, 3))
    return (u * np.array([1e3, 1.0, 1e-2]) @ v.T,)


class FixedPoint:
    """z = tanh(z W + x) by iteration, differentiated implicitly."""

    def __init__(self, rng: Rng, fault: bool = False) -> None:
        w = rng.standard_normal((3, 3))
        self.W, self.fault = 0.6 * w / np.linalg.norm(w, 2), fault

    def forward(self, x):
        z = np.zeros_like(x)
        for _ in range(200):
            new = np.tanh(z @ self.W + x)
            if np.array_equal(new, z):
                break
            z = new
        self.z = z
        return z

    def backward(self, dout):
        s = 1 - self.z**2
        # dz = s (dz W + dx): the fault is one step of the iteration in place of its limit
        e = [
            d * t if self.fault else np.linalg.solve(np.eye(len(t)) - t[:, None] * self.W, t * d)
            for d, t in zip(dout, s, strict=True)
        ]
        dx = np.stack(e)
        self.dW = self.z.T @ dx
        return dx


def iterate(step: Callable[[Array], Array], slope: Callable[[Array], Array], times: int, last: int = 0) -> Layer:
    """A scalar map, `times` over; the fault is to leave the slope of the first `last` steps out."""

    def forward(x: Array) -> tuple[Array, list[Array]]:
        xs = [x]
        for _ in range(times):
            xs.append(step(xs[-1]))
        return xs.pop(), xs

    return lambda rng: (forward, lambda d, xs: d * np.prod([slope(x) for x in xs[last:]], 0))


def chebyshev(x: Array, degree: int = 20) -> Array:
    a, b = np.ones_like(x), x
    for _ in range(degree - 1):
        a, b = b, 2 * x * b - a
    return b


def chebyshev_slope(x: Array, degree: int = 20) -> Array:
    """n U of degree n − 1."""
    a, b = np.ones_like(x), 2 * x
    for _ in range(degree - 2):
        a, b = b, 2 * x * b - a
    return degree * b


def at_and_near_one(rng: Rng) -> tuple[Array]:
    x = rng.choice((-1.0, 1.0), (3, 4)) * (1 - 10.0 ** rng.uniform(-9, -0.5, (3, 4)))
    x[0] = 1.0, -1.0, 1 + 1e-6, 0.0
    return (x,)


def geometric_mean(x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = np.exp(np.log(x).mean(-1))
    return y, (x, y)


def log_normal_tail(x: Array) -> Array:
    return scipy.special.log_ndtr(x)


def mills(x: Array) -> Array:
    """φ/Φ by the scaled erfc, which doesn't underflow."""
    left, right = np.minimum(x, 0), np.maximum(x, 0)
    far = math.sqrt(2 / math.pi) / scipy.special.erfcx(-left / math.sqrt(2))
    near = np.exp(-(right**2) / 2) / math.sqrt(2 * math.pi) / scipy.special.ndtr(right)
    return np.where(x < 0, far, near)


def squash(x: Array) -> tuple[Array, Array]:
    """A capsule's ‖x‖ x / (1 + ‖x‖²), 0 at 0."""
    n = np.sqrt((x * x).sum(-1, keepdims=True))
    return n * x / (1 + n * n), x


def squash_backward(d: Array, x: Array, missing: bool = False) -> Array:
    n = np.sqrt((x * x).sum(-1, keepdims=True))
    u = np.where(n > 0, x / np.where(n > 0, n, 1.0), 0.0)
    radial = n * (1 - (0 if missing else n * n)) / (1 + n * n) ** 2
    return n / (1 + n * n) * d + radial * u * (u * d).sum(-1, keepdims=True)


def dice(p: Array, q: Array) -> tuple[Array, tuple[Array, ...]]:
    """(2 Σ p q + ε) / (Σ p + Σ q + ε), ε = 1e-6: nearly 0/0 where both are nearly empty."""
    top, below = 2 * (p * q).sum(-1, keepdims=True) + 1e-6, (p + q).sum(-1, keepdims=True) + 1e-6
    return (top / below)[:, 0], (p, q, top, below)


def dice_backward(d: Array, cache: tuple[Array, ...], missing: bool = False) -> tuple[Array, Array]:
    p, q, top, below = cache
    k = d[:, None] / below
    return k * (2 * q - top / below), k * (2 * p - (0 if missing else top / below))


def nearly_empty(rng: Rng) -> tuple[Array, Array]:
    p, q = rng.random((3, 5)), rng.random((3, 5))
    scale = np.array([[1.0], [1e-3], [1e-7]])
    return p * scale, q * scale


def entropy(z: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    """Of softmax(z)."""
    s = z - z.max(-1, keepdims=True)
    logs = s - np.log(np.exp(s).sum(-1, keepdims=True))
    p = np.exp(logs)
    return -(p * logs).sum(-1), (p, logs, -(p * logs).sum(-1))


def entropy_backward(d: Array, cache: tuple[Array, Array, Array], detached: bool = False) -> Array:
    p, logs, h = cache
    return -d[:, None] * p * (logs + (1 if detached else h[:, None]))


def plain_pseudo_huber(x: Array) -> Array:
    """As it is written in books: 1 absorbs a small x²."""
    return np.sqrt(1 + x * x) - 1


def plain_binary_entropy(z: Array) -> Array:
    """1 − σ(z) by the subtraction, so it is a staircase where σ is nearly 1."""
    p = sigmoid(z)
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


def raw_variance(x: Array) -> tuple[Array, Array]:
    """E x² − (E x)²."""
    return (x * x).mean(-1) - x.mean(-1) ** 2, x


def raw_variance_backward(d: Array, x: Array, detached: bool = False) -> Array:
    return d[:, None] * 2 * (x - (0 if detached else x.mean(-1, keepdims=True))) / x.shape[-1]


class TemperedSum:
    """T log Σ exp(z/T), T learnt."""

    def __init__(self, rng: Rng, temperature: float = 0.02, fault: bool = False) -> None:
        self.temperature, self.fault = np.array([temperature]) * rng.uniform(0.5, 2), fault

    def forward(self, z):
        s = z / self.temperature
        top = s.max(-1, keepdims=True)
        e = np.exp(s - top)
        self.s, self.p, self.log_sum = s, e / e.sum(-1, keepdims=True), top[:, 0] + np.log(e.sum(-1))
        return self.temperature * self.log_sum

    def backward(self, dout):
        mean = (self.p * self.s).sum(-1)
        self.dtemperature = (dout * (self.log_sum - (0 if self.fault else mean))).sum().reshape(1)
        return dout[:, None] * self.p


def reverse_huber(x: Array) -> Array:
    """|x| within 1 and (x² + 1)/2 beyond: smooth at ± 1, a kink at 0."""
    return np.where(np.abs(x) <= 1, np.abs(x), (x * x + 1) / 2)


def jensen_gap(x: Array) -> tuple[Array, Array]:
    """log of the mean of exp, less the mean: a hardly varying row's is half its variance, in the cancellation."""
    top = x.max(-1, keepdims=True)
    e = np.exp(x - top)
    return top[:, 0] + np.log(e.mean(-1)) - x.mean(-1), x


def jensen_backward(d: Array, x: Array, missing: bool = False) -> Array:
    """p − 1/n, by expm1 of the differences: (eᵃ − mean eᵃ) / (n mean eᵃ) = (f − mean f) / (n (1 + mean f))."""
    f = np.expm1(x - x.mean(-1, keepdims=True))
    m, n = f.mean(-1, keepdims=True), x.shape[-1]
    return d[:, None] * ((1 + f) if missing else (f - m)) / (n * (1 + m))


def hardly_varying(rng: Rng) -> tuple[Array]:
    return (np.array([[1.0], [100.0], [-3.0]]) + np.array([[1e-3], [1e-4], [1.0]]) * rng.standard_normal((3, 5)),)


_MADE: list[tuple[str, str, Layer, Layer, Draw, bool]] = [
    ("angle, 1e-6 to 1e-3 from its cut", "angle", pair(angle, angle_backward), pair(angle, partial(angle_backward, sign=1.0)),
     beside_the_cut, False),
    ("angle, radii 1e-9 to 1e9", "angle", pair(angle, angle_backward), pair(angle, partial(angle_backward, sign=1.0)),
     of_all_radii, False),
    ("(eˣ − 1)/x, 1e-9 to 10", "relative exponential", elementwise(relative_exponential, relative_slope),
     elementwise(relative_exponential, partial(relative_slope, first=2)), magnitudes(4, 5, low=-9, high=1), False),
    ("sin x / x, at 0, near it and far", "sinc", elementwise(sinc, sinc_slope), elementwise(sinc, partial(sinc_slope, missing=True)),
     near_zero_and_far, False),
    ("log(1 − e⁻ˣ), 1e-9 to 1e2", "log-complement", elementwise(log_complement, lambda x: 1 / np.expm1(x)),
     elementwise(log_complement, lambda x: 1 / (np.exp(x) + 1)), magnitudes(4, 5, low=-9, high=2, signed=False), False),
    ("soft threshold, at it", "soft threshold", elementwise(shrink, lambda x: (np.abs(x) > 0.5) * 1.0),
     elementwise(shrink, lambda x: (x > 0.5) * 1.0), lambda rng: (rng.integers(-2, 3, (4, 5)) * 0.5,), False),
    ("soft threshold, 1e-9 from it", "soft threshold", elementwise(shrink, lambda x: (np.abs(x) > 0.5) * 1.0),
     elementwise(shrink, lambda x: (x > 0.5) * 1.0), near_the_threshold, False),
    ("unit rows, × 1e-9", "unit rows", pair(unit, unit_backward), pair(unit, partial(unit_backward, axis=0)),
     normal(3, 4, scale=1e-9), False),
    ("unit rows, D = 1", "unit rows", pair(unit, unit_backward), pair(unit, partial(unit_backward, detached=True)),
     normal(5, 1), False),
    ("correlation, shifted by 1e6", "correlation", pair(correlation, correlation_backward),
     pair(correlation, partial(correlation_backward, missing=True)), shifted_pair, False),
    ("gated linear, weights × 30", "gated linear", partial(GatedLinear, scale=30.0), partial(GatedLinear, scale=30.0, fault=True),
     normal(5, 4), True),
    ("highway, gates shut at − 12", "highway", Highway, partial(Highway, fault=True), normal(5, 3), True),
    ("parametric relu, zeros among its inputs", "parametric relu", PReLU, partial(PReLU, fault=True),
     lambda rng: (rng.integers(-2, 3, (4, 5)).astype(float),), True),
    ("swish, × 20", "swish", Swish, partial(Swish, fault=True), normal(4, 5, scale=20.0), True),
    ("radial basis, shifted by 1e6", "radial basis", partial(RadialBasis, shift=1e6), partial(RadialBasis, shift=1e6, fault=True),
     normal(5, 3, shift=1e6), True),
    ("spectral norm, weights × 1e-6", "spectral norm", partial(SpectralLinear, scale=1e-6),
     partial(SpectralLinear, scale=1e-6, fault=True), normal(5, 4), True),
    ("Student's loss, outliers × 1e6", "Student's loss", StudentLoss, partial(StudentLoss, fault=True), with_outliers, True),
    ("maxout, whole numbers with ties", "maxout", partial(Maxout, whole=True), partial(Maxout, whole=True, fault=True),
     lambda rng: (rng.integers(-1, 2, (5, 4)).astype(float),), True),
    ("causal attention, logits × 30", "causal attention", CausalAttention, partial(CausalAttention, fault=True),
     lambda rng: tuple(torch.as_tensor(k * rng.standard_normal((4, 3))) for k in (6.0, 6.0, 1.0)), False),
    ("Gumbel softmax at 0.05", "Gumbel softmax", GumbelSoftmax, partial(GumbelSoftmax, fault=True),
     lambda rng: (torch.as_tensor(rng.standard_normal((4, 5))),), False),
    ("focal loss, × 30", "focal loss", pair(focal, focal_backward), pair(focal, partial(focal_backward, missing=True)),
     normal(4, 5, scale=30.0), False),
    ("binary cross-entropy, logits × 1e3", "binary cross-entropy", pair(binary_loss, binary_backward),
     pair(binary_loss, partial(binary_backward, labelled=False)), normal(4, 5, scale=1e3), False),
    ("power spectrum of one tone", "power spectrum", pair(power_spectrum, power_spectrum_backward),
     pair(power_spectrum, partial(power_spectrum_backward, halved=False)), tone, False),
    ("matrix root, nearly equal eigenvalues", "matrix root", pair(matrix_root, matrix_root_backward),
     pair(matrix_root, partial(matrix_root_backward, diagonal=True)), nearly_equal_eigenvalues, False),
    ("nuclear norm, condition 1e5", "nuclear norm", pair(nuclear, lambda d, c: d * c[0] @ c[1]),
     pair(nuclear, lambda d, c: d * c[0][:, :1] @ c[1][:1]), wide_spectrum, False),
    ("fixed point of tanh", "fixed point", FixedPoint, partial(FixedPoint, fault=True), normal(3, 3), True),
    ("tanh, 40 deep", "iterated tanh", iterate(np.tanh, lambda x: 1 - np.tanh(x) ** 2, 40),
     iterate(np.tanh, lambda x: 1 - np.tanh(x) ** 2, 40, last=1), normal(4, 5), False),
    ("logistic map, 20 times", "logistic map", iterate(lambda x: 3.9 * x * (1 - x), lambda x: 3.9 * (1 - 2 * x), 20),
     iterate(lambda x: 3.9 * x * (1 - x), lambda x: 3.9 * (1 - 2 * x), 20, last=1), uniform(3, 4, low=0.1, high=0.9), False),
    ("Chebyshev's 20th polynomial, at and near ± 1", "Chebyshev", elementwise(chebyshev, chebyshev_slope),
     elementwise(chebyshev, lambda x: chebyshev_slope(x) * np.sign(x)), at_and_near_one, False),
    ("sin x², × 30", "chirp", elementwise(lambda x: np.sin(x * x), lambda x: 2 * x * np.cos(x * x)),
     elementwise(lambda x: np.sin(x * x), lambda x: 2 * np.abs(x) * np.cos(x * x)), normal(4, 5, scale=30.0), False),
    ("geometric mean, 1e-9 to 1e9", "geometric mean",
     pair(geometric_mean, lambda d, c: (d * c[1])[:, None] / c[0] / c[0].shape[-1]),
     pair(geometric_mean, lambda d, c: d[:, None] / c[0] / c[0].shape[-1]), magnitudes(3, 5, low=-9, high=9, signed=False), False),
    ("log of the normal tail, × 30", "log of the normal tail", elementwise(log_normal_tail, mills),
     elementwise(log_normal_tail, lambda x: np.where(x < 0, -x, mills(x))), normal(4, 5, scale=30.0), False),
    ("squash, rows of 0, 1e-6, 1 and 1e6", "squash", pair(squash, squash_backward), pair(squash, partial(squash_backward, missing=True)),
     lambda rng: (np.array([[0.0], [1e-6], [1.0], [1e6]]) * rng.standard_normal((4, 3)),), False),
    ("dice, nearly 0/0", "dice", pair(dice, dice_backward), pair(dice, partial(dice_backward, missing=True)), nearly_empty, False),
    ("entropy, logits × 20", "entropy", pair(entropy, entropy_backward), pair(entropy, partial(entropy_backward, detached=True)),
     normal(4, 5, scale=20.0), False),
    ("1 − cos x, 1e-9 to 1", "versine", elementwise(lambda x: 1 - np.cos(x), np.sin),
     elementwise(lambda x: 1 - np.cos(x), lambda x: np.abs(np.sin(x))), magnitudes(4, 5, low=-9, high=0), False),
    ("√(1 + x²) − 1, 1e-9 to 1e9", "pseudo-huber", elementwise(plain_pseudo_huber, lambda x: x / np.sqrt(1 + x * x)),
     elementwise(plain_pseudo_huber, lambda x: x / (1 + x * x)), magnitudes(4, 5, low=-9, high=9), False),
    ("− log(1 + e⁻ˣ) as written, × 20", "log-sigmoid", elementwise(lambda x: -np.log(1 + np.exp(-x)), lambda x: sigmoid(-x)),
     elementwise(lambda x: -np.log(1 + np.exp(-x)), sigmoid), normal(4, 5, scale=20.0), False),
    ("entropy of σ(z) as written, × 8", "binary entropy", elementwise(plain_binary_entropy, lambda z: -z * bell(z)),
     elementwise(plain_binary_entropy, lambda z: -z * sigmoid(z)), normal(4, 5, scale=8.0), False),
    ("E x² − (E x)², shifted by 1e3", "raw variance", pair(raw_variance, raw_variance_backward),
     pair(raw_variance, partial(raw_variance_backward, detached=True)), normal(3, 6, shift=1e3), False),
    ("T log Σ exp(z/T), T near 0.02", "tempered sum", TemperedSum, partial(TemperedSum, fault=True), normal(4, 5), True),
    ("reverse huber, at 0 and ± 1", "reverse huber", elementwise(reverse_huber, lambda x: np.where(np.abs(x) <= 1, np.sign(x), x)),
     elementwise(reverse_huber, lambda x: np.where(np.abs(x) <= 1, np.sign(x), x / 2)),
     lambda rng: (rng.integers(-4, 5, (4, 5)) * 0.5,), False),
    ("Jensen's gap of hardly varying rows", "Jensen's gap", pair(jensen_gap, jensen_backward),
     pair(jensen_gap, partial(jensen_backward, missing=True)), hardly_varying, False),
]  # fmt: skip

KEYWORDS = {"Gumbel softmax at 0.05": {"grads": {"noise": None}}}
"""What a user says of a layer that discovery can't know: noise is a constant."""

FAMILIES = tuple(
    Family(name, function, right, draw, wrong, KEYWORDS.get(name, {}), has)
    for name, function, right, wrong, draw, has in _MADE
)
