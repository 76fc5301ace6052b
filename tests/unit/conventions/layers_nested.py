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


class Dicts:
    """A dict in, a dict out, and the same the way back."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.linspace(-1, 1, 6).reshape(3, 2)

    def forward(self, batch: Any) -> Any:
        self.x, self.y = batch["x"], batch["y"]
        return {"out": self.x @ self.W + self.y, "square": self.y**2}

    def backward(self, grads: Any) -> Any:
        self.dW = self.x.T @ grads["out"]
        dy = grads["out"] + 2 * self.y * grads["square"]
        return {"y": self.factor * dy, "x": grads["out"] @ self.W.T}  # in another order


class DictsNamed(Dicts):
    """Gradients called `dx` and `dy`, cotangents one by one."""

    def backward(self, dout: Any, dsquare: Any) -> Any:  # type: ignore[override]
        found = super().backward({"out": dout, "square": dsquare})
        return {f"d{name}": g for name, g in found.items()}


class DictBeside(Dicts):
    """A dict beside another input, and its gradients as a dict beside the other's."""

    def forward(self, x: Any, more: Any) -> Any:  # type: ignore[override]
        return super().forward({"x": x, "y": more["y"]})["out"] + more["z"]

    def backward(self, dout: Any) -> Any:
        found = super().backward({"out": dout, "square": 0 * dout})
        return found["x"], {"z": dout, "y": found["y"]}


class DictWithin(DictBeside):
    """The same by name."""

    def backward(self, dout: Any) -> Any:
        dx, more = super().backward(dout)
        return {"dx": dx, "dmore": {f"d{name}": g for name, g in more.items()}}


def dense_forward(X: Any, parameters: Any) -> Any:
    """deeplearning.ai: parameters in a dict, their gradients in another."""
    Z = parameters["W1"] @ X + parameters["b1"]
    return np.tanh(Z), (X, parameters["W1"], np.tanh(Z))


def dense_backward(dA: Any, cache: Any) -> Any:
    X, W, A = cache
    dZ = dA * (1 - A**2)
    return {"db1": dZ.sum(1, keepdims=True), "dW1": dZ @ X.T, "dX": W.T @ dZ}


def wrong_dense_backward(dA: Any, cache: Any) -> Any:
    found = dense_backward(dA, cache)
    return found | {"dW1": 2 * found["dW1"]}
