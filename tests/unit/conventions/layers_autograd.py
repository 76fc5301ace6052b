"""What autograd runs: Functions in every form, modules, custom operators, callables. `factor` multiplies one gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

RIGHT, WRONG = 1.0, 2.0


def power_of(factor: float) -> Any:
    """forward(ctx, …) with an argument that is no tensor."""

    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
            ctx.save_for_backward(x)
            ctx.k = k
            return x**k

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return factor * dy * ctx.k * x ** (ctx.k - 1), None

    return Power


def affine_of(factor: float) -> Any:
    """setup_context, and gradients only of what needs them."""

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return x @ w + b

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs[:2])

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            dx = dy @ w.T if ctx.needs_input_grad[0] else None
            dw = factor * x.T @ dy if ctx.needs_input_grad[1] else None
            return dx, dw, dy.sum(0) if ctx.needs_input_grad[2] else None

    return Affine


def half_of(loss: bool) -> Any:
    """Gives no gradient of its second input, on which it depends."""

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return ((x - y) ** 2).sum() if loss else (x - y) ** 2

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, y = ctx.saved_tensors
            return dy * 2 * (x - y), None

    return Half


def once_of(factor: float) -> Any:
    """once_differentiable."""

    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return factor * dy * y

    return Exp


def sort_of(factor: float) -> Any:
    """Two outputs, one of them indices without a gradient."""

    class Sort(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            y, index = x.sort(dim=-1)
            ctx.mark_non_differentiable(index)
            ctx.save_for_backward(index)
            return y, index

        @staticmethod
        def backward(ctx: Any, dy: Tensor, _: Any) -> Tensor:
            (index,) = ctx.saved_tensors
            return torch.zeros_like(dy).scatter(-1, index, factor * dy)

    return Sort


def floor_of(factor: float) -> Any:
    """Two real outputs, one of them marked as not differentiable."""

    class Parts(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            whole = x.floor()
            ctx.mark_non_differentiable(whole)
            return x - whole, whole

        @staticmethod
        def backward(ctx: Any, dy: Tensor, _: Any) -> Tensor:
            return factor * dy

    return Parts


def dirty_of(factor: float) -> Any:
    """Writes to its input and says so."""

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            x.mul_(3.0)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            return factor * 3 * dy

    return Scale


def module_of(factor: float) -> torch.nn.Module:
    """Modules inside a module, with a custom Function, dropout and batch normalisation."""

    class Cube(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.linspace(-1.0, 1.5, 9).reshape(3, 3))
            self.bias = torch.nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return affine_of(factor).apply(x, self.weight, self.bias)

    return torch.nn.Sequential(torch.nn.BatchNorm1d(3), Cube(), torch.nn.Dropout(0.3))


def operator_of(name: str, factor: float) -> Any:
    """A torch.library custom operator."""

    @torch.library.custom_op(f"harness_tests::{name}", mutates_args=())
    def sine(x: Tensor, scale: float) -> Tensor:
        return torch.sin(x) * scale

    def setup(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.scale = inputs[1]

    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return factor * dy * x.cos() * ctx.scale, None

    sine.register_autograd(backward, setup_context=setup)
    return sine
