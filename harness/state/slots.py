"""Places inside a stateful layer that hold an array: found by walking, read and written in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.reading.holders import has_parts, holds, is_mapping, is_objects
from harness.tensors.arrays import is_real, to_tensor


@dataclass(eq=False, slots=True)
class Slot:
    """One place that holds an array: an attribute, or an entry of a dict or list."""

    owner: Any
    key: str | int
    label: str
    code: str = ""
    """How a script reaches it from `layer`, such as `.fc1.W` or `['W']`."""
    above: Slot | None = None
    """Where its owner stands."""

    def home(self) -> Any:
        """The object, dict or list that it is in, as it is now: backward may have put a new list of gradients there."""
        return self.owner if self.above is None else self.above.get()

    def get(self) -> Any:
        """What stands there now; None where nothing does."""
        return held_in(self.home(), self.key)

    def put(self, value: Any) -> None:
        """Replace what stands there."""
        if isinstance(home := self.home(), (MutableMapping, list)) or is_objects(home):
            home[self.key] = value
        elif not isinstance(home, tuple):  # what stands in a tuple, a cache, is changed in place or not at all
            try:
                setattr(home, str(self.key), value)
            except AttributeError:  # a frozen dataclass, for one: what refuses it for others than its author
                object.__setattr__(home, str(self.key), value)

    def read(self) -> Tensor | None:
        """The array as a tensor that shares its memory; None where there is none."""
        value = self.get()
        return None if value is None else to_tensor(value, self.label).detach()

    def holds_like(self, value: Tensor) -> bool:
        """Whether what stands there can be written over with a value: an array, or a number for a number."""
        there = self.get()
        return isinstance(there, (Tensor, np.ndarray)) or (there is not None and value.numel() == 1)

    def write(self, value: Tensor) -> None:
        """Set the values: in place where shape and dtype allow, since the layer may hold the same array elsewhere."""
        self.replace(self.get(), value)

    def settle(self, home: Any, value: Tensor) -> None:
        """Set the values in the array `home`, and put that there if a forward has bound the place to another one."""
        there = self.get()
        if isinstance(home, (Tensor, np.ndarray)) and there is not home:
            self.put(there := home)
        self.replace(there, value)

    def replace(self, there: Any, value: Tensor) -> None:
        """The same where it is known already what stands there."""
        if isinstance(there, Tensor):
            if there.shape == value.shape and there.dtype == value.dtype and _written_at_will(there):
                _plain(there).copy_(_plain(value))
            else:
                self.put(value.clone())
        elif isinstance(there, np.ndarray):
            array = value.detach().numpy()
            if there.shape == array.shape and there.dtype == array.dtype and there.flags.writeable:
                there[...] = array
            else:
                self.put(array.copy())
        elif value.numel() == 1:  # a Python or NumPy scalar
            self.put(type(there)(value.item()))
        # else a number stands where an array did, such as a mask that is 1 in eval: a cache, which forward writes anew


def _written_at_will(t: Tensor) -> bool:
    """Whether every entry has memory of its own: those of an expanded tensor have not."""
    return t.is_contiguous() or all(stride or size < 2 for stride, size in zip(t.stride(), t.shape, strict=True))


def _plain(t: Tensor) -> Tensor:
    """The tensor without autograd's history; itself where there is none."""
    return t.detach() if t.requires_grad else t


def held_in(home: Any, key: str | int) -> Any:
    """What stands under a key of an object, dict or list; None where nothing does."""
    if is_mapping(home):
        return home.get(key)
    if isinstance(home, (list, tuple)) or is_objects(home):
        return home[int(key)] if int(key) < len(home) else None
    return getattr(home, str(key), None)


def standing(slots: Mapping[str, Slot]) -> dict[str, Any]:
    """What stands in each of several places; a dict that a property puts together is asked for once, not once an entry."""
    homes: dict[int, Any] = {}
    found = {}
    for name, slot in slots.items():
        if (key := id(slot.owner)) not in homes:
            homes[key] = slot.home()
        found[name] = held_in(homes[key], slot.key)
    return found


Beside = Callable[[Any, "Slot | None"], "Iterator[Slot]"]


def walk(
    thing: Any,
    scalars: bool = False,
    above: Slot | None = None,
    seen: set[int] | None = None,
    beside: Beside | None = None,
) -> Iterator[Slot]:
    """Every real array reachable from a layer, with a label such as `fc1.W` or `params.gamma`; real scalars on request.

    `beside` is asked of every object on the way for places that are not among its parts.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for key, value in entries(thing):
        if is_real(value) or (scalars and isinstance(value, (float, np.floating))):
            yield inside(thing, key, above)
        elif has_parts(value) and not _is_empty(value):
            yield from walk(value, scalars, inside(thing, key, above), seen, beside)
    if beside is not None:
        yield from beside(thing, above)


def _is_empty(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) and not value and not hasattr(value, "__dict__")


def inside(thing: Any, key: str | int, above: Slot | None) -> Slot:
    """The place under this key of an object, dict or list that stands at `above`."""
    step = f"[{key!r}]" if holds(thing) in ("mapping", "sequence") else f".{key}"
    return Slot(thing, key, f"{above.label}.{key}" if above else str(key), (above.code if above else "") + step, above)


def entries(thing: Any) -> list[tuple[str | int, Any]]:
    """What an object, dict or list holds, by name, key or position."""
    held = holds(thing)
    if held == "mapping":
        return [(k, v) for k, v in thing.items() if isinstance(k, (str, int, tuple))]  # type: ignore[misc]
    if held == "sequence":
        return list(enumerate(thing))
    own = {n: v for n, v in vars(thing).items() if n[:2] != "__"} if hasattr(thing, "__dict__") else {}
    mro = type(thing).__mro__
    slots, data = _declared(type(thing), sum([len(kind.__dict__) for kind in mro]))  # type: ignore[arg-type]
    for name in slots:
        if hasattr(thing, name):
            own.setdefault(name, getattr(thing, name))
    for kind, name in data:
        if name not in own and is_real(value := vars(kind).get(name)):
            own[name] = value
    return list(own.items())


@lru_cache(maxsize=1024)
def _declared(kind: type, attributes: int) -> tuple[tuple[str, ...], tuple[tuple[type, str], ...]]:
    """The slots of a class, and (class, name) of what it and those above it hold beside functions.

    Asked for at each walk, and long to find: remembered as long as the number of `attributes` is the same.
    """
    mro = kind.__mro__
    slots = tuple(name for k in mro for name in getattr(k, "__slots__", ()) if name[:2] != "__")  # no `__weakref__`
    own = [k for k in mro if k.__module__ not in ("builtins", "torch.nn.modules.module")]
    data = tuple((k, n) for k in own for n, v in vars(k).items() if not isinstance(v, _NO_DATA))
    return slots, data


_NO_DATA = (FunctionType, staticmethod, classmethod, property, BuiltinFunctionType)


def _seen_by_numpy(t: Tensor) -> np.ndarray:
    """The same memory; numbers that NumPy has no type for as integers of their size."""
    t = t.detach()
    return (t.view(torch.int16) if t.dtype is torch.bfloat16 else t).numpy()


def _apart(a: Tensor, b: Tensor) -> bool:
    """Whether their memories lie apart as a whole: views of one array of NumPy's begin each at its own first entry."""
    (start, size), (other, length) = ((s.data_ptr(), s.nbytes()) for s in (a.untyped_storage(), b.untyped_storage()))
    return start + size <= other or other + length <= start


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays have an entry in common."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if not a.numel() or not b.numel() or _apart(a, b):
            return False
        if a.device.type != "cpu":
            return True
        a, b = _seen_by_numpy(a), _seen_by_numpy(b)
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
