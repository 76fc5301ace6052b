"""In the style of dezero: Variables that remember which Function made them, with a small framework of our own."""

from __future__ import annotations

from typing import Any

import numpy as np


class Variable:
    """An array that knows where it comes from."""

    def __init__(self, data: Any) -> None:
        self.data, self.grad, self.creator = data, None, None

    def cleargrad(self) -> None:
        self.grad = None

    def backward(self) -> None:
        if self.grad is None:
            self.grad = np.ones_like(self.data)
        funcs = [self.creator]
        while funcs:
            f = funcs.pop()
            gxs = f.backward(f.output.grad)
            for x, gx in zip(f.inputs, gxs if isinstance(gxs, tuple) else (gxs,), strict=True):
                x.grad = gx if x.grad is None else x.grad + gx
                if x.creator is not None:
                    funcs.append(x.creator)


class Parameter(Variable):
    """One that is trained."""


def as_variable(x: Any) -> Variable:
    return x if isinstance(x, Variable) else Variable(x)


class Function:
    """`f(x)` takes and gives Variables; `forward` and `backward` arrays."""

    def __call__(self, *inputs: Any) -> Variable:
        self.inputs = [as_variable(x) for x in inputs]
        y = self.forward(*[x.data for x in self.inputs])
        self.output = Variable(np.asarray(y))
        self.output.creator = self
        return self.output

    def forward(self, *xs: Any) -> Any:
        raise NotImplementedError

    def backward(self, gy: Any) -> Any:
        raise NotImplementedError


class Exp(Function):
    def forward(self, x: Any) -> Any:
        return np.exp(x)

    def backward(self, gy: Any) -> Any:
        return np.exp(self.inputs[0].data) * gy


class WrongExp(Exp):
    def backward(self, gy: Any) -> Any:
        return self.inputs[0].data * gy


class Mul(Function):
    def forward(self, x0: Any, x1: Any) -> Any:
        return x0 * x1

    def backward(self, gy: Any) -> Any:
        return gy * self.inputs[1].data, gy * self.inputs[0].data


class WrongMul(Mul):
    def backward(self, gy: Any) -> Any:
        return gy * self.inputs[1].data, gy * self.inputs[1].data


class Linear(Function):
    def forward(self, x: Any, W: Any, b: Any) -> Any:
        return x.dot(W) + b

    def backward(self, gy: Any) -> Any:
        x, W, _ = (v.data for v in self.inputs)
        return gy.dot(W.T), x.T.dot(gy), gy.sum(0)


class WrongLinear(Linear):
    def backward(self, gy: Any) -> Any:
        gx, gW, gb = super().backward(gy)
        return gx, 2 * gW, gb


class MeanSquaredError(Function):
    def forward(self, x0: Any, x1: Any) -> Any:
        return ((x0 - x1) ** 2).sum() / len(x0)

    def backward(self, gy: Any) -> Any:
        diff = self.inputs[0].data - self.inputs[1].data
        gx0 = gy * diff * (2.0 / len(diff))
        return gx0, -gx0


class Model:
    """One hidden layer; Parameters are attributes."""

    def __init__(self, linear: type = Linear) -> None:
        rng = np.random.default_rng(0)
        self.W, self.b, self.linear = Parameter(rng.normal(size=(3, 2))), Parameter(np.zeros(2)), linear

    def params(self) -> list[Parameter]:
        return [self.W, self.b]

    def __call__(self, x: Any) -> Variable:
        return Exp()(self.linear()(x, self.W, self.b))


def run(function: type) -> Any:
    """A function of Variables as a closure: what a user of dezero writes."""

    def call(*xs: Any) -> Any:
        variables = [Variable(x) for x in xs]
        y = function()(*variables)

        def back(gy: Any) -> Any:
            for x in variables:
                x.cleargrad()
            y.grad = gy
            y.backward()
            return tuple(x.grad for x in variables)

        return y.data, back

    return call


def loss_of(model: Model) -> Any:
    """(loss, gradients of the parameters), for `value_and_grad`."""

    def loss(x: Any, t: Any) -> Any:
        for p in model.params():
            p.cleargrad()
        y = MeanSquaredError()(model(x), t)
        y.backward()
        return y.data, [p.grad for p in model.params()]

    return loss
