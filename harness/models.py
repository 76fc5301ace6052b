"""Whole models as layers: a function that returns its loss with gradients, and objects run one after the other."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from harness.outcome import SpecError
from harness.reading.modes import forward_of
from harness.reading.scopes import captured
from harness.replay.sources import restored_later
from harness.request import positional_names
from harness.state.slots import walk
from harness.tensors.arrays import is_array


def value_and_grad(f: Callable[..., Any], params: Any = None) -> ValueAndGrad:
    """A function that returns its loss together with gradients, as a layer that `gradcheck` takes.

    Args:
        f: `f(*inputs) -> (loss, grads)`; grads is one array, one an input, or a dict by name, such as CS231n's
            `model.loss(X, y)`.
        params: the dict or list of arrays that f reads its parameters from; grads then has an entry for each.

    Returns:
        What `gradcheck` takes as a layer: called, it gives the loss; its backward gives the gradients that came with it.

    Raises:
        SpecError: f can't be called.

    Example:
        >>> import numpy as np
        >>> from harness import gradcheck
        >>> def loss(x):
        ...     return (x**2).sum(), 2 * x
        >>> gradcheck(value_and_grad(loss), np.array([[0.5, -1.0, 2.0]])).ok
        True
    """
    if not callable(f):
        raise SpecError(f"value_and_grad({f!r}): write a function f(*inputs) -> (loss, grads), such as model.loss")
    return ValueAndGrad(f, params)


class ValueAndGrad:
    """What `value_and_grad` makes: called, it gives the loss; its backward gives the gradients that came with it."""

    def __init__(self, f: Callable[..., Any], params: Any = None) -> None:
        self.f = f
        self.params = {} if params is None else params
        self.grads: Any = {}
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__signature__ = inspect.signature(f)

    @property
    def computes_like(self) -> Callable[..., Any]:
        """What tells the library that it computes with."""
        return self.f

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """The loss."""
        result = self.f(*inputs, **keywords)
        if not isinstance(result, tuple) or len(result) < 2:
            raise SpecError(f"{self.__name__} must return (loss, grads); it returned {type(result).__name__}")
        if isinstance(result[0], (Mapping, list, tuple)):
            kinds = ", ".join(type(part).__name__ for part in result)
            raise SpecError(f"{self.__name__} must return (loss, grads), the loss first; it returned ({kinds})")
        loss, self.came = result[0], result[1] if len(result) == 2 else result[1:]
        return loss

    def backward(self, dloss: Any = 1.0) -> Any:
        """The gradients of the inputs; those of `params` go to `grads`."""
        came = _scaled(self.came, dloss)
        if isinstance(came, Mapping) and isinstance(self.params, Mapping) and self.params:
            aliases = {f"d{n}": n for n in self.params} | {n: n for n in self.params}
            self.grads = {aliases[k]: g for k, g in came.items() if k in aliases}
            return {k: g for k, g in came.items() if k not in aliases} or None
        if len(self.params):
            self.grads = list(came) if isinstance(came, (tuple, list)) else [came]
            return None
        return came

    def __deepcopy__(self, memo: dict[int, Any]) -> ValueAndGrad:
        """A method is copied with its object; a function reads what it reads, which is given back afterwards."""
        if isinstance(self.f, FunctionType):
            for held in (self.params, *captured(self.f)):
                restored_later(_as_now(held))
            made = ValueAndGrad(self.f, self.params)
        else:
            made = ValueAndGrad(*copy.deepcopy((self.f, self.params), memo))
        memo[id(self)] = made
        return made


def _scaled(grads: Any, factor: Any) -> Any:
    if isinstance(grads, Mapping):
        return {k: _scaled(g, factor) for k, g in grads.items()}
    if isinstance(grads, (tuple, list)):
        return type(grads)(_scaled(g, factor) for g in grads)
    return None if grads is None else grads * factor


def _as_now(thing: Any) -> Callable[[], None]:
    """A function that puts the arrays inside something back: the same arrays, with the values that they have now."""
    kept = [(slot, slot.get(), copy.deepcopy(slot.get())) for slot in walk(thing)] if not is_array(thing) else []

    def restore() -> None:
        for slot, there, values in kept:
            there[...] = values
            if slot.get() is not there:
                slot.put(there)

    return restore


def chain(net: Any, *rest: Any) -> Chain:
    """Objects with forward and backward, one after the other, as one layer: `chain(net, loss)`.

    The last one is called with what the one before it gives and with the further inputs, such as labels.

    Args:
        net: the first, called with the first input.
        rest: those after it; backward goes through all of them in the opposite order.

    Returns:
        What `gradcheck` takes as a layer.

    Raises:
        SpecError: one of them has no forward or no backward.

    Example:
        >>> import torch
        >>> from harness import gradcheck
        >>> class Tanh:
        ...     def forward(self, x):
        ...         self.y = torch.tanh(x)
        ...         return self.y
        ...
        ...     def backward(self, dy):
        ...         return (1 - self.y**2) * dy
        >>> gradcheck(chain(Tanh(), Tanh()), torch.randn(4, 3)).ok
        True
    """
    for part in (net, *rest):
        if isinstance(part, type) or not callable(getattr(part, "backward", None)) or forward_of(part) is None:
            name = part.__name__ if isinstance(part, type) else type(part).__name__
            raise SpecError(f"chain(...): {name} is no object with forward and backward")
    last = rest[-1] if rest else net
    return (Chain if positional_names(last.backward) else LossChain)(net, *rest)


class Chain:
    """What `chain` makes."""

    def __init__(self, *parts: Any) -> None:
        self.count = len(parts)
        names = ("net", "loss") if len(parts) == 2 else tuple(f"part{k}" for k in range(len(parts)))
        for name, part in zip(names, parts, strict=True):
            setattr(self, name, part)
        self.names = names
        first, last = (forward_of(p) for p in (parts[0], parts[-1]))
        own = list(inspect.signature(first).parameters.values())[:1]  # type: ignore[arg-type]
        more = list(inspect.signature(last).parameters.values())[1:] if len(parts) > 1 else []  # type: ignore[arg-type]
        taken = {p.name for p in own}
        self.__signature__ = inspect.Signature(own + [p for p in more if p.name not in taken and p.default is p.empty])

    def __call__(self, x: Any, *targets: Any) -> Any:
        """The outputs of the last one."""
        *before, last = (getattr(self, n) for n in self.names)
        for part in before:
            x = forward_of(part)(x)  # type: ignore[misc]
        return forward_of(last)(x, *targets)  # type: ignore[misc]

    def backward(self, *cotangents: Any) -> Any:
        """The gradient of the first one's input."""
        for name in reversed(self.names):
            found = getattr(self, name).backward(*cotangents)
            cotangents = (found[0] if isinstance(found, (tuple, list)) else found,)
        return cotangents[0]


class LossChain(Chain):
    """One whose last is a loss with a backward that takes no argument."""

    def backward(self) -> Any:
        """The gradient of the first one's input."""
        return super().backward()
