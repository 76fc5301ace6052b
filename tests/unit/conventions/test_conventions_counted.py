"""Layers that go by a plain number which their forwards move, such as a count of training steps: right ones, and wrong twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck

NX = np.random.default_rng(0).standard_normal((4, 3))


class Modes:
    off = 0

    def __init__(self) -> None:
        self.training = True

    def train(self) -> None:
        self.training = True

    def eval(self) -> None:
        self.training = False


class Cooling(Modes):
    """A softmax whose temperature falls with every training step."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def forward(self, x):
        self.step += self.training
        self.t = max(0.5, 2 * 0.9**self.step)
        e = np.exp((x - x.max(1, keepdims=True)) / self.t)
        self.p = e / e.sum(1, keepdims=True)
        return self.p

    def backward(self, d):
        t = max(0.5, 2 * 0.9 ** (self.step + self.off))
        return self.p * (d - (d * self.p).sum(1, keepdims=True)) / t


class Averaging(Modes):
    """Batch norm whose statistics are the mean over all batches so far."""

    def __init__(self, D) -> None:
        super().__init__()
        self.g, self.b, self.n = np.ones(D), np.zeros(D), 0
        self.rm, self.rv = np.zeros(D), np.ones(D)

    def forward(self, x):
        m, v = self.rm, self.rv
        if self.training:
            m, v = x.mean(0), x.var(0)
            self.n += 1
            self.rm, self.rv = self.rm + (m - self.rm) / self.n, self.rv + (v - self.rv) / self.n
        self.s = 1 / np.sqrt(v + 1e-5)
        self.h = (x - m) * self.s
        return self.g * self.h + self.b

    def backward(self, d):
        self.dg, self.db = (d * self.h).sum(0), d.sum(0)
        dh = d * self.g
        if not self.training and not self.off:
            return dh * self.s
        return self.s * (dh - dh.mean(0) - self.h * (dh * self.h).mean(0))


class Following(Modes):
    """It divides by the mean size of the batches before, kept as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 1.0

    def forward(self, x):
        self.used = self.size
        if self.training or self.off == 2:
            self.size = 0.9 * self.size + 0.1 * np.abs(x).mean()
        return x / self.used

    def backward(self, d):
        return d / (self.size if self.off == 1 else self.used)


class Growing:
    """A sigmoid that is steeper at every call; it has no modes."""

    off = 0

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.k = min(5.0, 1 + 0.1 * self.calls)
        self.y = 1 / (1 + np.exp(-self.k * x))
        return self.y

    def backward(self, d):
        return d * (self.k + self.off) * self.y * (1 - self.y)


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a):
        ctx.a = a
        return a * x

    @staticmethod
    def backward(ctx, d):
        return d * (ctx.a + Opening.off), None


class Opening(torch.nn.Module):
    """A gate that opens with every training step, counted in an int."""

    off = 0

    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def forward(self, x):
        self.step += self.training
        return Step.apply(x, 1 - 0.5 ** (self.step + 1))


KINDS = [Cooling, Averaging, Following, Growing, Opening]


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_by_a_number_that_forwards_move_is_right(kind):
    """It was INCONCLUSIVE in training, for forwards that differ, and FAIL in evaluation, where a cache was taken for a buffer."""
    report = check(LayerSpec(build=kind, inputs="B D"), examples=12, skip=["precision"])
    assert report.ok, str(report)


@pytest.mark.parametrize(("kind", "off"), [*((k, 1) for k in KINDS), (Following, 2)])
def test_its_wrong_twin_fails(kind, off, monkeypatch):
    monkeypatch.setattr(kind, "off", off)
    report = check(LayerSpec(build=kind, inputs="B D"), examples=6, only=("gradient", "state"))
    assert {r.check for r in report.failures} & {"input_gradient", "state"}


def test_it_is_said_and_the_number_is_the_layers_own_again():
    layer = Cooling()
    report = gradcheck(layer, NX, battery=True)
    assert "Cooling keeps `step` from call to call, and the output depends on it" in str(report.notes)
    assert layer.step == 0


def test_a_script_begins_each_run_with_it(monkeypatch):
    monkeypatch.setattr(Cooling, "off", 1)
    report = gradcheck(Cooling(), NX, raise_exception=False)
    (found,) = (r for r in report.results if r.check == "input_gradient")
    assert found.outcome is Outcome.FAIL
    assert "layer.step = 0" in found.finding.reproduce
