"""What a layer's backward asks for: cotangents, inputs again, a cache, a learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.handed import cache_of, handed_again, unnamed
from harness.meaning import Meaning
from harness.nested import Arrangement
from harness.rates import Rate, rate_of, rates_on
from harness.request import Request, input_names, is_output, positional_names, required_names
from harness.signatures import parameters_of
from harness.subject import Leaf


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

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self.layer).__name__

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in the order of the call."""
        return input_names(self.arguments)

    @property
    def takes_cotangent(self) -> bool:
        """Whether backward takes one; some losses' take none."""
        if self.meaning is not None:
            return self.meaning.is_cotangent
        return len(self._names) > len(self.repeated) or _variadic(self.layer.backward)

    @cached_property
    def _names(self) -> list[str]:
        return [n for n in positional_names(self.layer.backward) if n != self.cached]

    @property
    def repeated(self) -> tuple[str, ...]:
        """Inputs that backward asks for again, once a forward has shown how many outputs there are."""
        if self.meaning is not None:
            return tuple(n for n in self.asked if n in self.arguments)
        return handed_again(self.asked, self.arguments, self.given, self._integers) if self.given else ()

    @cached_property
    def _integers(self) -> list[str]:
        return [n for n, leaf in self.leaves.items() if not leaf.value.is_floating_point()]

    @property
    def unnamed(self) -> str:
        """The argument of backward whose name does not tell what it is; empty where there is none."""
        return unnamed(self.asked, self.arguments, self.given)

    @cached_property
    def asked(self) -> list[str]:
        """The cotangents that backward can't do without."""
        return [n for n in required_names(self.layer.backward) if n not in (self.rate, self.cached)]

    @cached_property
    def cached(self) -> str:
        """The argument of backward that forward returns beside its outputs; empty where it asks for none."""
        name = cache_of(required_names(self.layer.backward))
        return "" if name in self.arguments else name

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

    @property
    def most(self) -> int | None:
        """How many cotangents backward can take: what the forward gives beside as many outputs is not judged."""
        if _variadic(self.layer.backward) or not self._names:
            return None
        return max(1, len(self._cotangents) - len(self.repeated))

    @cached_property
    def _cotangents(self) -> list[str]:
        beside = (self.rate, self.cached)
        return [n for n in self._names if n not in beside and not isinstance(_default(self.layer.backward, n), bool)]


def _default(function: Callable[..., Any], name: str) -> Any:
    return next(p.default for p in parameters_of(function) if p.name == name)


def _variadic(function: Callable[..., Any]) -> bool:
    return bool(function.__code__.co_flags & 0x04) if hasattr(function, "__code__") else False
