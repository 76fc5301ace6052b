"""An object that stands around one with a function and its derivative: its backward is made of the derivative."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from harness.outcome import SpecError
from harness.reading.handed import GRADIENT
from harness.request import positional_names, required_names
from harness.scripts import recipe
from harness.subject import Recipe

OUTPUTS = ("y", "a", "out", "output", "outputs", "activation")
"""What a derivative calls its argument where that is the function's output."""


_STEP = 1e-5
"""Of a central difference that tells two functions apart, and judges nothing."""


class Derived:
    """The function with a backward that is made of its derivative."""

    def __init__(
        self, layer: Any, function: str, derivative: str, of: tuple[int, ...] = (0,), of_output: bool = False
    ) -> None:
        self.of_output = of_output  # whether what the derivative asks for under another name is the output
        self.wrapped, self._names, self._of = layer, (function, derivative), of
        # whether the derivative is called without what it may be given, and goes by the last forward
        self._bare = False
        self.__signature__ = inspect.signature(self.function)

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        made: Callable[..., Any] = getattr(self.wrapped, self._names[0])
        return made

    @property
    def derivative(self) -> Callable[..., Any]:
        """Its derivative."""
        made: Callable[..., Any] = getattr(self.wrapped, self._names[1])
        return made

    @property
    def title(self) -> str:
        """What the derivative is called in a sentence."""
        own = self._called == self._names[1]
        return f"{type(self.wrapped).__name__}.{self._called}" if own else self._called

    @property
    def _called(self) -> str:
        """What its author calls the derivative."""
        return getattr(self.derivative, "__name__", self._names[1])

    @property
    def code(self) -> str:
        """How a script calls the function."""
        return "layer" if self._names[0] == "__call__" else f"layer.{self._names[0]}"

    @property
    def asked(self) -> list[str]:
        """The arguments that the derivative can't do without, of those that forward has none for."""
        return required_names(self.derivative)

    @property
    def takes_cotangent(self) -> bool:
        """Whether the derivative is a backward itself: `gradient(grad_output)`, `gradient(x, dout)`."""
        return bool(self._cotangents())

    def _cotangents(self) -> list[str]:
        own = positional_names(self.function)
        return [n for n in self.asked if n not in own and GRADIENT.search(n.lower())]

    @property
    def said(self) -> str:
        """What the report says of the backward."""
        asked = ", ".join(self.asked) + (", the output" if self.of_output else "")
        return f"backward is taken to be {self._called}({asked})" + (
            "" if self.takes_cotangent else " times the cotangent"
        )

    def is_of_output(self, keywords: Mapping[str, Any]) -> bool:
        """Whether the derivative, asked for under another name than the input has, fits the slope of the last forward where it is
        given the output, `sigmoid_grad(s)`, and not where it is given the input: in float64, so that it is the same in any dtype."""
        names = positional_names(self.function)
        if len(self._inputs) != 1 or len(self.asked) != 1 or {*self.asked} & {*names, *OUTPUTS}:
            return False
        given = self._inputs[0]
        if shape_of(given) != shape_of(self._outputs) or "float" not in str(given.dtype):
            return False
        x = given.double() if isinstance(given, torch.Tensor) else given.astype(np.float64)
        try:
            up, y, down = (copy.deepcopy(self).function(x + h, **keywords) for h in (_STEP, 0.0, -_STEP))
            here, there = (torch.as_tensor(copy.deepcopy(self).derivative(copy.copy(z))) for z in (x, y))
        except Exception:  # a kernel of narrower numbers alone
            return False
        slope = (torch.as_tensor(up) - torch.as_tensor(down)) / (2 * _STEP)
        return _fits(there, slope) and not _fits(here, slope)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The function's outputs."""
        self._inputs = inputs
        self._outputs = self.function(*inputs, **keywords)
        return self._outputs

    def derived(self, cotangent: Any = None) -> Any:
        """What the derivative returns at the inputs of the last forward."""
        known = {"y": self._outputs, "v": cotangent}
        try:
            return self.derivative(*(self._inputs[r] if isinstance(r, int) else known[r] for r in self._roles()))
        except Exception:
            if self._bare or self.asked:
                raise
        self._bare = True  # `derivative(input=None)` which asks `if input`
        return self.derivative()

    def _roles(self) -> list[int | str]:
        """What the derivative is given: an input by its place, the outputs "y", or the cotangent "v"."""
        given: dict[str, int | str] = {n: k for k, n in enumerate(positional_names(self.function)[: len(self._inputs)])}
        given |= dict.fromkeys(self._cotangents()[:1], "v")
        asked = self.asked or ([] if self._bare else positional_names(self.derivative)[: len(self._inputs)])
        if self.of_output:
            return ["y"]
        if any(n not in given and n not in OUTPUTS for n in asked) and len(asked) == len(self._inputs):
            return list(range(len(self._inputs)))  # the same inputs under other names
        if missing := [n for n in asked if n not in given and n not in OUTPUTS]:
            raise SpecError(
                f"{self.title} asks for {missing[0]}, which {self.code} takes no input for: check a closure, "
                f"lambda x: ({self.code}(x), lambda v: v * {self.code.partition('.')[0]}.{self._names[1]}(...))"
            )
        return [given.get(n, "y") for n in asked]

    def script(self, plain: Recipe, made: Mapping[str, Any] | None, of: Sequence[int]) -> Recipe:
        """The script of a layer with this around it, whose derivative is that of these inputs."""
        codes = {"y": "self.outputs", "v": "v[0]"}
        given = ", ".join(codes[r] if isinstance(r, str) else f"self.inputs[{r}]" for r in self._roles())
        back = [f"d = self.wrapped.{self._names[1]}({given})"]
        if not self.takes_cotangent:
            found = self.derived()
            several = isinstance(found, (tuple, list))
            y = shape_of(self._outputs)
            each = [
                _times(shape_of(part), y, shape_of(self._inputs[k]), f"d[{j}]" if several else "d", f"self.inputs[{k}]")
                for j, (k, part) in enumerate(zip(of, found if several else [found], strict=False))
            ]
            back.append(f"return {', '.join(each)}")
        else:
            back.append("return d")
        called = "self.wrapped" if self._names[0] == "__call__" else f"self.wrapped.{self._names[0]}"
        return recipe.adapted(plain, self.wrapped, made, [f"self.outputs = {called}(*inputs, **words)"], back)

    def shapes(self, k: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the outputs and of the k-th input of the last forward."""
        return shape_of(self._outputs), shape_of(self._inputs[k])

    def works_entry_by_entry(self, k: int, keywords: Mapping[str, Any]) -> bool:
        """Whether a change of one entry of the k-th input (an example, where the outputs are one an example) changes the output
        there alone."""
        y, x = self.shapes(k)
        before = torch.as_tensor(self._outputs).reshape(math.prod(y), -1)
        for place in {0, math.prod(x) - 1} if math.prod(x) > 1 else ():
            inputs = [copy.deepcopy(v) for v in self._inputs]
            flat = inputs[k].reshape(-1)
            flat[place] = flat[place - 1]  # a value that the function has taken already
            other = Derived(copy.deepcopy(self.wrapped), *self._names)
            after = torch.as_tensor(other(*inputs, **keywords)).reshape(before.shape)
            moved = {int(n) for n in (before != after).any(1).nonzero()}
            if not moved <= {place * math.prod(y) // math.prod(x)}:
                return False
        return True

    def backward(self, cotangent: Any) -> Any:
        """The gradients of the inputs."""
        found = self.derived(cotangent)
        if self.takes_cotangent:
            return found
        parts = found if isinstance(found, (tuple, list)) else [found]
        gradients: list[Any] = [None] * len(self._inputs)
        for k, part in zip(self._of, parts, strict=False):
            gradients[k] = product(cotangent, part, shape_of(self._outputs), shape_of(self._inputs[k]))
        return tuple(gradients) if len(gradients) > 1 else gradients[0]


def product(v: Any, derivative: Any, y: tuple[int, ...], x: tuple[int, ...]) -> Any:
    """The cotangent times the derivative of outputs of shape `y` by inputs of shape `x`; None where it is no such derivative.

    One number an entry, or one for all; of each output by all of the inputs; the same within each example.
    """
    d, entries = shape_of(derivative), math.prod(x)
    if d == y + x:
        return (v.reshape(-1) @ derivative.reshape(math.prod(y), entries)).reshape(x)
    if y == x and d in (x, ()):
        return v * derivative
    if y == x[: len(y)] and d == x:
        return v.reshape(y + (1,) * (len(x) - len(y))) * derivative
    if y and x and y[0] == x[0] and d == y + x[1:]:
        outer, inner = math.prod(y[1:]), math.prod(x[1:])
        return (v.reshape(x[0], 1, outer) @ derivative.reshape(x[0], outer, inner)).reshape(x)
    return None


def _times(d: tuple[int, ...], y: tuple[int, ...], x: tuple[int, ...], derivative: str, given: str) -> str:
    """The code of `product`, for these shapes."""
    if d == y + x:
        return f"(v[0].reshape(-1) @ {derivative}.reshape({math.prod(y)}, -1)).reshape({given}.shape)"
    if y == x and d in (x, ()):
        return f"v[0] * {derivative}"
    if y == x[: len(y)] and d == x:
        return f"v[0].reshape({y + (1,) * (len(x) - len(y))}) * {derivative}"
    return (
        f"(v[0].reshape({x[0]}, 1, -1) @ {derivative}.reshape({x[0]}, -1, {math.prod(x[1:])})).reshape({given}.shape)"
    )


def _fits(derivative: torch.Tensor, slope: torch.Tensor) -> bool:
    return derivative.shape == slope.shape and torch.allclose(derivative, slope, rtol=1e-3, atol=1e-6)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array; that of a number is empty."""
    return tuple(getattr(value, "shape", ()))
