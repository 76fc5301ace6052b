"""Losses where what is predicted is what is wanted: gradients that are zero up to rounding, of outputs that may be nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from harness import gradcheck


class Cosine:
    """1 − cos of the angle between rows."""

    def __init__(self, tilt=0.0, of_memory=0.0):
        self.tilt, self.of_memory = tilt, of_memory

    def forward(self, a, b):
        self.a, self.b = a, b
        self.m, self.n = (np.sqrt((x * x).sum(1, keepdims=True)) for x in (a, b))
        self.c = (a * b).sum(1, keepdims=True) / self.m / self.n
        return 1 - self.c[:, 0] + self.of_memory * a.ravel(order="K")[: len(a)]

    def backward(self, d):
        d = -d[:, None]
        da = self.b / self.m / self.n - self.c * self.a / self.m**2
        db = self.a / self.m / self.n - self.c * self.b / self.n**2
        return d * (da + self.tilt * self.a), d * db


class Divergence:
    """The divergence of two softmaxes."""

    def __init__(self, tilt=0.0):
        self.tilt = tilt

    def forward(self, z, t):
        e, f = np.exp(z - z.max(1, keepdims=True)), np.exp(t - t.max(1, keepdims=True))
        self.p, self.q = e / e.sum(1, keepdims=True), f / f.sum(1, keepdims=True)
        self.log = np.log(self.q) - np.log(self.p)
        return (self.q * self.log).sum(1)

    def backward(self, d):
        d = d[:, None]
        return d * (self.p - self.q + self.tilt), d * self.q * (self.log - (self.q * self.log).sum(1, keepdims=True))


class Similarity:
    """What is alike of two rows, with means and variances (SSIM of one window)."""

    def __init__(self, tilt=0.0):
        self.tilt = tilt

    def forward(self, a, b):
        m, n = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
        self.a, self.b, self.m, self.n = a - m, b - n, m, n
        self.A, self.C = 2 * m * n + 1e-4, m * m + n * n + 1e-4
        self.B = 2 * (self.a * self.b).mean(1, keepdims=True) + 9e-4
        self.D = (self.a**2 + self.b**2).mean(1, keepdims=True) + 9e-4
        self.y = self.A * self.B / self.C / self.D
        return self.y.mean()

    def backward(self, d=1.0):
        d = 2 * d * self.y / self.a.size
        da = self.n / self.A + self.b / self.B - self.m / self.C - self.a / self.D
        db = self.m / self.A + self.a / self.B - self.n / self.C - self.b / self.D
        return d * (da + self.tilt), d * db


LOSSES = [Cosine, Divergence, Similarity]


def rows(seed):
    return np.random.default_rng(seed).random((3, 8))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_gradient_of_zero_at_the_target_is_verified(loss):
    for seed in range(2):
        report = gradcheck(loss(), rows(seed), rows(seed), seed=seed, battery=True, raise_exception=False)
        assert report.ok, str(report)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tilt", [1e-3, 1e-8])
def test_a_gradient_beside_zero_at_the_target_fails(loss, tilt):
    assert gradcheck(loss(tilt), rows(0), rows(0), raise_exception=False).failures


ENTRY_BY_ENTRY = [(Cosine, 5, (2, 2), 1e3), (Similarity, 6, (1, 4), 1e-3), (Divergence, 2, (1, 4), 1.0)]
"""Where the directions through a tensor leave it open, and its entries settle it."""


@pytest.mark.parametrize(("loss", "seed", "shape", "scale"), ENTRY_BY_ENTRY)
def test_nor_need_an_entry_be_known_better_than_the_tensor(loss, seed, shape, scale):
    x = scale * np.random.default_rng(seed).random(shape)
    report = gradcheck(loss(), x, x.copy(), seed=seed, raise_exception=False)
    assert report.ok, str(report)
    assert gradcheck(loss(1e-8 / scale), x, x.copy(), seed=seed, raise_exception=False).failures


def test_the_order_of_memory_shows_in_outputs_that_are_nothing_but_rounding():
    report = gradcheck(Cosine(of_memory=1e-12), rows(0), rows(0), battery=True, raise_exception=False)
    assert "input_layout" in {r.check for r in report.failures}


def normalised():
    """Rows without their mean and spread."""

    def run(x):
        c = x - x.mean(1, keepdims=True)
        i = 1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)
        h = c * i

        def pullback(d):
            return i * (d - d.mean(1, keepdims=True) - h * (d * h).mean(1, keepdims=True))

        return h, pullback

    return run


def test_what_a_normalisation_leaves_of_equal_numbers_may_differ_with_their_memory():
    for seed in range(4):
        x = np.full((3, 8), np.random.default_rng(seed).normal())
        report = gradcheck(normalised(), x, seed=seed, battery=True, raise_exception=False)
        assert "input_layout" not in {r.check for r in report.failures}, str(report)
