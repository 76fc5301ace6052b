"""What keeps something from call to call that the next call computes with: recurrent state, counters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from layers_autograd import RIGHT, WRONG, affine_of
from torch import Tensor

zero = torch.zeros(3, dtype=torch.float64)


class Cell:
    """`self.h` is None until the first call."""

    formula = RIGHT

    def __init__(self) -> None:
        self.h: Tensor | None = None
        self.w = torch.eye(3, dtype=torch.float64, requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        y = affine_of(self.formula).apply(x, self.w, zero)
        self.h = torch.tanh(y if self.h is None else y + self.h)
        return self.h


class WrongCell(Cell):
    formula = WRONG


class InDict(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        y = affine_of(self.formula).apply(x, self.w, zero)
        self.state["h"] = torch.tanh(y + self.state.get("h", 0.0))
        return self.state["h"]


class WrongInDict(InDict):
    formula = WRONG


class Module(torch.nn.Module):
    formula = RIGHT

    def __init__(self) -> None:
        super().__init__()
        self.h: Tensor | None = None
        self.w = torch.nn.Parameter(torch.eye(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        y = affine_of(self.formula).apply(x, self.w, zero[: x.shape[-1]].to(x))
        self.h = torch.tanh(y if self.h is None else y + self.h)
        return self.h


class WrongModule(Module):
    formula = WRONG


class Closure:
    """In NumPy, with its pullback."""

    factor = 1.0

    def __init__(self) -> None:
        self.t = 0

    def __call__(self, x: Any) -> Any:
        self.t += 1
        h = np.tanh(self.t * x)
        return h, lambda g, t=self.t: self.factor * t * g * (1 - h * h)


class WrongClosure(Closure):
    factor = 2.0


class Cache:
    """What it keeps matters to no later call."""

    def __call__(self, x: Tensor) -> Tensor:
        self.x = x
        return x**2
