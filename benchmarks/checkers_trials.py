"""What the checkers are compared on: one layer at one input, in float64, right or with a fault in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.examples.prepare import prepared
from harness.faults import Fault, Faulty
from harness.request import Request
from harness.subject import Subject
from layers import BatchNorm, Dropout, InstanceNorm, Layer, Linear, Sequential, SoftmaxCrossEntropy, Tanh

SIZES = [(4, 8), (16, 32), (32, 128), (64, 256)]
P = 0.2


def mlp(D: int, g: torch.Generator) -> Sequential:
    """Two hidden layers, each normalised."""
    hidden = (part for _ in range(2) for part in (Linear(D, D, g), InstanceNorm(D), Tanh()))
    return Sequential(*hidden, Linear(D, D, g))


OPERATIONS: dict[str, Callable[[int, torch.Generator], Layer]] = {
    "Linear": lambda D, g: Linear(D, D, g),
    "InstanceNorm": lambda D, g: InstanceNorm(D),
    "BatchNorm": lambda D, g: BatchNorm(D),
    "Tanh": lambda D, g: Tanh(),
    "Dropout": lambda D, g: Dropout(P, torch.Generator().manual_seed(2)),
    "SoftmaxCrossEntropy": lambda D, g: SoftmaxCrossEntropy(),
    "MLP": mlp,
}


@dataclass(frozen=True)
class Trial:
    """A layer, its inputs, and the fault that is in it."""

    name: str
    layer: Any
    inputs: tuple[Any, ...]
    fault: Fault | None = None

    @classmethod
    def of(
        cls,
        operation: str,
        B: int,
        D: int,
        seed: int = 1,
        change: Callable[[Tensor], Tensor] = torch.clone,
        **more: Any,
    ) -> Trial:
        """One of layers/ at standard normal inputs, changed; `drawn=True` redraws γ and β, which start as 1 and 0.

        At γ = 1 a missing γ shows nowhere, so that power is compared with drawn constants; times are of fresh layers,
        whose constants the public `gradcheck` redraws by itself.
        """
        random = torch.Generator().manual_seed(seed)
        layer = OPERATIONS[operation](D, random).to(dtype=torch.float64)
        if more.pop("drawn", False):
            for parameter in layer.params.values():
                parameter += 0.5 * torch.rand(parameter.shape, generator=random, dtype=torch.float64)
        z = change(torch.randn(B, D, generator=random, dtype=torch.float64))
        labels = (torch.randint(D, (B,), generator=random),) if operation == "SoftmaxCrossEntropy" else ()
        return cls(operation, layer, (z, *labels), **more)

    @cached_property
    def right(self) -> Subject:
        """The subject without the fault."""
        return prepared(Request(self.layer, self.inputs)).subject

    @cached_property
    def subject(self) -> Subject:
        """The subject as it is to be judged."""
        return self.right if self.fault is None else self.fault.apply(self.right)

    @property
    def public(self) -> Any:
        """What `gradcheck` is called with."""
        return self.layer if self.fault is None else Faulty(self.layer, self.fault)

    @property
    def mode(self) -> str | None:
        """Training, where there are modes."""
        return self.right.modes[0]

    @property
    def entries(self) -> int:
        """Of all tensors whose gradient is judged."""
        return sum(self.right.leaves[n].value.numel() for n in self.right.wanted())

    @property
    def size(self) -> str:
        """B×D."""
        return "×".join(map(str, self.inputs[0].shape))
