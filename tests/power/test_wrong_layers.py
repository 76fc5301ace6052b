"""Faults that peers pass, each in the smallest form that people ship it in, beside its right twin, at several seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck

Change = Callable[[Any], Any]
SEEDS = range(4)


def same(g):
    return g


class Linear:
    """x W + b in torch, the gradient of W passed through `change`."""

    def __init__(self, width: int, out: int, change: Change = same) -> None:
        generator = torch.Generator().manual_seed(0)
        self.W, self.b = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((width, out), (out,)))
        self.change = change

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.change(self.x.T @ dy), dy.sum(0)
        return dy @ self.W.T


def one_entry(g):
    g = g.clone()
    g[17, 101] *= 1 + 1e-4
    return g


def swapped(g):
    g = g.clone()
    g[5, 7:9] = g[5, 7:9].flip(0)
    return g


class Scaled:
    """c x with its gradient passed through `change`; in torch or NumPy, whatever x is."""

    def __init__(self, c: float, change: Change = same) -> None:
        self.c, self.change = c, change

    def forward(self, x):
        return self.c * x

    def backward(self, dy):
        return self.change(self.c * dy)


class Norm:
    """Normalised over an axis; what backward does differently is named by its arguments."""

    def __init__(self, width: int, axis: int = 1, ddof: int = 0, outside: bool = False, gamma: bool = True) -> None:
        self.gamma, self.beta = np.ones(width), np.zeros(width)
        self.axis, self.ddof, self.outside, self.with_gamma = axis, ddof, outside, gamma

    def forward(self, x):
        self.x = x
        c = x - x.mean(self.axis, keepdims=True)
        self.xhat = c / np.sqrt(x.var(self.axis, keepdims=True) + 1e-5)
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        d = dy * self.gamma if self.with_gamma else dy
        var = self.x.var(self.axis, keepdims=True, ddof=self.ddof)
        invstd = 1 / (np.sqrt(var) + 1e-5) if self.outside else 1 / np.sqrt(var + 1e-5)
        n = (self.x - self.x.mean(self.axis, keepdims=True)) * invstd
        return invstd * (d - d.mean(self.axis, keepdims=True) - n * (d * n).mean(self.axis, keepdims=True))


class RowMax:
    """The largest of each row; every tied maximum gets its share, or all of it."""

    def __init__(self, full: bool = False) -> None:
        self.full = full

    def forward(self, x):
        self.x = x
        return np.max(x, axis=1)

    def backward(self, dy):
        hit = 1.0 * (self.x == self.x.max(1, keepdims=True))
        return dy[:, None] * (hit if self.full else hit / hit.sum(1, keepdims=True))


class Square:
    """x², wrong in some rows."""

    def __init__(self, rows: tuple[int, ...] = ()) -> None:
        self.rows = list(rows)

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, dy):
        g = 2 * self.x * dy
        g[self.rows] *= 1.01
        return g


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


TIED = np.array([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 1.0], [0.0, -1.0, 4.0, 1.0]])
ROWS = drawn(6, 5) * 10.0 ** np.array([-8, -4, 0, 2, 5, 8])[:, None]
MANY = drawn(300_000)
X = torch.from_numpy(drawn(16, 32))

CASES: dict[str, tuple[Any, Any, Any]] = {
    "1e-5 in one tensor": (Linear(32, 8), Linear(32, 8, lambda g: g * (1 + 1e-5)), X),
    "1e-4 in one of 32×128 entries": (Linear(32, 128), Linear(32, 128, one_entry), X),
    "neighbours swapped": (Linear(32, 128), Linear(32, 128, swapped), X),
    "ε outside the root, rows": (Norm(6), Norm(6, outside=True), 1e-2 * drawn(4, 6)),
    "ε outside the root, batch": (Norm(6, axis=0), Norm(6, axis=0, outside=True), 1e-2 * drawn(4, 6)),
    "unbiased variance, rows": (Norm(6), Norm(6, ddof=1), drawn(4, 6)),
    "unbiased variance, batch": (Norm(6, axis=0), Norm(6, axis=0, ddof=1), drawn(4, 6)),
    "missing γ, rows": (Norm(6), Norm(6, gamma=False), drawn(4, 6)),
    "missing γ, batch": (Norm(6, axis=0), Norm(6, axis=0, gamma=False), drawn(4, 6)),
    "zero beside gradients of 5e-6": (Scaled(5e-6), Scaled(5e-6, lambda g: 0 * g), drawn(4, 6)),
    "zero at 300 000, NumPy": (Scaled(1.0), Scaled(1.0, lambda g: 0 * g), MANY),
    "flipped at 300 000, NumPy": (Scaled(1.0), Scaled(1.0, lambda g: -g), MANY),
    "zero at 300 000, torch": (Scaled(1.0), Scaled(1.0, lambda g: 0 * g), torch.from_numpy(MANY)),
    "flipped at 300 000, torch": (Scaled(1.0), Scaled(1.0, lambda g: -g), torch.from_numpy(MANY)),
    "the full gradient to every tied maximum": (RowMax(), RowMax(full=True), TIED),
    "rows of 1e-8 beside 1e8": (Square(), Square(rows=(0,)), ROWS),
    "rows of 1e-4 beside 1e8": (Square(), Square(rows=(1,)), ROWS),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_wrong_layer_fails_and_its_right_twin_passes(name: str, seed: int):
    right, wrong, x = CASES[name]
    if len(x) > 1000 and seed:
        pytest.skip("one seed of the large ones")
    assert gradcheck(right, x, seed=seed).ok
    assert gradcheck(wrong, x, seed=seed, raise_exception=False).failures


@pytest.mark.parametrize("seed", SEEDS)
def test_full_gradient_to_tied_maxima_is_found_from_a_spec(seed: int):
    def outcome(full: bool) -> Outcome:
        spec = LayerSpec(build=lambda: RowMax(full), inputs="B D", name="RowMax")
        return check(spec, examples=25, seed=seed, only=("special_values",)).results[0].outcome

    assert outcome(full=True) is Outcome.FAIL
    assert outcome(full=False) is not Outcome.FAIL


def test_wrong_entry_among_a_million_is_named():
    x = torch.from_numpy(drawn(1000, 1000))

    class Sine:
        def __init__(self, change: Change = same) -> None:
            self.change = change

        def forward(self, x):
            self.x = x
            return torch.sin(x)

        def backward(self, dy):
            return self.change(dy * torch.cos(self.x))

    def touched(g):
        g[123, 456] *= 1.001
        return g

    assert gradcheck(Sine(), x).ok
    finding = gradcheck(Sine(touched), x, raise_exception=False).failures[0].finding
    assert finding is not None
    assert finding.where == ("x", (123, 456))
    assert finding.wrong == 1
