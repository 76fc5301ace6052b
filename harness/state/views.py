"""Places that a layer shows without keeping them there: `parameters()`, a property `grads`, a tensor's own `.grad`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any

from torch import Tensor

from harness.reading.holders import has_parts
from harness.reading.naming import GRADIENTS, HOLDERS, gradient_rank
from harness.state.slots import Slot, held_in, walk
from harness.tensors.arrays import is_real

PAIRS = (
    "params_and_grads",
    "params_grads",
    "parameters_and_gradients",
    "get_params_and_grads",
    "get_params_grads",
    "get_params_and_gradients",
)

NAMES = (*HOLDERS, *GRADIENTS, *PAIRS)
"""What such properties and methods are called."""


class Shown(Slot):
    """A place inside what a property or method returns, looked up anew each time: it may be put together at each call.

    Its owner is (object, name, keys on the way), one for all entries of a dict or list.
    """

    def home(self) -> Any:
        """The dict or list that it is in, as it is now."""
        thing, name, keys = self.owner
        found = shown(thing, name)
        for key in keys:
            found = held_in(found, key)
        return found

    def put(self, value: Any) -> None:
        """Replace what stands there."""
        self.home()[self.key] = value


def shown(thing: Any, name: str) -> Any:
    """What an attribute holds or a method returns; an empty list where it raises, as before the first backward."""
    try:
        found = getattr(thing, name)
        if type(found) is dict:
            return found
        found = found() if callable(found) else found
        return list(found) if isinstance(found, Iterator) else found
    except Exception:  # the layer's own code, called before it expects to be
        return []


def places(layer: Any) -> dict[str, Slot]:
    """Every place in which a real array or number stands or is shown, by label."""
    found: dict[str, Slot] = {}
    for slot in walk(layer, scalars=True, beside=_views):
        found.setdefault(slot.label, slot)
        value = slot.get()
        if isinstance(value, Tensor) and value.is_leaf:
            for key in ("grad", "grad_sample", "g"):
                if getattr(value, key, None) is not None:
                    own = Slot(value, key, f"{slot.label}.{key}", f"{slot.code}.{key}")
                    found.setdefault(own.label, own)
    return found


def _views(thing: Any, above: Slot | None) -> Iterator[Slot]:
    if isinstance(thing, (list, tuple, Mapping)):
        return
    kind: type = type(thing)
    for name, step in _steps(kind).items():
        before = ("", "") if above is None else (f"{above.label}.", above.code)
        label = "params" if name in PAIRS else name
        yield from _entries(thing, name, (), before[0] + label, before[1] + step)


@lru_cache(1024)
def _steps(kind: type) -> dict[str, str]:
    """{name of a property or method that shows arrays: how a script reaches it}."""
    found = {}
    for name in (*NAMES, *_properties(kind)):
        home = next((k for k in kind.__mro__ if name in vars(k)), None)
        if home is not None and not home.__module__.startswith("torch.") and (step := _step(vars(home)[name], name)):
            found[name] = step
    return found


def _properties(kind: type) -> list[str]:
    """The properties one of which is by its name the gradient of another: `weights` and `weights_grad`."""
    own = list({n: None for k in kind.__mro__ for n, v in vars(k).items() if isinstance(v, property)})
    pairs = [(a, b) for a in own for b in own if a != b and gradient_rank(b, a) is not None]
    return list({n: None for pair in pairs for n in pair})


def _step(member: Any, name: str) -> str:
    """How a script reaches it; empty for what is neither a property nor a method that asks for nothing."""
    if isinstance(member, property):
        return f".{name}"
    if isinstance(member, FunctionType):
        asked = list(inspect.signature(member).parameters.values())[1:]
        return f".{name}()" if all(p.default is not p.empty for p in asked) else ""
    return ""


def _entries(thing: Any, name: str, keys: tuple[Any, ...], label: str, code: str) -> Iterator[Slot]:
    home = shown(thing, name)
    for key in keys:
        home = held_in(home, key)
    if is_real(home) and not keys and not code.endswith("()"):
        yield Slot(thing, name, label, code)
    if not isinstance(home, (list, tuple, Mapping)):
        return
    items = list(home.items()) if isinstance(home, Mapping) else list(enumerate(home))
    owner = (thing, name, keys)
    pair = is_pair(home)
    for key, value in items:
        # of a pair (parameter, gradient) the second is called the gradient of the first
        here = (label if key == 0 else f"{label}.grad") if pair else f"{label}.{key}"
        if is_real(value):
            yield Shown(owner, key, here, f"{code}[{key!r}]")
        elif isinstance(value, (list, tuple, Mapping)):
            yield from _entries(thing, name, (*keys, key), here, f"{code}[{key!r}]")
        elif has_parts(value):
            yield from walk(value, above=Shown(owner, key, here, f"{code}[{key!r}]"))


def is_pair(home: Any) -> bool:
    """Whether it is an array and, of its shape, what may be its gradient."""
    return isinstance(home, tuple) and len(home) == 2 and all(map(is_real, home)) and home[0].shape == home[1].shape
