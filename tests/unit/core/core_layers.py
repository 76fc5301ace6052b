"""The layers that the tests of the core use: right ones, each with a wrong twin beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Identity:
    """y = x."""

    def forward(self, x: Any) -> Any:
        return x * 1.0

    def backward(self, dy: Any) -> Any:
        return dy * 1.0


class Elementwise:
    """y = f(x), with the derivative given."""

    def __init__(self, f: Any, derivative: Any) -> None:
        self.f, self.derivative = f, derivative

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.f(x)

    def backward(self, dy: Tensor) -> Tensor:
        return dy * self.derivative(self.x)


class Affine:
    """x w + b, right for any number of rows, every array its own; what is wrong derives from it."""

    def __init__(self, D: int = 3) -> None:
        self.w, self.b = torch.ones(D).double(), torch.zeros(D).double()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x * self.w + self.b

    def backward(self, dy: Tensor) -> Tensor:
        self.dw, self.db = (dy * self.x).sum(0), dy.sum(0)
        return dy * self.w


class DictLinear:
    """y = x W + b; gradients in a dict, accumulated."""

    factor = 1.0

    def __init__(self, D_in: int, D_out: int) -> None:
        generator = torch.Generator().manual_seed(0)
        W = torch.randn(D_in, D_out, generator=generator, dtype=torch.float64)
        self.params = {"W": W, "b": torch.zeros(D_out, dtype=torch.float64)}
        self.grads = {n: torch.zeros_like(p) for n, p in self.params.items()}

    def zero_grad(self) -> None:
        for g in self.grads.values():
            g.zero_()

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy: Tensor) -> Tensor:
        self.grads["W"] += self.factor * self.x.T @ dy
        self.grads["b"] += dy.sum(0)
        return dy @ self.params["W"].T


class WrongDictLinear(DictLinear):
    """∂L/∂W is twice what it should be."""

    factor = 2.0


class AttributeLinear:
    """y = x W + b; gradients are `dW`, `db`."""

    factor = 1.0

    def __init__(self, D_in: int = 3, D_out: int = 2) -> None:
        self.W = torch.linspace(-1.0, 1.0, D_in * D_out, dtype=torch.float64).reshape(D_in, D_out)
        self.b = torch.zeros(D_out, dtype=torch.float64)
        self.cache: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.cache = x
        return x @ self.W + self.b

    def backward(self, dy: Tensor) -> Tensor:
        self.dW = self.factor * self.cache.T @ dy
        self.db = dy.sum(0)
        return dy @ self.W.T


class WrongAttributeLinear(AttributeLinear):
    """∂L/∂W is twice what it should be."""

    factor = 2.0


class NumpyLinear:
    """The same in NumPy."""

    factor = 1.0

    def __init__(self, D_in: int = 3, D_out: int = 2) -> None:
        self.W = np.linspace(-1.0, 1.0, D_in * D_out).reshape(D_in, D_out)
        self.b = np.zeros(D_out)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return np.matmul(x, self.W) + self.b

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.dW = self.factor * self.x.T @ dy
        self.db = dy.sum(axis=0)
        return dy @ self.W.T


class WrongNumpyLinear(NumpyLinear):
    """∂L/∂W is twice what it should be."""

    factor = 2.0


class NumpyDictLinear:
    """The dict convention in NumPy."""

    factor = 1.0

    def __init__(self, D_in: int = 3, D_out: int = 2) -> None:
        self.params = {"W": np.linspace(-1.0, 1.0, D_in * D_out).reshape(D_in, D_out), "b": np.zeros(D_out)}
        self.grads: dict[str, np.ndarray] = {n: np.zeros_like(p) for n, p in self.params.items()}

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return np.matmul(x, self.params["W"]) + self.params["b"]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.grads["W"] = self.factor * self.x.T @ dy
        self.grads["b"] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class WrongNumpyDictLinear(NumpyDictLinear):
    """∂L/∂W is twice what it should be."""

    factor = 2.0


def affine_forward(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Any]:
    return x @ w + b, (x, w)


def affine_backward(dout: Tensor, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)


def wrong_affine_backward(dout: Tensor, cache: Any) -> tuple[Tensor, Tensor, Tensor]:
    x, w = cache
    return dout @ w.T, 2 * x.T @ dout, dout.sum(0)


def numpy_affine_forward(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Any]:
    return np.matmul(x, w) + b, (x, w)


def closure(x: Tensor, w: Tensor) -> tuple[Tensor, Any]:
    return torch.tanh(x @ w), lambda dy: _tanh_gradients(x, w, dy, 1.0)


def wrong_closure(x: Tensor, w: Tensor) -> tuple[Tensor, Any]:
    return torch.tanh(x @ w), lambda dy: _tanh_gradients(x, w, dy, 2.0)


def _tanh_gradients(x: Any, w: Any, dy: Any, factor: float) -> tuple[Any, Any]:
    inner = dy * (1 - (torch.tanh(x @ w) if isinstance(x, Tensor) else np.tanh(x @ w)) ** 2)
    return inner @ w.T, factor * x.T @ inner


def numpy_closure(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, Any]:
    return np.tanh(x @ w), lambda dy: _numpy_tanh_gradients(x, w, dy, 1.0)


def wrong_numpy_closure(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, Any]:
    return np.tanh(x @ w), lambda dy: _numpy_tanh_gradients(x, w, dy, 2.0)


def _numpy_tanh_gradients(x: Any, w: Any, dy: Any, factor: float) -> tuple[Any, Any]:
    inner = dy * (1 - np.tanh(x @ w) ** 2)
    return inner @ w.T, factor * x.T @ inner


class Cubic(torch.autograd.Function):
    """y = x³ w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x**3 * w

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return dy * 3 * x**2 * w, dy * x**3


class WrongCubic(torch.autograd.Function):
    """Its gradient of w lacks a factor x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x**3 * w

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return dy * 3 * x**2 * w, dy * x**2


class CubicModule(torch.nn.Module):
    """A module around a Function."""

    function: Any = Cubic

    def __init__(self, D: int = 2) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(D, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(D, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(x, self.weight.expand_as(x)) + self.shift


class WrongCubicModule(CubicModule):
    """A module around the wrong Function."""

    function = WrongCubic


def call_cubic(x: Tensor, w: Tensor) -> Tensor:
    return Cubic.apply(x, w)


def call_wrong_cubic(x: Tensor, w: Tensor) -> Tensor:
    return WrongCubic.apply(x, w)


@torch.library.custom_op("core_layers::wrong_square", mutates_args=())
def wrong_square(x: Tensor, w: Tensor) -> Tensor:
    return x * x * w


wrong_square.register_autograd(
    lambda ctx, dout: (dout * ctx.x * ctx.w, dout * ctx.x * ctx.x),
    setup_context=lambda ctx, inputs, output: (setattr(ctx, "x", inputs[0]), setattr(ctx, "w", inputs[1])),
)


class LayerNorm:
    """y = γ x̂ + β over the last axis."""

    drops_gamma = False

    def __init__(self, D: int = 4) -> None:
        self.gamma = torch.ones(D, dtype=torch.float64)
        self.beta = torch.zeros(D, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        c = x - x.mean(-1, keepdim=True)
        self.invstd = 1 / (c.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        self.xhat = c * self.invstd
        return self.gamma * self.xhat + self.beta

    def backward(self, dy: Tensor) -> Tensor:
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        d = dy if self.drops_gamma else dy * self.gamma
        return self.invstd * self.centred(d)

    def centred(self, d: Tensor) -> Tensor:
        return d - d.mean(-1, keepdim=True) - self.xhat * (d * self.xhat).mean(-1, keepdim=True)


class LayerNormWithoutGamma(LayerNorm):
    """Its input gradient lacks γ, which no one sees at γ = 1."""

    drops_gamma = True


class Softmax:
    """Rows of probabilities, and the loss −mean log p of integer labels: backward takes no argument."""

    factor = 1.0

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        p = torch.exp(z - z.amax(-1, keepdim=True))
        self.p, self.y = p / p.sum(-1, keepdim=True), y
        return -torch.log(self.p[torch.arange(len(y)), y]).mean()

    def backward(self) -> Tensor:
        d = self.p.clone()
        d[torch.arange(len(self.y)), self.y] -= 1
        return self.factor * d / len(self.y)


class SoftmaxWithoutMean(Softmax):
    """Its gradient is doubled."""

    factor = 2.0


class RunningMean:
    """Centres by the batch in training, by a running mean in evaluation."""

    def __init__(self, D: int = 3) -> None:
        self.training = True
        self.running_mean = torch.zeros(D, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.detach().mean(0)
            return x - x.mean(0)
        return x - self.running_mean

    def backward(self, dy: Tensor) -> Tensor:
        return dy - dy.mean(0) if self.training else dy * 1.0


class Noise:
    """A dropout with a generator of its own."""

    def __init__(self, p: float = 0.5, seed: int = 0) -> None:
        self.p, self.training = p, True
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.m = torch.ones_like(x)
            return x * 1.0
        self.m = (torch.rand(x.shape, generator=self.generator, dtype=x.dtype) >= self.p).to(x) / (1 - self.p)
        return self.m * x

    def backward(self, dy: Tensor) -> Tensor:
        return self.m * dy


class WrongNoise(Noise):
    """Its gradient is doubled."""

    def backward(self, dy: Tensor) -> Tensor:
        return 2 * self.m * dy


class WrongInEval(RunningMean):
    """Its gradient is doubled in evaluation."""

    def backward(self, dy: Tensor) -> Tensor:
        return dy - dy.mean(0) if self.training else dy * 2.0


class WrongPower:
    """y = scale · x^power; its gradient lacks the scale."""

    def forward(self, x: Tensor, power: int = 2, scale: float = 1.0) -> Tensor:
        self.x, self.power = x, power
        return scale * x**power

    def backward(self, dy: Tensor) -> Tensor:
        return dy * self.power * self.x ** (self.power - 1)


class WrongNamed(Identity):
    """Its gradients come by name; one is doubled."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.x, self.y = x, y
        return x * y

    def backward(self, dy: Tensor) -> dict[str, Tensor]:
        return {"dy": 2 * dy * self.x, "dx": dy * self.y}


class WrongComposed:
    """A composition whose `params` and `grads` are put together anew each time."""

    def __init__(self) -> None:
        self.inner = WrongDictLinear(3, 2)

    @property
    def params(self) -> dict[str, Tensor]:
        return {f"0.{n}": p for n, p in self.inner.params.items()}

    @property
    def grads(self) -> dict[str, Tensor]:
        return {f"0.{n}": p for n, p in self.inner.grads.items()}

    def zero_grad(self) -> None:
        self.inner.zero_grad()

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inner.forward(x))

    def backward(self, dy: Tensor) -> Tensor:
        return self.inner.backward(dy * (1 - torch.tanh(self.inner.forward(self.inner.x)) ** 2))


class WrongSlope:
    """y = a x with a number a; ∂L/∂a is doubled."""

    def __init__(self) -> None:
        self.a = 0.5

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.a * x

    def backward(self, dy: Tensor) -> Tensor:
        self.da = 2 * (dy * self.x).sum()
        return self.a * dy


class WrongSwitched:
    """Its mode is a keyword; its gradient is wrong in evaluation."""

    def forward(self, x: Tensor, is_train: bool) -> Tensor:
        return (2.0 if is_train else 1.0) * x

    def backward(self, dy: Tensor) -> Tensor:
        return 2 * dy
