"""Callables that compute with tensors which they hold: in closures, globals, defaults, on objects, in modules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, wraps
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from layers_autograd import RIGHT, WRONG, affine_of
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def weights() -> tuple[Tensor, Tensor]:
    """In float32, as people make them."""
    w = torch.linspace(-1.0, 1.5, 6).reshape(3, 2)
    return w.requires_grad_(), torch.zeros(2, requires_grad=True)


w, b = weights()
right, wrong = affine_of(RIGHT), affine_of(WRONG)
table = torch.linspace(0.5, 1.0, 2)


def by_globals(x: Tensor) -> Tensor:
    return right.apply(x, w, b)


def by_globals_wrong(x: Tensor) -> Tensor:
    return wrong.apply(x, w, b)


def by_a_helper(x: Tensor) -> Tensor:
    return by_globals(x).tanh()


def by_a_helper_wrong(x: Tensor) -> Tensor:
    return by_globals_wrong(x).tanh()


def by_closure(factor: float) -> Any:
    function, (w, b) = affine_of(factor), weights()
    return lambda x: function.apply(x, w, b)


def by_defaults(factor: float) -> Any:
    function, (first, second) = affine_of(factor), weights()

    def affine(x: Tensor, w: Tensor = first, *, b: Tensor = second) -> Tensor:
        return function.apply(x, w, b)

    return affine


def by_partial(factor: float) -> Any:
    function, (w, b) = affine_of(factor), weights()
    return partial(lambda w, x, b: function.apply(x, w, b), w, b=b)


def by_containers(factor: float) -> Any:
    function, (w, b) = affine_of(factor), weights()
    state = {"first": (w, [b])}
    return lambda x: function.apply(x, state["first"][0], state["first"][1][0])


def by_module(factor: float) -> Any:
    """Batch normalisation in train moves its running statistics at each forward."""
    function, (w, b) = affine_of(factor), weights()
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Tanh())
    return lambda x: function.apply(net(x), w, b)


def by_decorator(factor: float) -> Any:
    """A function inside the closure of its wrapper."""
    inner = by_closure(factor)

    @wraps(inner)
    def outer(*inputs: Tensor) -> Tensor:
        return 2 * inner(*inputs)

    return outer


class Net:
    """A method of an object that is no module; `shared` stands in its class."""

    shared = torch.ones(2, requires_grad=True)

    def __init__(self, factor: float) -> None:
        self.function, (self.w, self.b) = affine_of(factor), weights()

    def loss(self, x: Tensor) -> Tensor:
        return (self.shared * self.function.apply(x, self.w, self.b)).square().mean()


class Callable(Net):
    """The object itself."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.loss(x)


def forward_of_module(factor: float) -> Any:
    """A method of a module."""

    class Affine(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            w, b = weights()
            self.w, self.b = torch.nn.Parameter(w), torch.nn.Parameter(b)

        def transform(self, x: Tensor) -> Tensor:
            return affine_of(factor).apply(x, self.w, self.b)

    return Affine().transform


def twice(factor: float) -> Any:
    """One tensor in two places: both are it."""
    function, (w, b) = affine_of(factor), weights()
    again = [w]
    return lambda x: function.apply(x, w, b) + x @ again[0]


def unsaved(factor: float) -> Any:
    """Its backward reads the weight from around it, and it is not handed it a second time."""
    w, _ = weights()

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, _: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x @ w

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return dy @ w.T, factor * ctx.saved_tensors[0].T @ dy

    hold = {"w": w}
    return lambda x: Product.apply(x, hold["w"])


@dataclass(frozen=True)
class Frozen:
    """Nothing can be set on it in the common way."""

    w: Tensor
    rest: tuple[Tensor, ...]


def by_frozen(factor: float) -> Any:
    function, (w, b) = affine_of(factor), weights()
    held = Frozen(w, (b,))
    return lambda x: function.apply(x, held.w, held.rest[0])


settings = ModuleType("settings")
settings.w, settings.b = weights()  # type: ignore[attr-defined]


def by_settings(factor: float) -> Any:
    """What stands in another module, named by it."""
    function = affine_of(factor)
    return lambda x: function.apply(x, settings.w, settings.b)  # type: ignore[attr-defined]


def by_another_file(factor: float) -> Any:
    """A function of another module of one's own, and that module's globals."""
    scope = {"__name__": "other", "function": affine_of(factor), **dict(zip("wb", weights(), strict=True))}
    exec("def affine(x):\n    return function.apply(x, w, b)", scope)
    affine = scope["affine"]
    return lambda x: affine(x).tanh()


class Shared:
    """Tensors in a class."""

    function: Any
    w: Tensor
    held: tuple[Tensor, ...]

    @classmethod
    def transform(cls, x: Tensor) -> Tensor:
        return cls.function.apply(x, cls.w, cls.held[0])  # type: ignore[no-any-return]


def by_class(factor: float) -> Any:
    w, b = weights()
    return type("Made", (Shared,), {"function": affine_of(factor), "w": w, "held": (b,)}).transform


def hidden() -> dict[str, Any]:
    """What reaches a tensor where it is not looked for: {how: function}."""
    w, b = weights()
    queue, read_only = deque([w]), MappingProxyType({"w": w})

    @lru_cache
    def remembered() -> Tensor:
        return w

    class Lazy:
        def __init__(self) -> None:
            self.base = w

        @cached_property
        def doubled(self) -> Tensor:
            return 2 * self.base

        def transform(self, x: Tensor) -> Tensor:
            return x @ self.doubled + b

    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ settings.w  # type: ignore[attr-defined, no-any-return]

    return {
        "a queue": lambda x: x @ queue[0].to(x.dtype) + b,
        "a mapping that takes nothing": lambda x: x @ read_only["w"].to(x.dtype) + b,
        "a function that remembers": lambda x: x @ remembered().to(x.dtype) + b,
        "a property that remembers": Lazy().transform,
        "a module's global": Module(),
    }


def made_anew(x: Tensor) -> Tensor:
    """A tensor that each call makes for itself is nobody's parameter."""
    return x @ torch.eye(3, dtype=x.dtype).requires_grad_()


class Keeping:
    """It counts its calls, keeps its inputs and writes to arrays, names and lists around it."""

    def __init__(self) -> None:
        self.calls, self.seen, self.count = 0, list[Tensor](), torch.zeros(2, dtype=torch.int64)

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        self.count += 1
        self.last = x
        return x.square()


def keeping() -> tuple[Any, Any]:
    """A function, and what it keeps: in a variable, a dict, and on itself."""
    calls, cache, made = 0, dict[str, Any](), Keeping()

    def function(x: Tensor) -> Tensor:
        nonlocal calls
        calls, function.last = calls + 1, x  # type: ignore[attr-defined]
        cache["x"] = x
        return made(x) * 2

    return function, lambda: (
        calls,
        dict(cache),
        vars(made).copy(),
        list(made.seen),
        made.count.tolist(),
        vars(function).copy(),
    )


class Around(torch.autograd.Function):
    """It computes with a global that it is not handed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x @ w

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return dy @ w.T


class Table(torch.autograd.Function):
    """It computes with a constant in its class."""

    factor = 1.0
    values = torch.linspace(0.5, 1.0, 3)

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * Table.values

    @classmethod
    def backward(cls, ctx: Any, dy: Tensor) -> Any:
        return cls.factor * dy * Table.values


class WrongTable(Table):
    """The same, wrong."""

    factor = 2.0


class Checkpointed(torch.nn.Module):
    """Its backward runs the forward again, with the parameters that it finds then; two parts share a weight."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.function = affine_of(factor)

    def inner(self, x: Tensor) -> Tensor:
        return self.function.apply(self.first(x), self.second.weight, self.second.bias)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)  # type: ignore[no-any-return, no-untyped-call]


matrix = torch.linspace(-1.0, 1.5, 6).reshape(3, 2)
array = matrix.double().numpy()
unused = array.copy()
table_of = {"b": np.ones(2)}


def closure_of_arrays(x: Any) -> Any:
    unused  # noqa: B018
    return x @ array + table_of["b"], lambda g: g @ array.T


def closure_handed(x: Any, w: Any) -> Any:
    return x @ w, lambda g: (g @ w.T, x.T @ g)


def closure_of_tensors(x: Tensor) -> Any:
    return x @ matrix.to(x), lambda g: g @ matrix.to(x).T


def closure_of_parameters(x: Tensor) -> Any:
    own = w.detach().to(x)
    return x @ own, lambda g: g @ own.T


def pair_of_arrays_forward(x: Any) -> Any:
    return x @ array, x


def pair_of_arrays_backward(g: Any, x: Any) -> Any:
    return g @ array.T
