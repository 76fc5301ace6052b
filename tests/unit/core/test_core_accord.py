"""Kinks at special points: few forwards where autograd and one-sided slopes agree with a claim, and every wrong twin is failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import LayerSpec, Outcome, check

COUNT = [0]


class Bent:
    """An elementwise function, its derivative as its options say."""

    def __init__(self, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> None:
        self.f, self.slope = f, slope

    def forward(self, x: Tensor) -> Tensor:
        COUNT[0] += 1
        self.x = x
        return self.f(x)

    def backward(self, d: Tensor) -> Tensor:
        return d * self.slope(self.x)


class Largest:
    """The largest of each row; `share`: what ties get."""

    def __init__(self, share: Callable[[Tensor], Tensor]) -> None:
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        COUNT[0] += 1
        self.at_top = (x == x.max(-1, keepdim=True).values).to(x.dtype)
        return x.max(-1).values

    def backward(self, d: Tensor) -> Tensor:
        return d[:, None] * self.share(self.at_top)


def relu(x: Tensor) -> Tensor:
    return x.clamp(min=0)


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def straight(x: Tensor) -> Tensor:
    """x, by a way that autograd has no slope for at 0."""
    return torch.relu(x) - torch.relu(-x)


def at_zero(value: float, of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.where(x == 0, value, of(x))


def step(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def tenth(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), 0.1 * torch.ones_like(x))


RIGHT: dict[str, Callable[[], Any]] = {
    "relu, 0 at 0": lambda: Bent(relu, step),
    "relu, 1 at 0": lambda: Bent(relu, lambda x: (x >= 0).to(x.dtype)),
    "relu, 1/2 at 0": lambda: Bent(relu, at_zero(0.5, step)),
    "leaky": lambda: Bent(leaky, tenth),
    "abs": lambda: Bent(torch.abs, torch.sign),
    "max, shared": lambda: Largest(lambda top: top / top.sum(-1, keepdim=True)),
    "max, the first": lambda: Largest(lambda top: torch.nn.functional.one_hot(top.argmax(-1), top.shape[-1]).to(top)),
}
WRONG: dict[str, Callable[[], Any]] = {
    "relu, 1.5 at 0": lambda: Bent(relu, at_zero(1.5, step)),
    "relu, −0.1 at 0": lambda: Bent(relu, at_zero(-0.1, step)),
    "leaky, 0 at 0": lambda: Bent(leaky, at_zero(0.0, tenth)),
    "abs, 2 at 0": lambda: Bent(torch.abs, at_zero(2.0, torch.sign)),
    "x, 0 at 0, as autograd": lambda: Bent(straight, at_zero(0.0, torch.ones_like)),
    "max, all of it to each": lambda: Largest(lambda top: top),
    "max, nothing to ties": lambda: Largest(lambda top: top * (top.sum(-1, keepdim=True) == 1)),
    "relu, slightly large at halves": lambda: Bent(relu, lambda x: step(x) * torch.where(x % 0.5 == 0, 1 + 1e-4, 1.0)),
}


def special(build: Callable[[], Any], seed: int) -> Outcome:
    report = check(LayerSpec(build, "B D", name="Bent"), examples=25, seed=seed, only=("special_values",))
    return report.results[0].outcome


@pytest.mark.parametrize("build", RIGHT.values(), ids=RIGHT)
def test_right_kinks_pass_within_the_budget(build):
    for seed in range(2):
        spec = LayerSpec(build, "B D", name="Bent")
        COUNT[0] = 0
        assert check(spec, examples=25, seed=seed, only=("input_gradient",)).ok
        before, COUNT[0] = COUNT[0], 0
        assert check(spec, examples=25, seed=seed, only=("special_values",)).ok
        assert COUNT[0] - before <= 25 * 40


@pytest.mark.parametrize("build", WRONG.values(), ids=WRONG)
def test_wrong_kinks_fail(build):
    assert special(build, seed=0) is Outcome.FAIL


@pytest.mark.parametrize(("build", "fails"), [(RIGHT["relu, 1/2 at 0"], False), (WRONG["relu, 1.5 at 0"], True)])
def test_five_examples_that_fail_are_enough(build, fails):
    [found] = check(LayerSpec(build, "3", name="Bent"), only="special_values").results
    assert found.outcome is (Outcome.FAIL if fails else Outcome.PASS)
    assert (found.examples < 25) is fails
    assert found.reason.endswith(f"(5 of {found.examples} examples)") is fails
