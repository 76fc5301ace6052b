"""Classes whose parameters, or their gradients, stand outside their objects: in globals, closures, and in the class itself."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

W = np.linspace(-1.0, 1.5, 6).reshape(3, 2)
dW = None  # noqa: N816
single = W.astype(np.float32)
params: dict[str, Any] = {"W": W.copy(), "b": np.zeros(2)}
grads: dict[str, Any] = {}
leaf = torch.tensor(W, requires_grad=True)
kernel = torch.tensor(W)
table = torch.tensor(W)
calls = 0


class Attribute:
    factor = 1.0

    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return x @ W

    def backward(self, g: ndarray) -> ndarray:
        self.dW = self.factor * self.x.T @ g
        return g @ W.T


class Single(Attribute):
    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return x @ single

    def backward(self, g: ndarray) -> ndarray:
        self.dsingle = self.factor * self.x.T @ g
        return g @ single.T


class Stored(Attribute):
    def backward(self, g: ndarray) -> ndarray:
        global dW, calls  # noqa: PLW0603
        dW = self.factor * self.x.T @ g
        calls += 1
        return g @ W.T


def product(x: ndarray) -> ndarray:
    return x @ W


class Helper(Attribute):
    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return product(x)


class Returned(Attribute):
    def backward(self, g: ndarray) -> Any:
        return g @ W.T, self.factor * self.x.T @ g


class Dicts:
    factor = 1.0

    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return x @ params["W"] + params["b"]

    def backward(self, g: ndarray) -> ndarray:
        grads["W"], grads["b"] = self.factor * self.x.T @ g, g.sum(0)
        return g @ params["W"].T


class Grad:
    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ leaf

    def backward(self, g: Tensor) -> Tensor:
        leaf.grad = self.factor * self.x.T @ g
        return g @ leaf.T


def enclosed(factor: float = 1.0) -> Any:
    own, gradient = W.copy(), None

    class Enclosed:
        def forward(self, x: ndarray) -> ndarray:
            self.x = x
            return x @ own

        def backward(self, g: ndarray) -> ndarray:
            nonlocal gradient
            self.down = gradient = factor * self.x.T @ g
            return g @ own.T

    return Enclosed()


class OfClass:
    factor = 1.0
    W = np.linspace(-1.0, 1.5, 6).reshape(3, 2)

    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return x @ OfClass.W

    def backward(self, g: ndarray) -> ndarray:
        self.dW = self.factor * self.x.T @ g
        return g @ OfClass.W.T


class DictsOfClass:
    factor = 1.0
    params: ClassVar[dict[str, Any]] = {"W": W.copy()}
    grads: ClassVar[dict[str, Any]] = {}

    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return x @ self.params["W"]

    def backward(self, g: ndarray) -> ndarray:
        self.grads["W"] = self.factor * self.x.T @ g
        return g @ self.params["W"].T


class Constant:
    """What nobody says is a parameter."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ kernel

    def backward(self, g: Tensor) -> Tensor:
        return g @ kernel.T


class Silent(Grad):
    """What says that it wants a gradient gets none."""

    def backward(self, g: Tensor) -> Tensor:
        return g @ leaf.T


class Elsewhere:
    """A gradient of its shape has another name."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ table

    def backward(self, g: Tensor) -> Tensor:
        self.dW = self.x.T @ g
        return g @ table.T


class Overridden(Constant):
    """What the forward above it computes with is no owner of `dW`."""

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ table

    def backward(self, g: Tensor) -> Tensor:
        self.dW = self.x.T @ g
        return g @ table.T


class Beside(Attribute):
    """A name of its own is that of a global too."""

    def __init__(self) -> None:
        self.kernel = np.ones(2)

    def forward(self, x: ndarray) -> ndarray:
        self.x = x
        return (x @ W) * self.kernel

    def backward(self, g: ndarray) -> ndarray:
        self.dW = self.factor * self.x.T @ (g * self.kernel)
        self.dkernel = (g * (self.x @ W)).sum(0)
        return (g * self.kernel) @ W.T


rng = np.random.default_rng(0)


class Draws:
    """It draws from its module's generator, and from one of its own."""

    factor = 1.0

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def forward(self, x: ndarray) -> ndarray:
        self.mask = (rng.random(x.shape) < 0.5) * self.rng.random(x.shape)
        return x * self.mask

    def backward(self, g: ndarray) -> ndarray:
        return self.factor * g * self.mask


two = torch.full((), 2.0)
ones = torch.ones(3)


class Tanh:
    """Its backward is right where the constants of its forward are what they are."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        t = (2 * x * ones).expm1()
        self.a = t / (t + two)
        return self.a

    def backward(self, g: Tensor) -> Tensor:
        return self.factor * g * (1 - self.a * self.a)
