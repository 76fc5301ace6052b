"""The layers that faults are put into, built in float64, and what each has for a fault to act on."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from specs import SPECS
from torch import Tensor

from harness import LayerSpec, ints
from harness.examples.sample import layer_name
from harness.faults import Fault, Faulty


class Affine(torch.autograd.Function):
    """x W + b and the sum of the squares of x, each gradient computed where it is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, W)
        ctx.set_materialize_grads(False)
        return x @ W + b, x.square().sum()

    @staticmethod
    def backward(ctx: Any, δy: Tensor | None, δs: Tensor | None) -> tuple[Tensor | None, ...]:
        x, W = ctx.saved_tensors
        x_wanted, W_wanted, b_wanted = ctx.needs_input_grad
        δx = δW = δb = None
        if x_wanted:
            parts = [*([] if δy is None else [δy @ W.T]), *([] if δs is None else [2 * δs * x])]
            δx = sum(parts[1:], start=parts[0]) if parts else None
        if δy is not None:
            δW = x.T @ δy if W_wanted else None
            δb = δy.sum(0) if b_wanted else None
        return δx, δW, δb


class TwoOutputs(torch.nn.Module):
    """`Affine` with its parameters."""

    def __init__(self, D_in: int, D_out: int) -> None:
        super().__init__()
        self.W = torch.nn.Parameter(torch.randn(D_in, D_out))
        self.b = torch.nn.Parameter(torch.zeros(D_out))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return Affine.apply(x, self.W, self.b)


class Embedding:
    """Rows of W by their indices; of one that comes several times the gradients add up."""

    def __init__(self, V: int, D: int) -> None:
        self.W, self.dW = torch.randn(V, D), torch.zeros(V, D)

    def to(self, dtype: torch.dtype) -> Embedding:
        self.W, self.dW = self.W.to(dtype), self.dW.to(dtype)
        return self

    def forward(self, i: Tensor) -> Tensor:
        self.i = i
        return self.W[i]

    def backward(self, δa: Tensor) -> None:
        self.dW = torch.zeros_like(self.W).index_add_(0, self.i, δa)


SPEC = {layer_name(spec): spec for spec in SPECS}
SPEC["TwoOutputs"] = LayerSpec(TwoOutputs, "B D_in", "TwoOutputs", dims={"D_out": range(1, 7)})
SPEC["Embedding"] = LayerSpec(Embedding, ints("B", below="V"), "Embedding", dims={"V": range(4, 9), "D": range(1, 7)})
HAS = {
    "Linear": {"input", "parameter", "cotangent", "matrix"},
    "InstanceNorm": {"input", "parameter", "cotangent"},
    "BatchNorm": {"input", "parameter", "cotangent", "buffers"},
    "Tanh": {"input", "cotangent"},
    "Dropout": {"random"},
    "SoftmaxCrossEntropy": {"input"},
    "TwoOutputs": {"parts"},
    "Embedding": {"indices"},
}


def spec_with(name: str, fault: Fault | None) -> LayerSpec:
    """The layer's spec with a fault in what it builds; None: the right twin."""
    spec = SPEC[name]

    def build(**sizes: Any) -> Any:
        layer = spec.build(**sizes).to(dtype=torch.float64)
        return layer if fault is None else Faulty(layer, fault)

    asked = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in spec.build_arguments()]
    build.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
    return replace(spec, build=build, name=name)


def spec_of(layer: type[Any]) -> LayerSpec:
    """The spec of the layer that a class derives from, building that class."""
    base = next(n for n in SPEC if any(c.__name__ == n for c in layer.__mro__))
    return replace(SPEC[base], build=layer, name=layer.__name__)
