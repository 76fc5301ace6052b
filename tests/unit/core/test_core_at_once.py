"""Blocks of many entries where autograd is no second opinion: asked at once along three directions, and not entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

from harness import gradcheck


class MaxPool:
    """The largest of each window of 2 × 2, in NumPy; counts its forwards. Among many windows a few have ties within any step."""

    forwards = 0

    def __init__(self, wrong=0):
        self.wrong = wrong

    def forward(self, x):
        MaxPool.forwards += 1
        B, C, H, W = x.shape
        windows = x.reshape(B, C, H // 2, 2, W // 2, 2).swapaxes(3, 4).reshape(B, C, H // 2, W // 2, 4)
        self.largest, self.shape = windows.argmax(-1), x.shape
        return windows.max(-1)

    def backward(self, dout):
        chosen = self.largest.copy()
        chosen.reshape(-1)[: self.wrong] ^= 1
        B, C, H, W = self.shape
        dx = dout[..., None] * (np.arange(4) == chosen[..., None])
        return dx.reshape(B, C, H // 2, W // 2, 2, 2).swapaxes(3, 4).reshape(self.shape)


@pytest.fixture
def images():
    return np.random.default_rng(2).normal(size=(6, 285, 10, 8))


def test_many_windows_cost_no_ladder_for_each_of_their_entries(images):
    before = MaxPool.forwards
    assert gradcheck(MaxPool(), images).ok
    assert MaxPool.forwards - before < 2000  # entry by entry it took 12 423


def test_the_one_window_of_many_that_is_wrong_is_found(images):
    report = gradcheck(MaxPool(wrong=1), images[:2, :50], raise_exception=False)
    assert "input_gradient" in {r.check for r in report.failures}
    assert report.failures[0].finding.wrong == 2
