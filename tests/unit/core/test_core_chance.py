"""Layers whose forwards differ at one example: whether what fails at the others is chance."""

from __future__ import annotations

import torch

from harness import LayerSpec, Outcome, check


class Streaming:
    """An RNN cell that goes on with the state of the call before; where it is saturated, a probe does not see that state."""

    late = False

    def __init__(self, D):
        g = torch.Generator().manual_seed(0)
        self.Wx = torch.randn(D, 3, generator=g, dtype=torch.float64)
        self.Wh = torch.randn(3, 3, generator=g, dtype=torch.float64) / 2
        self.h = None

    def forward(self, x):
        self.x = x
        known = self.h is not None and len(self.h) == len(x)
        self.before = self.h if known else torch.zeros(len(x), 3, dtype=x.dtype)
        self.h = torch.tanh(x @ self.Wx + self.before @ self.Wh)
        return self.h.clone()

    def backward(self, g):
        da = g * (1 - self.h**2)
        self.dWx = self.x.T @ da
        self.dWh = (self.h if self.late else self.before).T @ da
        return da @ self.Wx.T


class Late(Streaming):
    late = True


class Seldom:
    """A mask from the system's entropy that seldom drops: what two forwards differ by is a draw."""

    def forward(self, x):
        import os

        self.on = torch.tensor([b >= 2 for b in os.urandom(x.numel())]).reshape(x.shape)
        return x * self.on

    def backward(self, g):
        return g * self.on


def outcome(kind, **words):
    (found,) = check(LayerSpec(build=kind, inputs="B D"), examples=25, **words).results
    return found.outcome


def test_what_fails_alike_again_is_no_chance():
    """24 of 25 failures were taken for luck, because forwards differ at the other example."""
    assert outcome(Late, only=["parameter_gradient"]) is Outcome.FAIL
    assert outcome(Streaming, only=["parameter_gradient"]) in (Outcome.PASS, Outcome.INCONCLUSIVE)


def test_what_a_draw_makes_differ_is_chance():
    for seed in range(2):
        assert outcome(Seldom, only=["input_gradient"], seed=seed) is not Outcome.FAIL
