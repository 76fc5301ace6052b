"""Tuples and lists of arrays, at any depth: a state (h, c) as an input, as outputs, and as what backward takes and gives."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def step(x: Any, h: Any, c: Any, W: Any) -> Any:
    """One step of an LSTM without biases: the new h, the new c, and what its backward needs."""
    a = np.concatenate([x, h], 1)
    i, f, o, g = np.split(a @ W, 4, 1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    new = f * c + i * g
    return o * np.tanh(new), new, (a, i, f, o, g, c, new, W)


def step_back(dh: Any, dc: Any, cache: Any, columns: int) -> Any:
    """(dx, dh, dc, dW)"""
    a, i, f, o, g, c, new, W = cache
    dnew = dc + dh * o * (1 - np.tanh(new) ** 2)
    parts = dnew * g * i * (1 - i), dnew * c * f * (1 - f), dh * np.tanh(new) * o * (1 - o), dnew * i * (1 - g**2)
    da = np.concatenate(parts, 1)
    dinputs = da @ W.T
    return dinputs[:, :columns], dinputs[:, columns:], dnew * f, a.T @ da


class Cell:
    """forward(x, (h, c)) -> (h, (h, c)), backward(dy, (dh, dc)) -> (dx, (dh, dc))"""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.random.default_rng(0).normal(size=(5, 8))

    def forward(self, x: Any, state: Any) -> Any:
        h, c, self.cache = step(x, *state, self.W)
        return h, (h, c)

    def backward(self, dy: Any, dstate: Any) -> Any:
        return self.answer(*self.gradients(dy, *dstate))

    def gradients(self, dy: Any, dh: Any, dc: Any) -> Any:
        dx, dh, dc, self.dW = step_back(dy + dh, dc, self.cache, 3)
        return dx, dh, self.factor * dc

    def answer(self, dx: Any, dh: Any, dc: Any) -> Any:
        return dx, (dh, dc)


class OneByOne(Cell):
    """The same with cotangents and gradients beside each other."""

    def backward(self, dy: Any, dh: Any, dc: Any) -> Any:  # type: ignore[override]
        return self.gradients(dy, dh, dc)


class WithoutState(Cell):
    """Its backward takes the cotangent of the first output alone unless it is given more."""

    def backward(self, dy: Any, dstate: Any = None) -> Any:
        dh, dc = (0.0, 0.0) if dstate is None else dstate
        return self.answer(*self.gradients(dy, dh, dc))


class FirstAlone(Cell):
    def backward(self, dy: Any) -> Any:  # type: ignore[override]
        return self.answer(*self.gradients(dy, 0.0, 0.0))


class InDict(Cell):
    def answer(self, dx: Any, dh: Any, dc: Any) -> Any:
        return {"dx": dx, "dstate": [dh, dc]}


class Kept(Cell):
    """backward returns nothing and leaves dx and dstate."""

    def answer(self, dx: Any, dh: Any, dc: Any) -> Any:
        self.dx, self.dstate = dx, (dh, dc)


class AllReturned(Cell):
    """(dx, (dh, dc), dW)"""

    def gradients(self, dy: Any, dh: Any, dc: Any) -> Any:
        dx, dh, dc, dW = step_back(dy + dh, dc, self.cache, 3)
        return dx, dh, self.factor * dc, dW

    def answer(self, dx: Any, dh: Any, dc: Any, dW: Any = None) -> Any:
        return dx, (dh, dc), dW


State = namedtuple("State", "h c")


class Named(Cell):
    """A named tuple as state."""

    def forward(self, x: Any, state: Any) -> Any:
        h, c, self.cache = step(x, state.h, state.c, self.W)
        return h, State(h, c)


class Deep:
    """Two layers' states: a list of tuples in, a list of tuples out."""

    factor = 1.0

    def forward(self, x: Any, states: Any) -> Any:
        self.x, self.states = x, states
        return x * states[0][0], [(h * c, c) for h, c in states]

    def backward(self, dy: Any, dstates: Any) -> Any:
        found = [
            [dm * c + (dy * self.x if k == 0 else 0), (self.factor if k == 0 else 1.0) * dm * h + dc]
            for k, ((dm, dc), (h, c)) in enumerate(zip(dstates, self.states, strict=True))
        ]
        return dy * self.states[0][0], found


def cell_forward(x: Any, state: Any, W: Any) -> Any:
    h, c, cache = step(x, *state, W)
    return (h, (h, c)), cache


def cell_backward(dy: Any, dstate: Any, cache: Any, factor: float = 1.0) -> Any:
    dh, dc = dstate
    dx, dh, dc, dW = step_back(dy + dh, dc, cache, 3)
    return dx, (dh, factor * dc), dW


def wrong_cell_backward(dy: Any, dstate: Any, cache: Any) -> Any:
    return cell_backward(dy, dstate, cache, 2.0)


def run(factor: float) -> Any:
    """A closure."""

    def run(x: Any, state: Any, W: Any) -> Any:
        outputs, cache = cell_forward(x, state, W)
        return outputs, lambda dy, dstate: cell_backward(dy, dstate, cache, factor)

    return run


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return ctx.factor * dy, None


class Recurrent(torch.nn.Module):
    """torch's LSTM behind a custom Function."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(3, 2)

    def forward(self, x: Tensor, state: Any) -> Any:
        h, c = state
        return self.lstm(x, (h, Scaled.apply(c, self.factor)))
