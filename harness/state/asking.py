"""What a layer's backward asks for: cotangents, inputs again, a cache, a learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.reading.handed import MEMORIES, cache_of, handed_again, output_of, unnamed
from harness.reading.rates import Rate, rate_of, rates_on
from harness.reading.signatures import parameters_of
from harness.request import Request, input_names, is_output, positional_names, required_names
from harness.state.meaning import Meaning
from harness.subject import Leaf
from harness.tensors.nested import Arrangement


@dataclass(frozen=True)
class Demand:
    """What a backward asks for after a forward of so many outputs."""

    takes_cotangent: bool
    """Whether it takes one; some losses' take none."""
    repeated: tuple[str, ...]
    """Inputs that it asks for again, once a forward has shown how many outputs there are."""
    unnamed: str
    """The argument whose name does not tell what it is; empty where there is none."""
    most: int | None
    """How many cotangents it can take: what the forward gives beside as many outputs is not judged."""


@dataclass
class Asking:
    """A layer with its inputs, and what its last forward has shown of its backward."""

    layer: Any
    request: Request
    arguments: Mapping[str, Any]
    leaves: dict[str, Leaf]
    arranged: Arrangement = field(default_factory=lambda: Arrangement((), is_output), init=False)
    """How the outputs stood in what the last forward gave."""
    meaning: Meaning | None = field(default=None, init=False)
    """What the argument of backward is that is `unnamed`; None: not known."""
    meant: Mapping[str, str] = field(default_factory=dict, init=False)
    """What backward means by names that are none of forward's: inputs, or the output."""
    _demands: dict[tuple[int, Meaning | None], Demand] = field(default_factory=dict, init=False, repr=False)
    """What it asks for, found once for each number of outputs."""

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self.layer).__name__

    @cached_property
    def inputs(self) -> list[str]:
        """The names of the inputs, in the order of the call."""
        return input_names(self.arguments)

    @property
    def demand(self) -> Demand:
        """What backward asks for after the last forward."""
        key = (self.given, self.meaning)
        if key not in self._demands:
            self._demands[key] = self._demanded()
        return self._demands[key]

    def _demanded(self) -> Demand:
        repeated, variadic = self._repeated(), _variadic(self.layer.backward)
        known = None if self.meaning is None else self.meaning.is_cotangent
        if self.output_again:
            repeated = (*repeated, self.output_again)
        takes = len(self._names) > len(repeated) or variadic if known is None else known
        most = None if variadic or not self._names else max(1, len(self._cotangents) - len(repeated))
        plain = [n for n in self.asked if n != self.output_again]
        return Demand(takes, repeated, unnamed(plain, self.arguments, self.given), most)

    def _repeated(self) -> tuple[str, ...]:
        if self.meaning is not None:
            return tuple(n for n in self.asked if n in self.arguments)
        asked = [n for n in self.asked if n != self.output_again]
        return handed_again(asked, self.arguments, self.given, self._integers) if self.given else ()

    @cached_property
    def _names(self) -> list[str]:
        left_out = {n for n in self._positional if n not in self.required and n.lower() in MEMORIES}  # `state=None`
        return [n for n in self._positional if n != self.cached and n not in left_out]

    @cached_property
    def _positional(self) -> list[str]:
        return positional_names(self.layer.backward)

    @cached_property
    def _integers(self) -> list[str]:
        return [n for n, leaf in self.leaves.items() if not leaf.value.is_floating_point()]

    @cached_property
    def required(self) -> list[str]:
        """What backward can't do without."""
        return required_names(self.layer.backward)

    @cached_property
    def asked(self) -> list[str]:
        """The cotangents that backward can't do without, and values by forward's names for them."""
        return [self.meant.get(n, n) for n in self.required if n not in (self.rate, self.cached)]

    @cached_property
    def cached(self) -> str:
        """The argument of backward that forward returns beside its outputs; empty where it asks for none."""
        name = cache_of(self.required)
        return "" if name in self.arguments else name

    def returns_for(self, name: str) -> None:
        """What forward returns beside its output is for this argument of backward; none where it is empty."""
        if name:
            self.cached = name
            self._forget()

    def means(self, meant: Mapping[str, str]) -> None:
        """What backward means by names that are none of forward's; nothing where it is empty."""
        if meant:
            self.meant = meant
            self._forget()

    def _forget(self) -> None:
        self._demands.clear()
        for known in ("asked", "_names", "_cotangents"):
            vars(self).pop(known, None)

    @property
    def cache_first(self) -> bool:
        """Whether it stands before the cotangents."""
        return bool(self.cached) and self.required[:1] == [self.cached]

    @property
    def output_again(self) -> str:
        """The argument of backward that is the one output of forward; empty where it asks for none."""
        return output_of(self.asked, self.arguments) if self.given == 1 else ""

    @cached_property
    def rate(self) -> str:
        """The name of the learning rate that backward asks for; empty where it does not."""
        return rate_of(self.layer.backward, self.arguments)

    @cached_property
    def rates(self) -> list[Rate]:
        """The learning rates that stand on the layer where backward asks for none."""
        return [] if self.rate else rates_on(self.layer)

    @property
    def given(self) -> int:
        """How many outputs the last forward gave, a tuple of several counted as one."""
        return len(self.arranged.parts)

    def asks_for_more(self, asked: Sequence[str]) -> str:
        """What to write for a backward that asks for what nobody knows how to give it."""
        return (
            f"{self.name}.backward asks for {len(asked)} arguments ({', '.join(asked)}) "
            f"and the forward has {self.given} outputs: a backward is called with one cotangent an output, and with the "
            "inputs whose names it asks for; where that is another one, check a closure that calls it: "
            "def run(*inputs): return layer.forward(*inputs), lambda v: layer.backward(...)"
        )

    @cached_property
    def _cotangents(self) -> list[str]:
        beside = (self.rate, self.cached)
        return [n for n in self._names if n not in beside and not isinstance(_default(self.layer.backward, n), bool)]


def _default(function: Callable[..., Any], name: str) -> Any:
    return next(p.default for p in parameters_of(function) if p.name == name)


def _variadic(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x04) if hasattr(function, "__code__") else False
