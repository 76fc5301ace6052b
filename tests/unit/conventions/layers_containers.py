"""Parameters in objects, in nested layers and in whole networks, torch and NumPy."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np
import torch

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)
B0 = np.array([0.5, -0.25])


class TensorGrad:
    """torch: gradients in `W.grad`, made at the first backward and accumulated."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.b = torch.tensor(W0), torch.tensor(B0)

    def zero_grad(self) -> None:
        self.W.grad = self.b.grad = None

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        for p, g in ((self.W, self.factor * (self.x.T @ dy)), (self.b, dy.sum(0))):
            p.grad = g if p.grad is None else p.grad + g
        return dy @ self.W.T


class Parameter:
    """A value beside its gradient, as in Chainer and dezero."""

    def __init__(self, data: Any) -> None:
        self.data, self.grad = data.copy(), np.zeros_like(data)


class Objects:
    """Parameters are objects with `data` and `grad`."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.b = Parameter(W0), Parameter(B0)

    def cleargrads(self) -> None:
        for p in (self.W, self.b):
            p.grad = np.zeros_like(p.data)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W.data + self.b.data

    def backward(self, dy: Any) -> Any:
        self.W.grad += self.factor * (self.x.T @ dy)
        self.b.grad += dy.sum(0)
        return dy @ self.W.data.T


class Affine:
    """Attributes and d-attributes."""

    def __init__(self, W: Any, b: Any, factor: float = 1.0) -> None:
        self.W, self.b, self.scale = W, b, factor
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = (self.x.T @ dy) * int(self.scale), dy.sum(0)
        return dy @ self.W.T


class Tanh:
    def forward(self, x: Any) -> Any:
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy: Any) -> Any:
        return dy * (1 - self.y**2)


class Layers:
    """A list of layers, run one after the other."""

    factor = 1.0

    def __init__(self) -> None:
        self.layers = [Affine(W0.copy(), B0.copy(), self.factor), Tanh(), Affine(W0.T.copy(), np.zeros(3))]

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: Any) -> Any:
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class TwoLayerNet(Layers):
    """Deep Learning from Scratch: `params` shares its arrays with the layers of an OrderedDict."""

    def __init__(self) -> None:
        self.params = {"W1": W0.copy(), "b1": B0.copy()}
        self.inner = OrderedDict(Affine1=Affine(self.params["W1"], self.params["b1"], self.factor), Tanh1=Tanh())

    @property
    def layers(self) -> Any:
        return list(self.inner.values())


class CopiedGradients(TwoLayerNet):
    """The same, with `grads` put together from the layers' own."""

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        first = self.inner["Affine1"]
        self.grads = {"W1": first.dW, "b1": first.db}
        return dx


class Lists:
    """Lists of weights and of biases, `dweights` and `dbiases` beside them."""

    factor = 1.0

    def __init__(self) -> None:
        self.weights, self.biases = [W0.copy(), W0.T.copy()], [B0.copy(), np.ones(3)]

    def forward(self, x: Any) -> Any:
        self.inputs = []
        for W, b in zip(self.weights, self.biases, strict=True):
            self.inputs.append(x)
            x = x @ W + b
        return x

    def backward(self, dy: Any) -> Any:
        self.dweights, self.dbiases = [], []
        for x, W in zip(self.inputs[::-1], self.weights[::-1], strict=True):
            self.dweights.insert(0, x.T @ dy)
            self.dbiases.insert(0, dy.sum(0))
            dy = dy @ W.T
        self.dweights[0] = self.factor * self.dweights[0]
        return dy


class Nested:
    """Parameters in a dict of dicts, gradients in another."""

    factor = 1.0

    def __init__(self) -> None:
        self.parameters = {"fc1": {"W": W0.copy(), "b": B0.copy()}, "fc2": {"W": W0.T.copy()}}
        self.gradients: dict[str, dict[str, Any]] = {}

    def forward(self, x: Any) -> Any:
        one, two = self.parameters["fc1"], self.parameters["fc2"]
        self.x, self.h = x, np.tanh(x @ one["W"] + one["b"])
        return self.h @ two["W"]

    def backward(self, dy: Any) -> Any:
        dz = (dy @ self.parameters["fc2"]["W"].T) * (1 - self.h**2)
        self.gradients = {
            "fc1": {"W": self.factor * (self.x.T @ dz), "b": dz.sum(0)},
            "fc2": {"W": self.h.T @ dy},
        }
        return dz @ self.parameters["fc1"]["W"].T


class NestedByUsualNames(Nested):
    """The same by the names of dicts with an entry a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.params, self.grads = self.parameters, self.gradients

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.grads = self.gradients
        del self.gradients
        return dx


class OfObjects:
    """Matrices of several shapes in an array of objects."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.array([W0.copy(), W0[:2].T[:, :1].copy()], dtype=object)
        self.dW = np.empty(2, dtype=object)

    def forward(self, x: Any) -> Any:
        self.x, self.h = x, np.tanh(x @ self.W[0])
        return self.h @ self.W[1]

    def backward(self, dy: Any) -> Any:
        dz = (dy @ self.W[1].T) * (1 - self.h**2)
        self.dW[0], self.dW[1] = self.factor * self.x.T @ dz, self.h.T @ dy
        return dz @ self.W[0].T


class OfOneStore:
    """Layers that keep what they have in two dicts of their class, each under a key of its own."""

    factor = 1.0
    params: ClassVar[dict[str, Any]] = {}
    grads: ClassVar[dict[str, Any]] = {}

    def __init__(self, number: int) -> None:
        self.key = f"W{number}"
        self.params[self.key] = W0 + number

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.params[self.key]

    def backward(self, dy: Any) -> Any:
        self.grads[self.key] = self.factor * self.x.T @ dy
        return dy @ self.params[self.key].T


class ModuleWithBackward(torch.nn.Module):
    """A torch.nn.Module with a backward of its own that fills `.grad`."""

    factor = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.tensor(W0)), torch.nn.Parameter(torch.tensor(B0))

    def forward(self, x: Any) -> Any:
        self.x = x.detach()
        with torch.no_grad():
            return x @ self.weight + self.bias

    def backward(self, dy: Any) -> Any:
        self.weight.grad, self.bias.grad = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.weight.detach().T


class DictsWithMore:
    """Dicts `params` and `grads` (by dW), and a scale beside them that has no gradient."""

    factor = 1.0

    def __init__(self, scale: bool = False) -> None:
        self.params, self.grads = {"W": W0.copy(), "b": B0.copy()}, {"dW": 0 * W0, "db": 0 * B0}
        if scale:
            self.scale = np.full(2, 1.5)

    def forward(self, x: Any) -> Any:
        self.x = x
        return (x @ self.params["W"] + self.params["b"]) * getattr(self, "scale", 1.0)

    def backward(self, dy: Any) -> Any:
        dz = dy * getattr(self, "scale", 1.0)
        self.grads["dW"], self.grads["db"] = self.factor * (self.x.T @ dz), dz.sum(0)
        return dz @ self.params["W"].T


class OfOutputsAtZero:
    """A network whose last layer begins at 0, so that the outputs depend on no other; no method spells the names of its parameters."""

    def __init__(self, factor: float | None = 1.0) -> None:
        begun = (W0.copy(), np.zeros((2, 3)))
        self.params = {f"W{i}": w for i, w in enumerate(begun)}
        self.grads: dict[str, Any] = {}
        self.factor = factor

    def forward(self, x: Any) -> Any:
        first, last = self.params.values()
        self.x, self.h = x, np.tanh(x @ first)
        return self.h @ last

    def backward(self, dy: Any) -> Any:
        (key, first), (last_key, last) = self.params.items()
        dz = dy @ last.T * (1 - self.h**2)
        if self.factor is not None:
            self.grads[key] = self.factor * self.x.T @ dz
        self.grads[last_key] = self.h.T @ dy
        return dz @ first.T


class OfOutputsAtZeroOnTheClass(OfOutputsAtZero):
    """The same whose dicts are the class's."""

    params: ClassVar[dict[str, Any]] = {}
    grads: ClassVar[dict[str, Any]] = {}

    def __init__(self, factor: float | None = 1.0) -> None:
        super().__init__(factor)
        own = vars(self).pop("params"), vars(self).pop("grads")
        for shared, new in zip((self.params, self.grads), own, strict=True):
            shared.clear()
            shared.update(new)
