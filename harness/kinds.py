"""The kinds of inputs that a layer has: `floats`, `ints`, `const`, and what a function draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from harness.dimensions import Dimensions, Sizes
from harness.outcome import SpecError
from harness.reading.signatures import spelt
from harness.tensors.nested import rebuilt

INT_NAMES = ("int64", "int32", "int16", "int8", "uint8")


@dataclass(frozen=True)
class Floats:
    """A real input over a domain. `grad`: whether a gradient is wanted (None: where backward returns one)."""

    dims: Dimensions
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    grad: bool | None = True

    def __repr__(self) -> str:
        usual = {"low": None, "high": None, "low_open": False, "high_open": False, "grad": True}
        return _written("floats", self.dims.text, {n: v for n in usual if (v := getattr(self, n)) != usual[n]})


@dataclass(frozen=True)
class Ints:
    """An integer input in [low, below); both bounds may be expressions in dimensions."""

    dims: Dimensions
    below: int | str
    low: int | str = 0
    dtypes: tuple[str, ...] = ("int64",)
    """Those that it comes in, one an example."""

    def __repr__(self) -> str:
        words: dict[str, Any] = {"below": self.below}
        words |= {"low": self.low} if self.low != 0 else {}
        words |= {"dtype": self.dtypes} if self.dtypes != ("int64",) else {}
        return _written("ints", self.dims.text, words)


def _written(kind: str, shape: str, words: dict[str, Any]) -> str:
    """An input as its author writes it."""
    return f"{kind}({', '.join([repr(shape), *(f'{n}={v!r}' for n, v in words.items())])})"


@dataclass(frozen=True)
class Drawn:
    """An input that a function draws from dimensions and a `rng` (`numpy.random.Generator`)."""

    draw: Callable[..., Any]


@dataclass(frozen=True)
class Const:
    """A float input of `gradcheck` without gradient."""

    value: Any


InputKind = Floats | Ints | Drawn


@spelt
def floats(
    shape: str,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
    grad: bool | None = True,
) -> Floats:
    """A real input of the given shape with values in [low, high], the layer's domain.

    Args:
        shape: a dimension expression such as "B D".
        low: the smallest value, None for no bound.
        high: the largest value, None for no bound.
        low_open: whether `low` itself is excluded.
        high_open: whether `high` itself is excluded.
        grad: whether backward must return its gradient; None: where it returns one.

    Raises:
        SpecError: an empty domain, an end that is no finite number, or no dimension expression.

    Example:
        >>> floats("B D", low=0, low_open=True).dims.shape({"B": 4, "D": 3})  # of a logarithm
        (4, 3)
    """
    ends: dict[str, Any] = {"low": low, "high": high}
    for name, end in ends.items():
        if end is not None and not (isinstance(end, Real) and math.isfinite(end)):
            raise SpecError(f"floats({name}={end!r}): write a number, or None where there is no bound")
    if low is not None and high is not None and not low < high:
        raise SpecError(f"floats(low={low}, high={high}): the domain is empty; low must be below high")
    return Floats(Dimensions(shape), low, high, low_open, high_open, grad)


@spelt
def ints(shape: str, below: int | str, low: int | str = 0, dtype: str | Sequence[str] = "int64") -> Ints:
    """An integer input (labels, token ids) with values in [low, below); no gradient is wanted.

    Args:
        shape: a dimension expression such as "B".
        below: an integer or an expression such as "C": values stay below it.
        low: the smallest value, an integer or an expression.
        dtype: int64, int32, int16, int8 or uint8; of several each example has one.

    Raises:
        SpecError: another dtype, no number in [low, below), or no dimension expression.

    Example:
        >>> ints("B", below="C").dims.shape({"B": 4, "C": 10})  # labels of C classes
        (4,)
    """
    dtypes = (dtype,) if isinstance(dtype, str) else tuple(dtype)
    if not dtypes or set(dtypes) - set(INT_NAMES):
        raise SpecError(f"ints(dtype={dtype!r}): write one or several of {', '.join(INT_NAMES)}")
    if isinstance(low, int) and isinstance(below, int) and not low < below:
        raise SpecError(f"ints(low={low}, below={below}): there is no such number; low must be less than below")
    return Ints(Dimensions(shape), below, low, dtypes)


def const(x: Any) -> Any:
    """Mark a float input of `gradcheck` that has no gradient: a target, a mask, a constant.

    Args:
        x: an array of any shape, or a tuple, list or dict, of which all arrays are marked.

    Returns:
        What `gradcheck` takes in its place.

    Example:
        >>> import torch
        >>> from harness import gradcheck
        >>> class Masked:
        ...     def forward(self, x, mask):
        ...         self.mask = mask
        ...         return x * mask
        ...
        ...     def backward(self, dy):
        ...         return self.mask * dy
        >>> gradcheck(Masked(), torch.randn(4, 3), const(torch.tensor([0.5, 1.0, 2.0]))).ok
        True
    """
    return rebuilt("", x, lambda _, part: Const(part))


def kind_of(given: Any) -> InputKind:
    """What an entry of a spec's `inputs` stands for.

    Raises:
        SpecError: nothing that is known.
    """
    if isinstance(given, str):
        return floats(given)
    if isinstance(given, (Floats, Ints, Drawn)):
        return given
    if callable(given):
        return Drawn(given)
    raise SpecError(
        f"inputs: {given!r} is no input: write a shape such as 'B D', floats('B D', low=0), ints('B', below='C') "
        "or a function such as `lambda B, rng: rng.normal(size=B)`"
    )


def dimension_names(kind: InputKind) -> tuple[str, ...]:
    """The dimensions that its shape and bounds name."""
    return () if isinstance(kind, Drawn) else (*kind.dims.names, *bound_names(kind))


def bound_names(kind: InputKind) -> tuple[str, ...]:
    """The dimensions that bound its values: labels of C classes, indices of V rows."""
    bounds = (kind.below, kind.low) if isinstance(kind, Ints) else ()
    return tuple(n for b in bounds if isinstance(b, str) for n in Dimensions(b).names)


def size_expression(bound: int | str, sizes: Sizes) -> int:
    """The value of a bound such as 3, "C" or "C-1" at the given sizes."""
    return bound if isinstance(bound, int) else Dimensions(bound).shape(sizes)[0]
