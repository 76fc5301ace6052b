"""In the style of "from scratch" repositories and courses: dlcourse.ai's Param, ML-From-Scratch's activations and losses,
tinynn's losses, needle's and UW CSE 599's operations, Nielsen's lists."""

from __future__ import annotations

from typing import Any

import numpy as np


class Param:
    """dlcourse.ai: a value beside its gradient."""

    def __init__(self, value: Any) -> None:
        self.value, self.grad = value, np.zeros_like(value)


class FullyConnectedLayer:
    """dlcourse.ai: gradients add up, and `params()` shows a dict of Params."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.W, self.B, self.X = Param(rng.normal(size=(3, 2))), Param(rng.normal(size=(1, 2))), None

    def forward(self, X: Any) -> Any:
        self.X = X
        return X @ self.W.value + self.B.value

    def backward(self, d_out: Any) -> Any:
        self.W.grad += self.X.T @ d_out
        self.B.grad += d_out.sum(0, keepdims=True)
        return d_out @ self.W.value.T

    def params(self) -> Any:
        return {"W": self.W, "B": self.B}


class WrongFullyConnectedLayer(FullyConnectedLayer):
    def backward(self, d_out: Any) -> Any:
        self.W.grad += self.X.T @ d_out
        self.B.grad += d_out.mean(0, keepdims=True)
        return d_out @ self.W.value.T


class ELU:
    """ML-From-Scratch: a derivative at each entry."""

    def __call__(self, x: Any) -> Any:
        return np.where(x >= 0.0, x, 0.1 * (np.exp(x) - 1))

    def gradient(self, x: Any) -> Any:
        return np.where(x >= 0.0, 1, self.__call__(x) + 0.1)


class WrongELU(ELU):
    def gradient(self, x: Any) -> Any:
        return np.where(x >= 0.0, 1, self.__call__(x) + 1)


class CrossEntropy:
    """ML-From-Scratch: the target first, a loss at each entry."""

    def loss(self, y: Any, p: Any) -> Any:
        return -y * np.log(p) - (1 - y) * np.log(1 - p)

    def gradient(self, y: Any, p: Any) -> Any:
        return -(y / p) + (1 - y) / (1 - p)


class WrongCrossEntropy(CrossEntropy):
    def gradient(self, y: Any, p: Any) -> Any:
        return -(y / p) - (1 - y) / (1 - p)


class SoftmaxCrossEntropy:
    """tinynn: `loss` and `grad` of predictions and targets."""

    def loss(self, predicted: Any, actual: Any) -> Any:
        return -(np.log(self._softmax(predicted)) * actual).sum() / len(predicted)

    def grad(self, predicted: Any, actual: Any) -> Any:
        return (self._softmax(predicted) - actual) / len(predicted)

    @staticmethod
    def _softmax(x: Any) -> Any:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)


class WrongSoftmaxCrossEntropy(SoftmaxCrossEntropy):
    def grad(self, predicted: Any, actual: Any) -> Any:
        return self._softmax(predicted) - actual


class LogSumExp:
    """needle: `compute` of arrays, `gradient` of the node."""

    def compute(self, Z: Any) -> Any:
        top = Z.max(1, keepdims=True)
        return np.log(np.exp(Z - top).sum(1)) + top[:, 0]

    def gradient(self, out_grad: Any, node: Any) -> Any:
        (Z,) = node.inputs
        return out_grad[:, None] * np.exp(Z - self.compute(Z)[:, None])


class WrongLogSumExp(LogSumExp):
    def gradient(self, out_grad: Any, node: Any) -> Any:
        (Z,) = node.inputs
        return out_grad[:, None] * np.exp(Z)


class EWiseDiv:
    """UW CSE 599: a list of values, and the node before the cotangent."""

    def compute(self, input_vals: Any) -> Any:
        return input_vals[0] / input_vals[1]

    def gradient(self, node: Any, output_grad: Any) -> Any:
        a, b = node.inputs
        return [output_grad / b, -output_grad * a / b**2]


class WrongEWiseDiv(EWiseDiv):
    def gradient(self, node: Any, output_grad: Any) -> Any:
        a, b = node.inputs
        return [output_grad / b, -output_grad * a / b]


class Network:
    """Nielsen: lists of weights and biases, and of their nablas; examples stand in columns."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        self.weights = [rng.normal(size=s) for s in ((5, 3), (2, 5))]
        self.biases = [rng.normal(size=(n, 1)) for n in (5, 2)]

    def feedforward(self, a: Any) -> Any:
        self.activations = [a]
        for b, w in zip(self.biases, self.weights, strict=True):
            self.activations.append(1 / (1 + np.exp(-(w @ self.activations[-1] + b))))
        return self.activations[-1]

    def backprop(self, delta: Any) -> Any:
        self.nabla_w, self.nabla_b = [0, 0], [0, 0]
        for k in (1, 0):
            a = self.activations[k + 1]
            delta = delta * a * (1 - a)
            self.nabla_w[k], self.nabla_b[k] = delta @ self.activations[k].T, delta.sum(1, keepdims=True)
            delta = self.weights[k].T @ delta
        return delta


class WrongNetwork(Network):
    def backprop(self, delta: Any) -> Any:
        delta = super().backprop(delta)
        self.nabla_b[0] = self.nabla_b[0] / 4
        return delta


class Adjoint:
    """Adjoint notation, in the dicts p and g."""

    def __init__(self) -> None:
        self.p, self.g = {"W": np.random.default_rng(5).normal(size=(3, 2))}, {}

    def forward(self, inputs: Any) -> Any:
        self.x = inputs["x"]
        return {"y": np.tanh(self.x @ self.p["W"]), "penalty": (self.p["W"] ** 2).sum()}

    def backward(self, bar: Any) -> Any:
        z_bar = bar["y"] * (1 - np.tanh(self.x @ self.p["W"]) ** 2)
        self.g["W"] = self.x.T @ z_bar + 2 * bar["penalty"] * self.p["W"]
        return {"x": z_bar @ self.p["W"].T}


class WrongAdjoint(Adjoint):
    def backward(self, bar: Any) -> Any:
        return super().backward({**bar, "penalty": 0.0})
