"""Layers that are built at the first forward, in float32 as torch's defaults are; modules with tensors that are not registered."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from layers_autograd import affine_of
from torch import Tensor


class LazyTorch:
    """Weights of torch's default dtype, made when the inputs' size is known."""

    factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "W"):
            self.W = torch.linspace(-1, 1, 2 * x.shape[1], dtype=torch.float32).reshape(-1, 2)
        self.x = x
        return x @ self.W

    def backward(self, dy: Tensor) -> Tensor:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


class LazyNumpy:
    """The same in NumPy, which computes in float64 with them."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        if not hasattr(self, "W"):
            self.W = np.linspace(-1, 1, 2 * x.shape[1], dtype=np.float32).reshape(-1, 2)
        self.x = x
        return x @ self.W

    def backward(self, dy: Any) -> Any:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


class Single:
    """A kernel that takes float32 alone, and was there before."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = torch.linspace(-1, 1, 6, dtype=torch.float32).reshape(-1, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            raise TypeError("float32 alone: dtype")
        self.x = x
        return x @ self.W

    def backward(self, dy: Tensor) -> Tensor:
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


class LazyModule(torch.nn.Module):
    """Parameters that wait for the first forward in torch's own way."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.first, self.norm, self.function = torch.nn.LazyLinear(3), torch.nn.LazyBatchNorm1d(), affine_of(factor)
        self.W = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(self.norm(self.first(x)), self.W, torch.zeros(2, dtype=x.dtype))


class MadeModule(torch.nn.Module):
    """A parameter that is not there before."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.function = affine_of(factor)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "W"):
            self.W = torch.nn.Parameter(torch.linspace(-1, 1, 6).reshape(3, 2))
        return self.function.apply(x, self.W, torch.zeros(2, dtype=x.dtype))


class Unregistered(torch.nn.Module):
    """A weight that its author forgot to make a parameter."""

    def __init__(self, factor: float, requires_grad: bool = True) -> None:
        super().__init__()
        self.function = affine_of(factor)
        self.held = {"W": torch.linspace(-1, 1, 6).reshape(3, 2).requires_grad_(requires_grad)}
        self.unused, self.last = torch.ones(3), torch.zeros(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return self.function.apply(self.last, self.held["W"], torch.zeros(2, dtype=x.dtype))


class Keras:
    """Its caller has `build` make the parameters, of the shape of the inputs."""

    factor = 1.0

    def __init__(self, units: int = 2) -> None:
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.W = np.linspace(-1.0, 1.0, input_shape[-1] * self.units).reshape(input_shape[-1], self.units)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W

    def backward(self, g: Any) -> Any:
        self.dW = self.factor * self.x.T @ g
        return g @ self.W.T


class KerasWithoutBatch(Keras):
    def build(self, input_shape: Any) -> None:
        (n,) = input_shape
        super().build((n,))
