"""Layers that answer otherwise at every so-manieth call are said to, whichever check meets it; and right twins that count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import LayerSpec, Outcome, check, gradcheck

NX = np.random.default_rng(0).standard_normal((4, 3))
TX = torch.from_numpy(NX)
INPUTS = pytest.mark.parametrize("x", [NX, TX], ids=["numpy", "torch"])
SAID = "of 8 calls at one point with one cotangent, call"


class Counting:
    """It counts its calls, which nothing depends on."""

    every = 0

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.x = x
        return x * x

    def off(self) -> float:
        return 1.5 if self.every and self.calls % self.every == 0 else 1.0

    def backward(self, v):
        self.calls += 1
        return 2 * self.x * v * self.off()


class InBackward(Counting):
    def forward(self, x):
        self.x = x
        return x * x


class InForward(Counting):
    def backward(self, v):
        return 2 * self.x * v * self.off()


class InOutputs(Counting):
    def forward(self, x):
        self.factor = self.off()
        return super().forward(x) * self.factor

    def backward(self, v):
        return 2 * self.x * v * self.factor


class Warming(InBackward):
    """Its gradients are too small for longer than it is looked at."""

    def off(self):
        return min(1.0, self.calls / 200)


def function():
    """A Function whose backward, for single use, counts."""
    calls = [0]

    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, v: Tensor) -> Tensor:
            calls[0] += 1
            return 2 * ctx.saved_tensors[0] * v * (1.5 if calls[0] % 3 == 0 else 1.0)

    return Squared


@INPUTS
@pytest.mark.parametrize("every", [2, 3, 5, 7])
@pytest.mark.parametrize("kind", [InBackward, InForward])
def test_every_so_manieth_call_fails_repeatable_and_is_said_to(kind, every, x):
    layer = kind()
    layer.every = every
    report = gradcheck(layer, x, battery=True, raise_exception=False)
    assert "repeatable" in {r.check for r in report.failures}
    told = [r for r in report.results if r.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)]
    own = [r for r in told if r.check not in ("input_gradient", "float32", "bfloat16", "float16", "repeatable")]
    assert own
    assert all(r.reason.startswith(SAID) for r in own), [(r.check, r.reason) for r in own]


@INPUTS
@pytest.mark.parametrize("kind", [InBackward, InForward, InOutputs, Warming])
def test_what_is_open_is_not_laid_to_rounding(kind, x):
    """A backward wrong at every third call was INCONCLUSIVE because "rounding hides" what its neighbours differ by."""
    for begun in range(6):
        layer = kind()
        layer.every, layer.calls = 3, begun
        report = gradcheck(layer, x, raise_exception=False)
        open_ = [r for r in report.results if r.outcome is Outcome.INCONCLUSIVE]
        assert all(r.reason.startswith((SAID, "two forwards under one seed differ")) for r in open_)


def test_a_function_for_single_use():
    report = gradcheck(function(), TX, battery=True, raise_exception=False)
    assert "repeatable" in {r.check for r in report.failures} or all(r.reason.startswith(SAID) for r in report.failures)
    assert not report.ok


@INPUTS
def test_a_count_that_nothing_depends_on_is_right(x):
    assert gradcheck(Counting(), x, battery=True).ok


class Popping:
    """A stack of what forwards keep: a backward too many takes what an earlier one left."""

    def __init__(self) -> None:
        self.kept = []

    def forward(self, x):
        self.kept.append(x)
        return x * x

    def backward(self, v):
        return 2 * self.kept.pop() * v


@INPUTS
def test_a_stack_is_right(x):
    """Further calls of one backward failed it: they pop what forwards on other inputs have left."""
    assert gradcheck(Popping(), x, battery=True).ok
    assert check(LayerSpec(build=Popping, inputs="B D"), examples=4, only=["contract"]).ok


class Larger:
    """Wrong for good after a larger batch: no matter of how often it is called."""

    most = 0

    def forward(self, x):
        self.most = max(self.most, len(x))
        self.x = x
        return x * x

    def backward(self, v):
        return 2 * self.x * v * (1.5 if len(v) < self.most else 1.0)


@INPUTS
def test_what_a_larger_batch_leaves_is_still_said_to_come_of_that(x):
    report = gradcheck(Larger(), x, battery=True, raise_exception=False)
    (found,) = (r for r in report.failures if r.check == "reuse")
    assert "twice as many rows" in found.reason
