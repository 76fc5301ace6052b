"""In the style of Opacus: a gradient of every parameter for each example of the batch, which is out of scope."""

from __future__ import annotations

from typing import Any

import torch


class Linear:
    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        self.weight, self.bias = torch.randn(2, 3, generator=g), torch.zeros(2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, dy: Any) -> Any:
        self.keep(torch.einsum("no,ni->noi", dy, self.x), dy.clone())
        return dy @ self.weight

    def keep(self, weight: Any, bias: Any) -> None:
        raise NotImplementedError


class GradSample(Linear):
    """`p.grad_sample`, as Opacus itself."""

    def keep(self, weight: Any, bias: Any) -> None:
        self.weight.grad_sample, self.bias.grad_sample = weight, bias


class ByName(Linear):
    def keep(self, weight: Any, bias: Any) -> None:
        self.weight_grad_sample, self.bias_grad_sample = weight, bias


class InDict(Linear):
    def keep(self, weight: Any, bias: Any) -> None:
        self.per_sample_grads = {"weight": weight, "bias": bias}


class ByUsualName(Linear):
    """Under the names of gradients of the whole batch, as of someone who forgets the sum."""

    def keep(self, weight: Any, bias: Any) -> None:
        self.dweight, self.dbias = weight, bias


class Summed(Linear):
    """What is to be written instead."""

    def keep(self, weight: Any, bias: Any) -> None:
        self.weight_grad_sample, self.bias_grad_sample = weight, bias
        self.dweight, self.dbias = weight.sum(0), bias.sum(0)


class WrongSummed(Summed):
    def keep(self, weight: Any, bias: Any) -> None:
        super().keep(weight, bias)
        self.dweight = weight.mean(0)
