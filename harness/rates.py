"""Learning rates: a backward that takes a step along its own gradients asks for one, or finds it on its layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.parts import objects_of
from harness.signatures import parameters_of

RATES = ("lr", "learning_rate", "learn_rate", "learningrate", "lrate", "step_size", "stepsize", "eta")
"""What it is called, but for case; the first argument is a cotangent whatever its name. `alpha` may be a slope."""

FAR, FAR_IN_HALF = 20, 6
"""A step that is looked at is 2²⁰ times as long as the cotangents: of W − λ·dW the last digits are then those of λ·dW, not of
W. Float16 ends at 2¹⁶. A power of two rounds nothing."""


def rate_of(backward: Callable[..., Any]) -> str:
    """The name of that argument; empty where there is none."""
    try:
        names = [p.name for p in parameters_of(backward) if p.kind is not p.POSITIONAL_ONLY]
    except (TypeError, ValueError):
        return ""
    return next((n for n in names[1:] if n.lower() in RATES), "")


def rates_on(layer: Any) -> list[tuple[Any, str, str]]:
    """The numbers of such a name that the layer and the objects in it keep, an optimizer's too: owner, name, and how a script
    reaches it."""
    return [
        (owner, n, f"{code}.{n}")
        for code, owner in objects_of(layer)
        for n, value in vars(owner).items()
        if n.lower().strip("_") in RATES and isinstance(value, (int, float))
    ]


def far_step(cotangents: Sequence[Tensor]) -> float:
    """The learning rate of a step that is read and undone; 1 where the cotangents have no size."""
    sizes = [float(v.detach().abs().max()) for v in cotangents if v.numel()]
    if not sizes or not 0 < (size := max(sizes)) < math.inf:
        return 1.0
    far = FAR_IN_HALF if any(v.dtype is torch.float16 for v in cotangents) else FAR
    return 2.0 ** (far - math.frexp(size)[1])
