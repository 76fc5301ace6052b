"""y = tanh(a) b as an operation of the graphs that courses and libraries write."""

from __future__ import annotations

from typing import Any

import numpy as np


class Needle:
    """CMU 10-414."""

    factor = 1.0

    def compute(self, a: Any, b: Any) -> Any:
        return np.tanh(a) * b

    def gradient(self, out_grad: Any, node: Any) -> Any:
        a, b = node.inputs
        return out_grad * b * (1 - np.tanh(a) ** 2), self.factor * out_grad * np.tanh(a)


class Dlsys(Needle):
    """UW CSE 599: a list of values, and the node first."""

    def compute(self, input_vals: Any) -> Any:  # type: ignore[override]
        return super().compute(*input_vals)

    def gradient(self, node: Any, output_grad: Any) -> Any:  # type: ignore[override]
        return list(super().gradient(output_grad, node))


class Minitorch:
    """Static, with a context."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(np.tanh(a), b)
        return np.tanh(a) * b

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        t, b = ctx.saved_values
        return grad_output * b * (1 - t**2), grad_output * t


class WrongMinitorch(Minitorch):
    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        da, db = Minitorch.backward(ctx, grad_output)
        return da, 2 * db


class Attributes(Minitorch):
    """The context takes attributes too."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.t, ctx.b = np.tanh(a), b
        return ctx.t * b

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        return grad_output * ctx.b * (1 - ctx.t**2), grad_output * ctx.t


class WrongAttributes(Attributes):
    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        da, db = Attributes.backward(ctx, grad_output)
        return da, 2 * db


class Entries(Minitorch):
    """The context is a dict."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx["t"], ctx["b"] = np.tanh(a), b
        return ctx["t"] * b

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        return grad_output * ctx["b"] * (1 - ctx["t"] ** 2), grad_output * ctx["t"]


class WrongEntries(Entries):
    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        da, db = Entries.backward(ctx, grad_output)
        return da, 2 * db


class Chainer:
    """FunctionNode."""

    factor = 1.0

    def forward(self, inputs: Any) -> Any:
        self.retained = inputs
        a, b = inputs
        return (np.tanh(a) * b,)

    def backward(self, indexes: Any, grad_outputs: Any) -> Any:
        a, b = self.retained
        (gy,) = grad_outputs
        found = gy * b * (1 - np.tanh(a) ** 2), self.factor * gy * np.tanh(a)
        return tuple(found[k] for k in indexes)


class ChainerFunction(Chainer):
    """The older Function, which is given its inputs again."""

    def backward(self, inputs: Any, grad_outputs: Any) -> Any:
        self.retained = inputs
        return super().backward((0, 1), grad_outputs)


class ChainerUnary:
    """Of one input."""

    factor = 1.0

    def forward(self, inputs: Any) -> Any:
        (x,) = inputs
        return (np.tanh(x),)

    def backward(self, inputs: Any, grad_outputs: Any) -> Any:
        (x,), (gy,) = inputs, grad_outputs
        return (self.factor * gy * (1 - np.tanh(x) ** 2),)


class Layer:
    """An ordinary layer that calls its arrays so."""

    factor = 1.0

    def forward(self, inputs: Any) -> Any:
        return np.tanh(inputs)

    def backward(self, inputs: Any, grad_outputs: Any) -> Any:
        return self.factor * grad_outputs * (1 - np.tanh(inputs) ** 2)


class MyGrad:
    """One call an input."""

    factor = 1.0

    def __call__(self, a: Any, b: Any) -> Any:
        self.variables = (a, b)
        return np.tanh(a) * b

    def backward_var(self, grad: Any, index: int, **kwargs: Any) -> Any:
        a, b = self.variables
        return grad * b * (1 - np.tanh(a) ** 2) if index == 0 else self.factor * grad * np.tanh(a)


class Parametrized(Needle):
    """With an array of its own, whose gradient is kept."""

    def __init__(self) -> None:
        self.scale = np.array([1.0, 2.0, 0.5])

    def compute(self, a: Any, b: Any) -> Any:
        return self.scale * super().compute(a, b)

    def gradient(self, out_grad: Any, node: Any) -> Any:
        self.dscale = (out_grad * super().compute(*node.inputs)).sum(0)
        return super().gradient(self.scale * out_grad, node)
