"""Layers made of a function and a pullback, and what a failing one is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness import gradcheck

F64 = torch.float64
Pullback = Callable[[Tensor, Tensor, Tensor], Tensor]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class Of:
    """f, and a backward from the cotangent, the input and the output."""

    def __init__(self, f: Callable[[Tensor], Tensor], pullback: Pullback) -> None:
        self.f, self.pullback = f, pullback

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.y = x, self.f(x)
        return self.y

    def backward(self, d: Tensor) -> Tensor:
        return self.pullback(d, self.x, self.y)


def diagnosis(layer: Any, *inputs: Any, of: str = "input_gradient") -> tuple[str, ...]:
    report = gradcheck(layer, *inputs, raise_exception=False)
    (failed,) = (r for r in report.failures if r.check == of)
    assert failed.finding is not None
    return failed.finding.diagnosis


X = randn(6, 5)
