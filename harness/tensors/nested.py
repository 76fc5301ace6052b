"""Tuples, lists and dicts of arrays, at any depth, as arguments and as outputs: `forward(x, (h, c)) -> (y, (h, c))`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any

from harness.reading.holders import is_mapping


def parts_in(value: Any) -> list[tuple[Any, Any]] | None:
    """What stands in a tuple, list or dict, by position or key; None where it is none of them.

    A dict with words or numbers in it, such as a `bn_param`, is one thing.
    """
    if is_mapping(value) and value and not any(type(v) in _SETTINGS for v in value.values()):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, (list, tuple)) else None


_SETTINGS = (str, bool, int, float)


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in an argument, by name: `state.0`, `state.1.h`; the argument itself where it is no tuple, list or dict."""
    if (parts := parts_in(value)) is None:
        yield name, value
        return
    for k, part in parts:
        yield from flat(f"{name}.{k}", part)


def leaves_of(value: Any) -> list[Any]:
    """The same without names."""
    return [part for _, part in flat("", value)]


def rebuilt(name: str, value: Any, put: Callable[[str, Any], Any]) -> Any:
    """The same tuples, lists and dicts around what `put` makes of each name and part."""
    if (parts := parts_in(value)) is None:
        return put(name, value)
    return like(value, [rebuilt(f"{name}.{k}", part, put) for k, part in parts])


def like(value: Any, parts: list[Any]) -> Any:
    """These parts in a tuple, named tuple, list or dict of the same kind."""
    if isinstance(value, Mapping):
        made = copy.copy(value) if isinstance(value, MutableMapping) else dict(value)
        made.update(zip(list(value), parts, strict=True))
        return made
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def grouped(parts: Mapping[str, Any]) -> dict[str, Any]:
    """{"x": …, "state": (…, …)} of `x`, `state.0` and `state.1`; a dict of what has names."""
    found: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        head, dot, rest = name.partition(".")
        if dot:
            inside.setdefault(head, {})[rest] = part
        found[head] = part
    made = {head: grouped(those) for head, those in inside.items()}
    return found | {head: tuple(p.values()) if all(map(str.isdecimal, p)) else p for head, p in made.items()}


_OUTPUT = ...
"""Stands where an output stood."""


class Arrangement:
    """How outputs stand in what a forward returned, so that a backward gets their cotangents in the same way."""

    def __init__(self, result: Any, is_output: Callable[[Any], bool]) -> None:
        parts = result if isinstance(result, (tuple, list)) else (result,)
        marked = [rebuilt("", p, lambda _, part: _OUTPUT if is_output(part) else None) for p in parts]
        self.parts = [m for m in marked if _OUTPUT in leaves_of(m)]
        """One an argument of backward: a mark, or a tuple, list or dict of such and, for what is no output, None."""
        self.nested = any(p is not _OUTPUT for p in self.parts)
        """Whether one of them is a tuple, list or dict."""

    @classmethod
    def of(cls, result: Any, is_output: Callable[[Any], bool]) -> Arrangement:
        """That of what a forward returned; commonly one array, which needs no look inside."""
        return ONE if is_output(result) else cls(result, is_output)

    @cached_property
    def counts(self) -> list[int]:
        """How many outputs each of them has."""
        return [leaves_of(p).count(_OUTPUT) for p in self.parts]

    def fitted(self, most: int | None) -> Arrangement:
        """One by one, where there is an argument of backward for each output."""
        if self.nested and most == sum(self.counts) != len(self.parts):
            return Arrangement([_OUTPUT] * most, lambda part: part is _OUTPUT)
        return self

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The outputs' cotangents as the outputs stood; as many arguments as there are values for."""
        if not self.nested:
            return list(values[: len(self.parts)])
        rest, counts = iter(values), self.counts
        enough = [k for k in range(len(self.parts)) if sum(counts[: k + 1]) <= len(values)]
        return [rebuilt("", self.parts[k], lambda _, real: next(rest) if real else None) for k in enough]

    def code(self, name: str) -> list[str]:
        """The same in a script, of a list of cotangents under this name."""
        numbers = iter(range(sum(self.counts)))
        return [_written(part, name, numbers) for part in self.parts]


ONE = Arrangement(_OUTPUT, lambda part: part is _OUTPUT)
"""That of one output alone."""


def _written(part: Any, name: str, numbers: Iterator[int]) -> str:
    if not isinstance(part, (list, tuple, Mapping)):
        return f"give({name}[{next(numbers)}])" if part else "None"
    return bracketed(part, [_written(p, name, numbers) for _, p in parts_in(part) or ()])


def bracketed(value: Any, parts: Sequence[str]) -> str:
    """Code of a tuple, list or dict like `value`, of the code of its parts."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(value, parts, strict=True)) + "}"
    return f"[{', '.join(parts)}]" if isinstance(value, list) else f"({', '.join(parts)},)"
