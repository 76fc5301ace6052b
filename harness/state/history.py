"""What a layer gathers from one forward to the next: caches in lists that grow until somebody empties them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from harness.reading.holders import has_parts
from harness.state.slots import Slot, entries, inside
from harness.tensors.arrays import is_array

RESETS = ("flush", "reset", "clear", "empty", "zero")
"""How the name of a method begins that starts a layer anew. Without one, a list that grows is the layer's own affair: one
that answers with the first of its entries for ever is wrong."""

CARRIED = "{} keeps {} from call to call, and the output depends on it: every call begins as the first did"
"""What is said of what is given back before each run."""


@dataclass
class History:
    """The lists that grow by a forward, and what stands beside them: each forward that is judged begins with none."""

    lists: dict[str, Slot] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    """How many entries stay in a list that must not be empty."""
    counters: list[Slot] = field(default_factory=list)
    """What counts the forwards beside such lists: from zero, where they are empty."""
    unset: list[Slot] = field(default_factory=list)
    """Places that hold None as long as there was no backward."""

    @classmethod
    def of(cls, layer: Any, forward: Callable[[], Any]) -> History:
        """What three forwards show; `forward` may raise, and then there is no history."""
        found = cls()
        forward()
        before = [(s, type(v := s.get()), _measure(v)) for s in _places(layer)]
        forward()
        growth = {s.label: _measure(s.get()) - m for s, kind, m in before if kind is list and type(s.get()) is list}
        found.lists = {s.label: s for s, _, _ in before if growth.get(s.label, 0) > 0}
        if not found.lists:
            return cls()
        lengths = {s.label: m for s, _, m in before if s.label in found.lists}
        calls = min(m // growth[n] for n, m in lengths.items())
        found.kept = {n: m - calls * growth[n] for n, m in lengths.items()}
        found.counters = [s for s, kind, m in before if kind is int and type(v := s.get()) is int and v != m]
        found.unset = [s for s, _, _ in before if s.get() is None]
        found._settle(forward)
        return found

    def _settle(self, forward: Callable[[], Any]) -> None:
        """Empty the lists, those that a forward can do without altogether."""
        wanted, self.kept = self.kept, {}
        held = {n: list(s.get()) for n, s in self.lists.items()}
        self.rewind()
        try:
            forward()
        except Exception:  # it counts on what was there at the start
            self.kept = wanted
            for name, slot in self.lists.items():
                slot.put(held[name])
        self.rewind()

    def rewind(self) -> None:
        """Bring the layer to before its first forward."""
        for name, slot in self.lists.items():
            if isinstance(there := slot.get(), list):
                del there[self.kept.get(name, 0) :]
        for slot in self.counters:
            slot.put(0)
        for slot in self.unset:
            if slot.get() is not None:
                slot.put(None)

    def holds(self, name: str) -> bool:
        """Whether a place lies in one of the lists."""
        return any(name.startswith(f"{n}.") for n in self.lists)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report says."""
        if not self.lists:
            return ()
        listed = ", ".join(f"`{n}`" for n in [*self.lists][:3])
        if (more := len(self.lists) - 3) > 0:
            listed += f" and {more} more"
        return (f"every forward adds to {listed}: emptied before each, as one call of its own reset would",)

    def lines(self) -> list[str]:
        """The same for a script."""
        shrink = [f"del layer{s.code}[{self.kept.get(n, 0)}:]" for n, s in self.lists.items()]
        return shrink + [f"layer{s.code} = 0" for s in self.counters]


def lengths(layer: Any) -> list[tuple[str | int, int]]:
    """The length of every list that a forward may add to, in the order of `_places`, each with the name that it stands under."""
    found: list[tuple[str | int, int]] = []
    pending, seen = [(layer, False)], set[int]()
    while pending:
        thing, can_reset = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        can_reset = can_reset or _can_reset(type(thing))  # type: ignore[arg-type]
        held = entries(thing)
        if can_reset and not isinstance(thing, (list, tuple)):
            found += [(key, len(v)) for key, v in held if type(v) is list and _may_grow(v)]
        pending += [(v, can_reset) for _, v in reversed(held) if has_parts(v) and not is_array(v)]
    return found


def _may_grow(value: list[Any]) -> bool:
    """Whether it is a list of something else than layers alone."""
    return not value or any(is_array(v) or not hasattr(v, "__dict__") for v in value)


def _measure(value: Any) -> int:
    """The length of a list, the value of a counter; of no meaning for everything else."""
    return len(value) if isinstance(value, list) else value if isinstance(value, int) else 0


def _places(
    thing: Any, above: Slot | None = None, can_reset: bool = False, seen: set[int] | None = None
) -> Iterator[Slot]:
    """Every place inside an object that has a method to start anew."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    can_reset = can_reset or _can_reset(type(thing))  # type: ignore[arg-type]
    for key, value in entries(thing):
        if can_reset and not isinstance(thing, (list, tuple)):
            yield inside(thing, key, above)
        if not is_array(value) and has_parts(value):
            yield from _places(value, inside(thing, key, above), can_reset, seen)


@lru_cache(maxsize=1024)
def _can_reset(kind: type) -> bool:
    if issubclass(kind, (dict, list, tuple)):
        return False
    names = [n for k in kind.__mro__ for n in vars(k) if n.startswith(RESETS)]
    return any(callable(getattr(kind, n, None)) for n in names)
