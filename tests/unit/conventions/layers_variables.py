"""Functions on variables, in the steps of dezero: `__call__` takes and gives variables, forward and backward mostly arrays."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np


class Variable:
    def __init__(self, data: Any) -> None:
        self.data = data


class Function:
    factor = 1.0

    def __call__(self, *inputs: Any) -> Any:
        found = self.forward(*[x.data for x in inputs])
        outputs = [Variable(y) for y in (found if isinstance(found, tuple) else (found,))]
        self.inputs = inputs
        self.outputs = [weakref.ref(y) for y in outputs]
        return outputs if len(outputs) > 1 else outputs[0]

    def forward(self, *xs: Any) -> Any:
        raise NotImplementedError

    def backward(self, *gys: Any) -> Any:
        raise NotImplementedError


class Exp(Function):
    def forward(self, x: Any) -> Any:
        return np.exp(x)

    def backward(self, gy: Any) -> Any:
        return self.factor * gy * np.exp(self.inputs[0].data)


class Mul(Function):
    def forward(self, x0: Any, x1: Any) -> Any:
        return x0 * x1

    def backward(self, gy: Any) -> Any:
        x0, x1 = self.inputs
        return gy * x1.data, self.factor * gy * x0.data


class Tanh(Function):
    """Through its output, a weak reference."""

    def forward(self, x: Any) -> Any:
        return np.tanh(x)

    def backward(self, gy: Any) -> Any:
        y = self.outputs[0]()
        return self.factor * gy * (1 - y * y)


class Sin(Function):
    """A backward on variables."""

    def forward(self, x: Any) -> Any:
        return np.sin(x)

    def backward(self, gy: Any) -> Any:
        (x,) = self.inputs
        return Variable(self.factor * gy.data * np.cos(x.data))


class Split(Function):
    def forward(self, x: Any) -> Any:
        return np.sin(x), x**2

    def backward(self, gsin: Any, gsquare: Any) -> Any:
        x = self.inputs[0].data
        return self.factor * gsin * np.cos(x) + 2 * gsquare * x


class Square(Function):
    """An early step: one input, kept under that name."""

    def __call__(self, input: Any) -> Any:  # type: ignore[override]
        self.input = input
        return Variable(self.forward(input.data))

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return x**2

    def backward(self, gy: Any) -> Any:  # type: ignore[override]
        return self.factor * 2 * self.input.data * gy


class Power(Function):
    """An exponent of its own."""

    def __init__(self) -> None:
        self.c = 3

    def forward(self, x: Any) -> Any:
        return x**self.c

    def backward(self, gy: Any) -> Any:
        return self.factor * self.c * self.inputs[0].data ** (self.c - 1) * gy
