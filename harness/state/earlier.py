"""What a backward is given that takes earlier values under other names than forward's: `cell.backward(delta, h_t, h_prev_l)`.

Shapes decide, and how backward answers. Where several ways go through, the one whose gradients are nearest to a difference of the
forward along one line an input: a wrong backward is wrong in each of them, a right one in all but one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from harness.reading.handed import otherwise_called
from harness.reading.modes import forward_of
from harness.replay.sources import Sources
from harness.request import call_arguments, outputs_of
from harness.state.asking import Asking
from harness.state.returned import inputs_of, levelled
from harness.tensors.arrays import Library, to_native

STEP = 2.0**-10
"""Of a central difference, in units of the values, whose error is about 10⁻⁶ of it, of float32 10⁻⁴: finer it tells nothing apart."""


@dataclass
class Run:
    """A copy of the layer after a forward, and what that took and gave."""

    layer: Any
    called: dict[str, Any]
    result: Any
    output: Tensor
    words: Mapping[str, Any]
    """The keywords of its backward."""

    @cached_property
    def cotangent(self) -> Tensor:
        """The same for each run."""
        y = self.output
        v = torch.linspace(0.5, 1.5, max(y.numel(), 1), dtype=y.dtype, device=y.device)
        return v[: y.numel()].reshape(y.shape)


@dataclass
class Earlier:
    """A layer whose backward asks for something by other names, and how it is called.

    Each trial is a forward and a backward of one copy, with the same draws as every other.
    """

    asking: Asking
    sources: Sources
    library: Library
    mode: str | None
    output: str
    """The attribute that holds the outputs, where forward returns nothing."""
    keywords: Mapping[str, Any]
    words: Mapping[str, Any]
    """Those of forward and of backward."""
    _slopes: dict[str, float] = field(default_factory=dict, init=False)

    def way(self) -> Mapping[str, str]:
        """What backward means by those names: what goes through, and is nearest to the forward where several do; else empty."""
        asking = self.asking
        ways = otherwise_called(asking.asked, [*asking.arguments])
        if not ways:
            return {}
        with self.sources.watched(self.mode), suppress(Exception):  # what it draws from
            self._run(self._values)
        found = [(way, g) for way in ways if (g := self._answer(way))]
        if len(found) < 2:
            return next((way for way, _ in found), {})
        return min(found, key=lambda one: self._off(one[1]))[0]

    @property
    def _values(self) -> dict[str, Tensor]:
        return {n: leaf.value for n, leaf in self.asking.leaves.items()}

    def _run(self, leaves: Mapping[str, Tensor]) -> Run:
        asking = self.asking
        self.sources.seed(0)
        layer = copy.deepcopy(asking.layer)
        given = call_arguments(asking.arguments, {n: t.clone() for n, t in leaves.items()}, self.library)
        result = (forward_of(layer) or layer.forward)(*given, **self.keywords)
        words = dict(self.words)
        if asking.cached:
            result, words[asking.cached] = result
        result = getattr(layer, self.output) if result is None else result
        called = dict(zip(asking.arguments, given, strict=True))
        return Run(layer, called, result, outputs_of(result, asking.name)[0].detach(), words)

    def _answer(self, way: Mapping[str, str]) -> dict[str, Tensor]:
        """The gradients, each of its input's shape; none where backward raises or one has another."""
        asking = self.asking
        try:
            run = self._run(self._values)
            known = {**dict.fromkeys(way.values(), run.result), **run.called}
            cotangent = as_scalar(to_native(run.cotangent, self.library))
            returned = run.layer.backward(*[known.get(way.get(n, n), cotangent) for n in asking.asked], **run.words)
            answered = inputs_of(levelled(returned, run.called), asking.leaves, asking.inputs, asking.name)
        except Exception:  # it is given what it is not made for
            return {}
        found = {n: g for n, g in answered.items() if g is not None}
        return found if all(g.shape == asking.leaves[n].value.shape for n, g in found.items()) else {}

    def _off(self, gradients: Mapping[str, Tensor]) -> float:
        """How far they are from the slopes: the product over inputs, so that one that is wrong leaves the others to tell."""
        told = {n: s for n in gradients if math.isfinite(s := self._slope(n))}
        claimed = {n: float((gradients[n] * _line(self._values[n])).double().sum()) for n in told}
        return math.prod(_apart(claimed[n], s) + STEP for n, s in told.items())

    def _slope(self, name: str) -> float:
        """Of the outputs along the line of one input; NaN beyond its domain."""
        if name not in self._slopes:
            try:
                self._slopes[name] = (self._moved(name, STEP) - self._moved(name, -STEP)) / (2 * STEP)
            except Exception:  # it refuses those values
                self._slopes[name] = math.nan
        return self._slopes[name]

    def _moved(self, name: str, by: float) -> float:
        x = self._values[name]
        run = self._run({**self._values, name: x + by * _line(x)})
        return float((run.output * run.cotangent).double().sum())


def _apart(claimed: float, slope: float) -> float:
    """Between 0 and 1; of what is no number 1."""
    scale = abs(claimed) + abs(slope)
    return abs(claimed - slope) / scale if 0 < scale < math.inf else float(scale != 0)


def _line(x: Tensor) -> Tensor:
    """A direction as large as the values."""
    size = float(x.double().square().mean().sqrt()) if x.numel() else 0.0
    return torch.linspace(1.5, 0.5, x.numel(), dtype=x.dtype, device=x.device).reshape(x.shape) * (size or 1.0)


def as_scalar(value: Any) -> Any:
    """A 0-dimensional NumPy array as the scalar that NumPy code expects."""
    return value[()] if not isinstance(value, Tensor) and getattr(value, "ndim", 1) == 0 else value
