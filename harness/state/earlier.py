"""What a backward is given that takes earlier values under other names than forward's: `cell.backward(delta, h_t, h_prev_l)`.

Shapes decide, and how backward answers. Where several ways go through, a difference of the forward along one line does: a wrong
backward is wrong in each of them, a right one in all but one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.tensors.arrays import Library, is_real, to_native, to_tensor

STEP, NEAR = 1e-5, 1e-4
"""Of a central difference, whose error is some 10⁻¹⁰ there; and how near a gradient is to it that belongs to it."""


@dataclass
class Earlier:
    """A layer after a forward, and how it is called."""

    layer: Any
    forward: Callable[[Any, Mapping[str, Any]], Sequence[Tensor]]
    backward: Callable[[Any, Mapping[str, str], Tensor], Mapping[str, Tensor | None]]
    """backward(layer, way, cotangent) -> the gradients of the inputs"""
    called: Mapping[str, Any]
    library: Library

    def way(self, ways: Sequence[Mapping[str, str]], y: Tensor) -> Mapping[str, str]:
        """Of some ways to give backward what it asks for, the one that goes through, and fits the forward where several do."""
        v = torch.linspace(0.5, 1.5, max(y.numel(), 1), dtype=y.dtype, device=y.device)[: y.numel()].reshape(y.shape)
        found = [(way, g) for way in ways if (g := self._answer(way, v))]
        if len(found) < 2:
            return next((way for way, _ in found), {})
        return next((way for way, g in found if self._fits(g, v)), found[0][0])

    def _answer(self, way: Mapping[str, str], v: Tensor) -> dict[str, Tensor]:
        """The gradients, each of its input's shape; none where backward raises or one has another."""
        try:
            answered = self.backward(copy.deepcopy(self.layer), way, v.clone())
        except Exception:  # it is given what it is not made for
            return {}
        found = {n: g for n, g in answered.items() if g is not None}
        return found if all(g.shape == tuple(self.called[n].shape) for n, g in found.items()) else {}

    def _fits(self, gradients: Mapping[str, Tensor], v: Tensor) -> bool:
        lines = {n: torch.linspace(1.5, 0.5, g.numel(), dtype=g.dtype).reshape(g.shape) for n, g in gradients.items()}
        claimed = sum(float((g * lines[n]).sum()) for n, g in gradients.items())
        try:
            slope = (self._moved(lines, STEP, v) - self._moved(lines, -STEP, v)) / (2 * STEP)
        except Exception:  # beyond its domain
            return False
        return abs(claimed - slope) <= NEAR * (1 + abs(slope))

    def _moved(self, lines: Mapping[str, Tensor], by: float, v: Tensor) -> float:
        moved = {
            n: to_native(to_tensor(x, n) + by * lines[n], self.library) if is_real(x) and n in lines else x
            for n, x in self.called.items()
        }
        (y,) = self.forward(copy.deepcopy(self.layer), moved)
        return float((y.detach() * v).sum())
