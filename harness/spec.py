"""What a user says about a layer: `LayerSpec`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import index
from typing import Any

from harness.builds import from_string, is_layer, namespace_of, wanted_by
from harness.kinds import Drawn, InputKind, dimension_names, kind_of
from harness.outcome import SpecError
from harness.reading.signatures import misspelt
from harness.spelling import among

RESERVED = ("mode", "generator", "rng", "dtype", "device")
PROMISES = ("unbiased", "accumulates", "overwrites", "reentrant", "shared_mask", "owns", "portable", "stable")
DTYPE_NAMES = ("float64", "float32", "bfloat16", "float16")
DEFAULT_SIZES = tuple(range(1, 7))

NO_REFERENCE = "{}={!r} can't be called: write a function, such as torch.tanh or a lambda"
"""What is said of a reference that is no function."""

MAPPINGS = {
    "dims": "{name: sizes}, such as {'D': range(1, 7)}",
    "options": "{name: values}, such as {'p': (0.0, 0.5)}",
    "grads": "{parameter: name of its gradient}, such as {'W': 'dW'}",
    "gaps": "{check name: why}, such as {'float16': 'overflows'}",
    "kwargs": "{keyword of forward: value}, such as {'train': True}",
}
"""What is asked for as a dict, and how it is written."""


@dataclass(frozen=True, eq=False)
class LayerSpec:
    """A layer over random shapes, values, parameters, cotangents and modes.

    Args:
        build: a class, function or string such as "MyLayer(D)", or a layer that is copied. Its parameters are
            dimensions, options, or the reserved names mode, generator, rng, dtype, device; those with a default that
            are none of these are left alone.
        inputs: a dimension expression such as "B D", or a tuple of expressions, `floats(...)`, `ints(...)` and
            functions of dimensions and `rng`.
        name: default: from what `build` returns.
        modes: default: ("train", "eval") if the layer has modes. A mapping names forward's keywords:
            {"train": {"is_train": True}, "eval": {"is_train": False}}.
        dims: the sizes each dimension takes; default 1 to 6, and two examples with a large one.
        options: {name: values}; every value occurs in the examples.
        dtypes: default: float64 on a copy where the layer accepts it, else the widest that it accepts.
        reference: the same function by other means; called with the inputs, and by name with parameters, buffers,
            dims, options and mode, as far as it names them. Buffers that it moves in place (those it is handed are copies)
            are what the layer's must become. One that asks for `generator` or `rng` draws what the layer draws.
        derivative_of: the function whose derivative backward declares (straight-through estimators).
        grads: {parameter: name of its gradient}, only where discovery needs help; None: it has no gradient.
        promises: any of "unbiased", "accumulates", "overwrites", "reentrant", "shared_mask", "owns" (what is returned
            shares no memory with what was handed over), "portable" (what is made anew is made where the inputs are),
            "stable" (outputs are finite in lower precisions too wherever the reference's are, and gradients of a forward that
            stays in float16's range are there).
        resolution: the relative error that must be seen; default 1e-6 in float64, 1e-3 in float32.
        gaps: {check name: why} for known gaps; one that no longer fails is itself a failure.

    Raises:
        SpecError: anything in it that can't be used, with what to write instead.

    Example:
        >>> class Scaled:
        ...     def __init__(self, D):
        ...         self.gamma = np.ones(D)
        ...
        ...     def forward(self, x):
        ...         self.x = x
        ...         return self.gamma * x
        ...
        ...     def backward(self, dy):
        ...         self.dgamma = (self.x * dy).sum(0)
        ...         return self.gamma * dy
        >>> import numpy as np
        >>> from harness import check
        >>> check(LayerSpec(build=Scaled, inputs="B D"), examples=5, only=["gradient"]).failures
        []
    """

    build: Any
    inputs: str | InputKind | Callable[..., Any] | Sequence[str | InputKind | Callable[..., Any]]
    name: str | None = None
    modes: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None
    dims: Mapping[str, Iterable[int]] = field(default_factory=dict)
    options: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    dtypes: Sequence[str] | None = None
    reference: Callable[..., Any] | None = None
    derivative_of: Callable[..., Any] | None = None
    grads: Mapping[str, str | None] = field(default_factory=dict)
    promises: Sequence[str] = ()
    resolution: float | None = None
    gaps: Mapping[str, str] = field(default_factory=dict)

    def __new__(cls, *given: Any, **words: Any) -> LayerSpec:
        """A misspelt keyword is told."""
        misspelt(cls.__name__, words, [f.name for f in fields(cls) if f.init])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        self._check_types()
        if isinstance(self.promises, str):
            set_(self, "promises", (self.promises,))
        set_(self, "kinds", tuple(kind_of(i) for i in _as_tuple(self.inputs)))
        set_(self, "sizes", self._sizes())
        set_(self, "options", {name: _values(name, values) for name, values in self.options.items()})
        if isinstance(self.build, str):
            set_(self, "build", _from_string(self.build, self._known()))
        self._check_words()

    kinds: tuple[InputKind, ...] = field(init=False)
    sizes: Mapping[str, tuple[int, ...]] = field(init=False)

    def __str__(self) -> str:
        built = getattr(self.build, "__name__", type(self.build).__name__)
        return f"LayerSpec(build={built}, inputs={self.inputs!r})"

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        named = [n for kind in self.kinds for n in dimension_names(kind)]
        drawn = [n for kind in self.kinds if isinstance(kind, Drawn) for n in inspect.signature(kind.draw).parameters]
        unknown = [n for n in drawn if n not in (*named, *self.dims, *self.options, "rng")]
        if unknown:
            raise SpecError(
                f"the input function asks for {unknown[0]!r}, which is no dimension: give it sizes with "
                f"dims={{{unknown[0]!r}: range(1, 7)}}"
            )
        sizes = dict.fromkeys(dict.fromkeys(named), DEFAULT_SIZES)
        sizes.update({name: _dimension_sizes(name, values) for name, values in self.dims.items()})
        return sizes

    @cached_property
    def starred(self) -> tuple[str, ...]:
        """The dimensions that stand for any number of axes."""
        return tuple(dict.fromkeys(n for k in self.kinds if not isinstance(k, Drawn) for n in k.dims.starred))

    def _known(self) -> set[str]:
        return {*self.sizes, *self.starred, *self.options, *RESERVED}

    def _check_types(self) -> None:
        for name, shown in MAPPINGS.items():
            if not isinstance(given := getattr(self, name, {}), Mapping):
                raise SpecError(f"{name}={given!r}: write a dict, {shown}")
        for name in ("reference", "derivative_of"):
            if (given := getattr(self, name)) is not None and not callable(given):
                raise SpecError(NO_REFERENCE.format(name, given))
        for mode, keywords in self.modes.items() if isinstance(self.modes, Mapping) else ():
            if not isinstance(keywords, Mapping):
                raise SpecError(
                    f"modes={{{mode!r}: {keywords!r}}}: write forward's keywords in that mode, such as {{'is_train': True}}"
                )

    def _check_words(self) -> None:
        for promise in self.promises:
            if promise not in PROMISES:
                raise SpecError(f"there is no promise {promise!r}: {among(promise, PROMISES)}")
        if {"accumulates", "overwrites"} <= set(self.promises):
            raise SpecError("promises: gradients either accumulate or are overwritten: write one of the two")
        if isinstance(self.modes, str) or set(self.modes or ()) - {"train", "eval"}:
            raise SpecError(
                f'modes={self.modes!r}: write ("train", "eval"), one of them, or a mapping of them to keywords'
            )
        listed = self.dtypes is None or (isinstance(self.dtypes, Iterable) and not isinstance(self.dtypes, str))
        if not listed or set(self.dtypes or ()) - set(DTYPE_NAMES):
            raise SpecError(f"dtypes={self.dtypes!r}: write a tuple of {', '.join(DTYPE_NAMES)}")
        resolvable(self.resolution)
        if not callable(self.build) and not is_layer(self.build):
            raise SpecError(f"build={self.build!r} is neither a class, a function, a string nor a layer")
        self._check_used()

    def _check_used(self) -> None:
        """Every option and dimension goes somewhere: one that is misspelt would silently never vary."""
        asked = {*self.build_arguments(), *(n for k in self.kinds for n in dimension_names(k))}
        functions = [
            f for f in (self.reference, self.derivative_of, *(k.draw for k in self.kinds if isinstance(k, Drawn))) if f
        ]
        for function in functions:
            asked |= {p.name for p in wanted_by(function)}
        takes_any = self.builds and any(p.kind is p.VAR_KEYWORD for p in wanted_by(self.build))
        for kind, names in (("options", self.options), ("dims", self.dims)):
            if unused := [n for n in names if n not in asked and not takes_any]:
                raise SpecError(f"{kind}={{{unused[0]!r}: ...}} is used nowhere: build takes {self._taken(unused)}")

    def _taken(self, unused: Sequence[str]) -> str:
        """What build is called with, and, where that is nothing, how it would be called with what is used nowhere."""
        words = ", ".join(unused)
        if not self.builds:
            return "nothing, since build is a layer already"
        if taken := ", ".join(p.name for p in wanted_by(self.build)):
            return taken
        source = self.build.__name__ if namespace_of(self.build) is not None else ""
        made = f"{source!r} makes it of nothing: write build='{source}({words})'"
        other = f"no arguments: write build=lambda {words}: ..."
        return f"no arguments, {made}" if source.isidentifier() else other

    def build_arguments(self) -> tuple[str, ...]:
        """The names that `build` is called with."""
        if not self.builds:
            return ()
        known, wanted = self._known(), []
        for p in wanted_by(self.build):
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                continue
            if p.name in known:
                wanted.append(p.name)
            elif p.default is p.empty:
                raise SpecError(self._unknown_argument(p.name))
        return tuple(wanted)

    def _unknown_argument(self, name: str) -> str:
        built = getattr(self.build, "__name__", "build")
        who, made = built, f"lambda {', '.join(self.sizes)}: {built}(..., {name}=value)"
        if built == "<lambda>":  # which of a file's specs, and the lambda as it would be
            who = f"the build of {self.name!r}" if self.name else "the lambda given as build"
            made = f"lambda {', '.join([*self.sizes, f'{name}=value'])}: ..."
        return (
            f"{who} asks for {name!r}, which is neither a dimension ({', '.join(self.sizes) or 'none'}) nor an option "
            f"({', '.join(self.options) or 'none'}) nor reserved ({', '.join(RESERVED)}). Write one of\n"
            f"    LayerSpec(build=..., options={{{name!r}: (value_1, value_2)}}, ...)   # each value occurs\n"
            f"    LayerSpec(build=..., dims={{{name!r}: range(1, 7)}}, ...)             # a size\n"
            f"    LayerSpec(build={made}, ...)"
        )

    @property
    def builds(self) -> bool:
        """Whether `build` makes a layer; False where it is one."""
        return not is_layer(self.build)


def resolvable(resolution: Any) -> None:
    """A relative error, or None for what the dtype has.

    Raises:
        SpecError: it is neither.
    """
    if resolution is not None and not (isinstance(resolution, (int, float)) and 0 < resolution < 1):
        raise SpecError(f"resolution={resolution!r}: write the relative error that must be seen, such as 1e-6")


def _as_tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def _dimension_sizes(name: str, values: Any) -> tuple[int, ...]:
    found = [_integer(n) for n in values] if isinstance(values, Iterable) and not isinstance(values, str) else []
    if not found or any(n is None or n < 0 for n in found):
        raise SpecError(f"dims={{{name!r}: {values!r}}}: write the sizes it may take, such as range(1, 7) or [16, 64]")
    return tuple(sorted({n for n in found if n is not None}))


def _integer(value: Any) -> int | None:
    """A whole number of whatever kind, NumPy's and torch's too; None of anything else."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def _values(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SpecError(f"options={{{name!r}: {values!r}}}: write the values it may take, such as ({values!r},)")
    if not (found := tuple(values)):
        raise SpecError(f"options={{{name!r}: ()}} has no value")
    return found


def _from_string(source: str, known: set[str]) -> Callable[..., Any]:
    """`"MyLayer(D)"` as a function of the dimensions in it, in the namespace of whoever wrote the spec."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "dataclasses"):
        frame = frame.f_back
    return from_string(source, known, {**frame.f_globals, **frame.f_locals})
