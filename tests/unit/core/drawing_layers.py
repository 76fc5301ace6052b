"""Layers that draw a mask from generators which stand in many places; each backward is twice what it should be."""

import random
from functools import partial

import numpy as np
import torch

RNG = np.random.default_rng(5)
OLD = np.random.RandomState(6)
GENERATOR = torch.Generator().manual_seed(3)
PYTHON = random.Random(4)


def masked_by_global(x):
    mask = RNG.random(x.shape) > 0.5
    return x * mask, mask


def masked_by_two(x):
    mask = (RNG.random(x.shape) > 0.5) * (OLD.rand(*x.shape) > 0.3)
    return x * mask, mask


def masked_by_default(x, rng=np.random.default_rng(7)):  # noqa: B008
    mask = rng.random(x.shape) > 0.5
    return x * mask, mask


def twice(dout, mask):
    return 2 * dout * mask


def drawn(shape):
    return torch.rand(shape, generator=GENERATOR, dtype=torch.float64) > 0.5


def closure(x):
    mask = drawn(x.shape)
    return x * mask, lambda dout: 2 * dout * mask


def entry_by_entry(x):
    mask = np.array([PYTHON.random() > 0.5 for _ in range(x.size)]).reshape(x.shape)
    return x * mask, lambda dout: 2 * dout * mask


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mask = drawn(x.shape)
        return x * ctx.mask

    @staticmethod
    def backward(ctx, dout):
        return 2 * dout * ctx.mask


def call_masked(x):
    return Masked.apply(x)


def _twice_masked(x, by):
    return Masked.apply(x) * by


bound = partial(_twice_masked, by=2.0)


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(9)

    def forward(self, x):
        return Masked.apply(x) * (torch.rand(x.shape, generator=self.generator) > 0.3)


class Held:
    """Its generator stands in a dict of an object on it."""

    class Settings:
        def __init__(self):
            self.tools = {"rng": np.random.default_rng(11)}

    def __init__(self):
        self.settings = self.Settings()

    def forward(self, x):
        self.mask = self.settings.tools["rng"].random(x.shape) > 0.5
        return x * self.mask

    def backward(self, dout):
        return 2 * dout * self.mask


class OfClass(Held):
    rng = np.random.default_rng(12)

    def forward(self, x):
        self.mask = self.rng.random(x.shape) > 0.5
        return x * self.mask


class Given(Held):
    def __init__(self, p, generator):
        self.p, self.generator = p, generator

    def forward(self, x):
        self.mask = torch.rand(x.shape, generator=self.generator) > self.p
        return x * self.mask


class GivenNumpy(Held):
    def __init__(self, rng):
        self.rng = rng

    def forward(self, x):
        self.mask = self.rng.random(x.shape) > 0.5
        return x * self.mask


class Affine:
    """Its parameters are handed to it."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = 2 * self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T


class Causal:
    """Its buffer has entries that are infinite."""

    def __init__(self):
        self.mask = torch.triu(torch.full((3, 3), float("-inf"), dtype=torch.float64), 1)

    def forward(self, x):
        self.p = torch.softmax(x[:, None, :] + self.mask, -1)
        return self.p.sum(1)

    def backward(self, dout):
        d = dout[:, None, :]
        return 2 * (self.p * (d - (self.p * d).sum(-1, keepdim=True))).sum(1)
