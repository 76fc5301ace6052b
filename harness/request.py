"""What a convention is asked to turn into a subject."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.kinds import Const
from harness.outcome import SpecError
from harness.reading.handed import predicted_first
from harness.reading.modes import keywords_of_modes
from harness.reading.naming import gradient_names
from harness.reading.signatures import asked_of
from harness.subject import Leaf
from harness.tensors.arrays import Library as Library
from harness.tensors.arrays import is_array, is_real, to_native, to_tensor
from harness.tensors.library import library_of
from harness.tensors.nested import flat, leaves_of, rebuilt


@dataclass(frozen=True)
class Request:
    """A layer with the inputs it is to be called with."""

    layer: Any
    inputs: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    modes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{mode: keywords of forward}; empty where the layer has a switch of its own, or no modes."""
    grads: Mapping[str, str | None] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    made: Mapping[str, Any] | None = None
    """What a spec has called the layer's class with."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    within: tuple[str | None, ...] = ()
    """The modes in which the layer will be called; empty: all that it has."""
    alone: bool = False
    """Whether nothing may put it into other modes, not even the search for its parameters."""
    buffers: tuple[str, ...] = ()
    """The names of arrays that another mode has shown to be buffers: in this one alone the outputs may go by what stands in them
    at some inputs only, as by the largest value seen so far."""

    @cached_property
    def library(self) -> Library:
        """What the layer computes with: by its inputs where they are NumPy's, else by what its code names."""
        if any(isinstance(i, (np.ndarray, np.floating)) for i in leaves_of(self.inputs)):
            return "numpy"
        ours = type(self.layer).__module__.startswith(f"{__package__}.")  # what a convention puts around a layer
        return library_of(getattr(self.layer, "wrapped", self.layer) if ours else self.layer) or "torch"

    @property
    def keywords(self) -> dict[str, Any]:
        """The keywords of forward in the first of the modes."""
        return {**self.kwargs, **next(iter(self.modes.values()), {})}

    def with_modes(self) -> Request:
        """With the modes that a keyword of the layer's forward stands for, unless the caller has named some."""
        words = self.modes or keywords_of_modes(self.layer, len(self.inputs), self.kwargs)
        return replace(self, modes=words) if words != self.modes else self

    def arguments(self, function: Callable[..., Any]) -> dict[str, Any]:
        """{name of the parameter of `function`: input}, in the order of the call."""
        names = positional_names(function)
        taken = [n for n in names if n not in self.kwargs][: len(self.inputs)]
        taken += [f"input{k}" for k in range(len(taken), len(self.inputs))]
        return dict(zip(taken, self.inputs, strict=True))

    def leaves(self, arguments: Mapping[str, Any]) -> dict[str, Leaf]:
        """The tensors among the arguments, real ones in the working dtype."""
        found: dict[str, Leaf] = {}
        for argument in arguments.items():
            found |= {n: self.leaf(value, n) for n, value in flat(*argument) if is_tensor(value)}
        return found

    def leaf(self, value: Any, name: str) -> Leaf:
        """One argument as a leaf."""
        fixed = isinstance(value, Const)
        tensor = to_tensor(value.value if isinstance(value, Const) else value, name).detach()
        if not tensor.is_floating_point():
            return Leaf(tensor.to(self.device, copy=True), wanted=False)
        return Leaf(tensor.to(self.device, self.dtype, copy=True), wanted=not fixed)


def is_tensor(value: Any) -> bool:
    """Whether this is an input: an array, a real number of NumPy, or one marked `const`."""
    return is_array(value) or isinstance(value, (Const, np.floating))


def holds_tensors(value: Any) -> bool:
    """Whether this is an input, or a tuple or list with one in it: of a layer that adds up any number of them, a state (h, c)."""
    return any(map(is_tensor, leaves_of(value)))


def input_names(arguments: Mapping[str, Any]) -> list[str]:
    """The names of the inputs, those in a tuple or list one by one: `X.0`, `X.1`."""
    return [
        n
        for name, value in arguments.items()
        for n in ([n for n, _ in flat(name, value)] if holds_tensors(value) else [name])
    ]


def positional_names(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters that can be given by position, without `self`."""
    try:
        return list(asked_of(function).positional)
    except (TypeError, ValueError):
        return []


def required_names(function: Callable[..., Any]) -> list[str]:
    """The positional parameters without a default."""
    return list(asked_of(function).required)


def call_arguments(arguments: Mapping[str, Any], leaves: Mapping[str, Tensor], library: Library) -> list[Any]:
    """The arguments in call order: leaves at their present values, of everything else (a `bn_param` dict) a copy."""
    return [_argument(n, value, leaves, library) for n, value in arguments.items()]


def _argument(name: str, value: Any, leaves: Mapping[str, Tensor], library: Library) -> Any:
    if name in leaves:
        return to_native(leaves[name], library)
    if holds_tensors(value):
        return rebuilt(name, value, lambda n, v: to_native(leaves[n], library) if n in leaves else copy.deepcopy(v))
    return copy.deepcopy(value)


def outputs_of(result: Any, what: str) -> tuple[Tensor, ...]:
    """The real outputs of a forward as tensors, those in tuples and lists one by one.

    Raises:
        SpecError: there is none.
    """
    if is_dense(result):
        return (result,)
    parts = leaves_of(result)
    tensors = tuple(to_tensor(p, f"an output of {what}") for p in parts if p is not None)
    real = tuple(t for t in tensors if t.is_floating_point())
    if not real:
        raise SpecError(f"{what} returned {_kinds(parts)}: an output of real numbers is needed")
    return real


def is_dense(result: Any) -> bool:
    """Whether a forward returned one tensor of real numbers, as most do."""
    return isinstance(result, Tensor) and result.is_floating_point() and result.layout is torch.strided


def is_output(part: Any) -> bool:
    """Whether this part of what a forward returned is a real output."""
    return is_real(part) or isinstance(part, (float, np.floating))


def _kinds(parts: Sequence[Any]) -> str:
    """What they are, arrays with their dtypes."""
    return (
        ", ".join(f"{type(p).__name__} of {p.dtype}" if is_array(p) else type(p).__name__ for p in parts) or "nothing"
    )


def match(result: Any, leaves: Mapping[str, Leaf], inputs: Sequence[str], what: str) -> dict[str, Tensor | None]:
    """Which gradient in what backward returned belongs to which input.

    By name from a dict; by position from a sequence with one entry an input, or one an input that wants a gradient;
    a shorter one serves the first inputs, a loss's prediction before its target.

    Raises:
        SpecError: more gradients than inputs, or a name that fits none.
    """
    if not isinstance(result, Tensor) and isinstance(result, Mapping):
        return _match_names(result, inputs, what)
    real = [n for n in inputs if n in leaves and leaves[n].value.is_floating_point()]
    if isinstance(result, Tensor) and len(only := inputs if len(inputs) == 1 else real) == 1:
        return {n: gradient(result, n) for n in only if n in leaves}
    parts = list(result) if isinstance(result, (tuple, list)) else [result]
    wanted = [n for n in real if leaves[n].wanted]
    if len(parts) == len(inputs) + 1 and parts[0] is None:  # an rrule's, for the function itself
        parts = parts[1:]
    if len(parts) == 1 and parts[0] is None:
        return dict.fromkeys(wanted)
    names = next((c for c in (list(inputs), real, wanted) if len(c) == len(parts)), None)
    if names is None:
        if len(parts) > len(inputs):
            raise SpecError(f"backward of {what} returned {len(parts)} gradients for the inputs {', '.join(inputs)}")
        names = predicted_first(wanted if len(wanted) >= len(parts) else inputs)[: len(parts)]
    return {n: gradient(p, n) for n, p in zip(names, parts, strict=True) if n in leaves}


def gradient(value: Any, name: str) -> Tensor | None:
    """One gradient as a tensor of its own: a later run of the layer may write to the same memory."""
    return None if value is None else to_tensor(value, f"the gradient of {name}").detach()


def _match_names(result: Mapping[str, Any], inputs: Sequence[str], what: str) -> dict[str, Tensor | None]:
    owner = {alias: n for n in inputs for alias in (n, *gradient_names(n))}
    if strangers := [k for k in result if k not in owner]:
        raise SpecError(
            f"backward of {what} returned a gradient named {strangers[0]!r}, which fits no input "
            f"({', '.join(inputs)}): name it {'d' + inputs[0]!r} or the like"
        )
    return {owner[k]: gradient(v, owner[k]) for k, v in result.items()}
