"""What an argument of backward is whose name does not tell: a cotangent, or what the loss was computed from.

"Neural Networks from Scratch" calls both `dvalues`: a layer's is the cotangent, a loss's the predictions, and that of softmax
with cross-entropy what the layer has kept as `output`. How backward answers to it decides, not how well it answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.reading.handed import FIRST
from harness.reading.naming import gradient_rank
from harness.state.views import places
from harness.tensors.arrays import Library, is_real, to_native, to_tensor
from harness.tensors.nested import leaves_of

COTANGENT = "the cotangent"
NOTHING = "nothing"
"""What a backward is given that asks for no more than the inputs again, or for nothing."""


@dataclass(frozen=True)
class Meaning:
    """What the argument is given."""

    given: str
    """COTANGENT, NOTHING, the name of an input, or the attribute of the layer (`.output`)."""
    over: str = ""
    """Of losses of several examples: whether the gradient is that of their "mean" or "sum"; empty for one number."""

    @property
    def is_cotangent(self) -> bool:
        """Whether it is the cotangent."""
        return self.given == COTANGENT

    def of(self, layer: Any, called: Mapping[str, Any]) -> Any:
        """What it is given."""
        if self.given == NOTHING:
            return None
        return getattr(layer, self.given[1:]) if self.given[0] == "." else called[self.given]

    def note(self, argument: str) -> str:
        """What is said of it in the report."""
        if self.is_cotangent:
            return ""
        what = f"layer{self.given}" if self.given[0] == "." else f"the input {self.given}"
        judged = f"; the gradient is that of the {self.over} of its losses" if self.over else ""
        if self.given == NOTHING:
            return f"backward takes no cotangent{judged}"
        return f"backward is given {what} as {argument}{judged}"


@dataclass
class Question:
    """A layer after a forward, and how its backward is called with something in the argument's place."""

    layer: Any
    forward: Callable[..., Any]
    """forward(layer, inputs)"""
    backward: Callable[..., Any]
    """backward(layer, inputs, argument) -> what it returned"""
    called: Mapping[str, Any]
    library: Library
    kept: Sequence[str]
    """The attributes in which a layer keeps its outputs."""

    def answered(self, outputs: Sequence[Tensor]) -> Meaning | None:
        """What the argument is; None where that can't be told."""
        if len(outputs) != 1:
            return None
        (y,) = outputs
        if self._is_linear(y):
            return Meaning(COTANGENT)
        first, x = next(iter(self.called.items()))
        if not is_real(x) or (y.dim() and not self._is_loss_of(x, y)):
            return None  # no loss, or one of something else than its first input
        given = next((f".{n}" for n in self.kept if _is_like(getattr(self.layer, n, None), x)), first)
        meaning = Meaning(given)
        if (found := self._gradient(self.layer, self.called, meaning)) is None:
            return None
        if not y.dim():
            return meaning
        ways = {self._over(meaning, found, axis) for axis in range(y.dim()) if y.shape[axis] > 1 or not axis}
        return ways.pop() if len(ways) == 1 else None

    def _is_loss_of(self, x: Any, y: Tensor) -> bool:
        """Whether there is a number for each row of x, or beside a target one for each entry."""
        if len(y) != len(x):
            return False
        targets = [n for n in [*self.called][1:] if n.lower() in FIRST]
        each = len(targets) == 1 and y.shape == tuple(x.shape)
        return each or (y.dim() == 2 and y.shape[1] == 1) or y.dim() == 1 < x.ndim

    def reduced(self, outputs: Sequence[Tensor]) -> Meaning | None:
        """What the gradient is of where backward takes no cotangent of several losses, one an example; None where that can't be told."""
        x = next(iter(self.called.values()))
        if len(outputs) != 1 or not is_real(x) or not x.ndim or tuple(outputs[0].shape) not in ((len(x),), (len(x), 1)):
            return None
        meaning = Meaning(NOTHING)
        found = self._gradient(self.layer, self.called, meaning) if len(x) else None
        return None if found is None else self._over(meaning, found)

    def linear(self, outputs: Sequence[Tensor]) -> bool:
        """Whether backward is linear in its argument, as in the cotangent of one output."""
        return len(outputs) == 1 and self._is_linear(outputs[0])

    def _is_linear(self, y: Tensor) -> bool:
        """Whether backward goes through with a cotangent, and is linear in it."""
        v = torch.linspace(0.5, 1.5, max(y.numel(), 1), dtype=y.dtype, device=y.device)[: y.numel()].reshape(y.shape)
        answers = [self._answer(self.layer, self.called, to_native(v * by, self.library)) for by in (1.0, 2.0, -1.0)]
        if not answers[0] or any(a.keys() != answers[0].keys() for a in answers):
            return False
        once, twice, back = answers
        return all(_close(twice[n], 2 * once[n]) and _close(back[n], -once[n]) for n in once)

    def _over(self, meaning: Meaning, found: Tensor, axis: int = 0) -> Meaning | None:
        """Whether every gradient is halved where each example stands there twice: then it is that of the mean. Of nothing but zeros
        that can't be told. Where each entry has a loss, so is each column."""
        if not bool(found.any()):
            return None
        count, layer = found.shape[axis], copy.deepcopy(self.layer)
        doubled = {n: _twice(x, count, axis) for n, x in self.called.items()}
        try:
            self.forward(layer, doubled)
        except Exception:  # a batch of this size alone
            return None
        more = self._gradient(layer, doubled, meaning)
        if more is None or more.shape[axis] != 2 * count:
            return None
        once = more.narrow(axis, 0, count)
        if _close(2 * once, found):
            return Meaning(meaning.given, "mean")
        return Meaning(meaning.given, "sum") if _close(once, found) else None

    def _gradient(self, layer: Any, called: Mapping[str, Any], meaning: Meaning) -> Tensor | None:
        """What backward gives that has the first input's shape."""
        x = next(iter(called.values()))
        found = self._answer(layer, called, meaning.of(layer, called))
        return next((g for g in found.values() if g.shape == tuple(x.shape)), None)

    def _answer(self, layer: Any, called: Mapping[str, Any], argument: Any) -> dict[str, Tensor]:
        """The gradients that backward returns or leaves, by place; none where it raises."""
        layer, called = copy.deepcopy((layer, dict(called)))
        argument = copy.deepcopy(argument)
        try:
            returned = self.backward(layer, called, argument)
            found = {str(k): part for k, part in enumerate(leaves_of(returned)) if is_real(part)}
            names = (*called, "inputs")
            left = {p: s.get() for p, s in places(layer).items() if any(gradient_rank(p, n) is not None for n in names)}
            return {n: to_tensor(g, n).detach().clone() for n, g in {**found, **left}.items()}
        except Exception:  # it is given what it is not made for
            return {}


def _is_like(kept: Any, x: Any) -> bool:
    return is_real(kept) and tuple(kept.shape) == tuple(x.shape)


def _twice(x: Any, count: int, axis: int) -> Any:
    if np.ndim(x) <= axis or x.shape[axis] != count:
        return x
    if isinstance(x, Tensor):
        return torch.cat([x, x], axis)
    return np.concatenate([x, x], axis) if isinstance(x, np.ndarray) else x


def _close(a: Tensor, b: Tensor) -> bool:
    """Up to rounding in any precision; what is not linear is off by more."""
    return a.shape == b.shape and bool(
        torch.allclose(a, b, rtol=1e-2, atol=1e-3 * float(b.abs().amax()) if b.numel() else 0)
    )
