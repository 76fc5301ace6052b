"""What functions keep from one call to the next, in closures, globals, containers and on objects: put back afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.functions.held import held_by
from harness.reading.scopes import are_near
from harness.replay.sources import first_seen
from harness.state.slots import Slot

_PLAIN = (bool, int, float, str, bytes, type(None))

FUNCTIONS = (FunctionType, MethodType, partial)


@dataclass
class Kept:
    """Names with what they are bound to, and what gives containers and arrays their entries again."""

    bound: list[tuple[Slot, Any]] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)
    entries: list[tuple[str, Any, Any]] = field(default_factory=list)
    """Containers by name, with copies of what was in them."""

    def __call__(self) -> None:
        """Put everything back."""
        for slot, there in self.bound:
            _rebind(slot, there)
        for each in self.undo:
            each()

    def moved(self) -> list[str]:
        """What is bound to something else by now, or has other entries."""
        found = [slot.label for slot, there in self.bound if slot.get() is not there]
        for name, thing, entries in self.entries:
            if isinstance(thing, dict):
                found += [str(k) for k in (entries | thing) if thing.get(k) is not entries.get(k)]
            elif not _same(thing, entries):
                found.append(name)
        return list(dict.fromkeys(found))


def kept(*functions: Any, again: bool = False) -> Kept:
    """What puts back what these functions, and what they hold, keep now.

    Names keep what they are bound to, containers and objects their entries, arrays their values. What is of an installed package
    is left to itself: it may serve others. The tensors that others stand in for are put back by `standing_in`.

    Args:
        functions: the functions, or objects.
        again: also of what is given back already.
    """
    found, names = Kept(), dict[int, str]()
    for thing in _things(functions):
        if isinstance(thing, Slot):
            found.bound.append((thing, thing.get()))
            names.setdefault(id(thing.get()), thing.label)
        elif (again or first_seen(thing)) and (undo := _as_now(thing)) is not None:
            found.undo.append(undo)
            name = names.get(id(thing), f"a {type(thing).__name__}")
            found.entries += [(name, thing, type(thing)(thing))] if type(thing) in (dict, list, deque) else []
    return found


def carries(keeping: Kept, run: Callable[[], Sequence[Tensor]]) -> bool:
    """Whether what is kept of one run changes the outputs of the next, if the first begins with everything put back."""
    keeping()
    first, second = run(), run()
    return len(first) != len(second) or not all(map(torch.equal, first, second))


def _things(roots: Iterable[Any]) -> Iterator[Any]:
    """The names that functions go by, and everything that stands there, each once."""
    waiting, seen = list(roots), set[int]()
    home = next((getattr(f, "__module__", None) or "" for f in waiting), "")
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or type(thing) in _PLAIN:
            continue
        seen.add(id(thing))
        if isinstance(thing, FUNCTIONS):
            if are_near(getattr(thing, "__module__", None) or "", home):
                slots = [s for s in held_by(thing).values() if not isinstance(s.home(), tuple)]
                yield from slots
                waiting += [s.get() for s in held_by(thing).values()]
                waiting += [vars(thing)] if hasattr(thing, "__dict__") else []
                waiting += [thing.__self__] if isinstance(thing, MethodType) else []
        elif (inner := _inside(thing, home)) is not None:
            yield thing
            waiting += inner


def _inside(thing: Any, home: str) -> list[Any] | None:
    """What stands in a thing that is put back; None where it is not."""
    if isinstance(thing, dict):
        return [v for v in thing.values() if type(v) not in _PLAIN]
    if isinstance(thing, (list, tuple, set, deque)):
        return [v for v in thing if type(v) not in _PLAIN]
    if isinstance(thing, (Tensor, np.ndarray)):
        return []
    if isinstance(thing, type) or not hasattr(thing, "__dict__"):
        return None
    return [vars(thing)] if are_near(type(thing).__module__, home) else None


def _as_now(thing: Any) -> Callable[[], None] | None:
    """A function that gives a container its entries, or an array its values, as they are now; None where nothing is to do."""
    if isinstance(thing, dict):
        return partial(_fill, thing, dict(thing), dict.update)
    if isinstance(thing, (list, deque)):
        return partial(_fill, thing, list(thing), type(thing).extend)
    if isinstance(thing, set):
        return partial(_fill, thing, set(thing), set.update)
    if isinstance(thing, np.ndarray) and thing.flags.writeable and thing.dtype != object:
        return partial(np.copyto, thing, thing.copy())
    if (
        isinstance(thing, Tensor) and not thing.is_floating_point() and not thing.is_meta
    ):  # others stand in for those of real numbers
        return partial(_write, thing, thing.clone())
    return None


def _write(tensor: Tensor, values: Tensor) -> None:
    """Give a tensor these values again, if it has others."""
    if not torch.equal(tensor, values):
        tensor.copy_(values)


def _fill(thing: Any, entries: Any, put: Callable[[Any, Any], object]) -> None:
    """Give a container these entries again, if it has others."""
    if not _same(thing, entries):
        thing.clear()
        put(thing, entries)


def _same(thing: Any, entries: Any) -> bool:
    """Whether a container has the very same entries in the same order."""
    if len(thing) != len(entries):
        return False
    if isinstance(thing, dict):
        return list(thing) == list(entries) and all(
            a is b for a, b in zip(thing.values(), entries.values(), strict=True)
        )
    return all(a is b for a, b in zip(thing, entries, strict=True))


def _rebind(slot: Slot, there: Any) -> None:
    """Bind a name again to what it was bound to."""
    if slot.get() is not there:
        slot.put(there)
