"""Tuples and lists of arrays, at any depth, as arguments and as outputs: `forward(x, (h, c)) -> (y, (h, c))`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


def flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in an argument, by name: `state.0`, `state.1.0`; the argument itself where it is no tuple or list."""
    if not isinstance(value, (list, tuple)):
        yield name, value
        return
    for k, part in enumerate(value):
        yield from flat(f"{name}.{k}", part)


def leaves_of(value: Any) -> list[Any]:
    """The same without names."""
    return [part for _, part in flat("", value)]


def rebuilt(name: str, value: Any, put: Callable[[str, Any], Any]) -> Any:
    """The same tuples and lists around what `put` makes of each name and part."""
    if not isinstance(value, (list, tuple)):
        return put(name, value)
    return like(value, [rebuilt(f"{name}.{k}", part, put) for k, part in enumerate(value)])


def like(value: Any, parts: list[Any]) -> Any:
    """These parts in a tuple, named tuple or list of the same kind."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def grouped(parts: Mapping[str, Any]) -> dict[str, Any]:
    """{"x": …, "state": (…, …)} of `x`, `state.0` and `state.1`."""
    found: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        head, dot, rest = name.partition(".")
        if dot:
            inside.setdefault(head, {})[rest] = part
        found[head] = part
    return found | {head: tuple(grouped(those).values()) for head, those in inside.items()}


def level(returned: Any, names: Iterable[str]) -> Any:
    """Gradients without the tuples and lists among them; of a dict, those under the name of a nested argument among `names`
    get the names of its parts."""
    if isinstance(returned, (tuple, list)):
        return leaves_of(returned)
    if not isinstance(returned, Mapping):
        return returned
    nested = tuple(names)
    return dict(
        pair
        for key, value in returned.items()
        for pair in (flat(str(key), value) if any(str(key).endswith(n) for n in nested) else [(key, value)])
    )


class Arrangement:
    """How outputs stand in what a forward returned, so that a backward gets their cotangents in the same way."""

    def __init__(self, result: Any, is_output: Callable[[Any], bool]) -> None:
        parts = result if isinstance(result, (tuple, list)) else (result,)
        marked = [rebuilt("", p, lambda _, part: is_output(part)) for p in parts]
        self.parts = [m for m in marked if m is True or any(leaves_of(m))]
        """One an argument of backward: True, or a tuple or list of True and, for what is no output, False."""
        self.nested = any(p is not True for p in self.parts)
        """Whether one of them is a tuple or list."""

    @property
    def counts(self) -> list[int]:
        """How many outputs each of them has."""
        return [1 if p is True else sum(leaves_of(p)) for p in self.parts]

    def fitted(self, most: int | None) -> Arrangement:
        """From now on one by one, where there is an argument of backward for each output."""
        if self.nested and most == sum(self.counts) != len(self.parts):
            self.parts, self.nested = [True] * most, False
        return self

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The outputs' cotangents as the outputs stood; as many arguments as there are values for."""
        rest = iter(values)
        counts = self.counts
        enough = [k for k in range(len(self.parts)) if sum(counts[: k + 1]) <= len(values)]
        return [rebuilt("", self.parts[k], lambda _, real: next(rest) if real else None) for k in enough]

    def code(self, name: str) -> list[str]:
        """The same in a script, of a list of cotangents under this name."""
        numbers = iter(range(sum(self.counts)))
        return [_written(part, name, numbers) for part in self.parts]


def _written(part: Any, name: str, numbers: Iterator[int]) -> str:
    if not isinstance(part, (list, tuple)):
        return f"give({name}[{next(numbers)}])" if part else "None"
    inside = ", ".join(_written(p, name, numbers) for p in part)
    return f"[{inside}]" if isinstance(part, list) else f"({inside},)"
