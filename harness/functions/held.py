"""What a function computes with beside its arguments: tensors in its closure, globals and defaults, or on its object."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import getattr_static
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from harness.outcome import SpecError
from harness.reading.holders import has_parts
from harness.reading.scopes import Named, are_near, is_installed, members, named
from harness.reading.signatures import parameters_of
from harness.state.slots import Slot, entries, inside
from harness.tensors.arrays import is_real, to_tensor
from harness.tensors.nested import like


def held_by(function: Any, code: str = "function") -> dict[str, Slot]:
    """Where each thing stands that a function computes with, by the name that its code has for it."""
    if isinstance(function, partial):
        return _of_partial(function, code)
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    if owner is None and not isinstance(plain, FunctionType):
        owner, plain = function, type(function).__call__
    if not isinstance(plain, FunctionType):
        return {}
    reached = f"{code}.__func__" if isinstance(function, MethodType) else code
    itself = f"{code}.__self__" if isinstance(function, MethodType) else code
    own = {} if owner is None or isinstance(owner, type) else dict(entries(owner))
    shared = _of_class(owner, Slot(plain, "", "cls", itself)) if isinstance(owner, type) else []
    return {
        **{each.name: _slot(each, plain, reached) for each in named(plain)},
        **{f"self.{n}": Slot(owner, n, f"self.{n}", f"{itself}.{n}") for n in own},
        **{s.label: s for s in shared},
    }


def _slot(each: Named, function: FunctionType, code: str) -> Slot:
    """The place of a thing that a function names; a tuple of defaults is looked up again, others may be put there."""
    above = Slot(function, "__defaults__", "", f"{code}.__defaults__") if isinstance(each.home, tuple) else None
    return Slot(each.home, each.key, each.name, code + each.step, above)


def _of_partial(function: partial[Any], code: str) -> dict[str, Slot]:
    above = Slot(function, "args", "", f"{code}.args")
    try:
        asked = [p.name for p in parameters_of(function.func)]
    except (TypeError, ValueError):
        asked = []
    names = [asked[k] if k < len(asked) else f"argument{k}" for k in range(len(function.args))]
    return {
        **held_by(function.func, f"{code}.func"),
        **{n: Slot(function.args, k, n, f"{above.code}[{k}]", above) for k, n in enumerate(names)},
        **{n: Slot(function.keywords, n, n, f"{code}.keywords[{n!r}]") for n in function.keywords},
    }


@dataclass(frozen=True)
class Held:
    """A tensor that a function holds, and every place where it stands."""

    tensor: Tensor
    slots: list[Slot] = field(default_factory=list)
    is_buffer: bool = False
    """Whether a module says that it is a buffer, which wants no gradient."""

    def like(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Its values in memory of their own, real ones in this dtype."""
        real = self.tensor.is_floating_point()
        return self.tensor.detach().to(device, dtype if real else self.tensor.dtype, copy=True)


def tensors_held(function: Any, taken: Container[str] = ()) -> dict[str, Held]:
    """Every tensor that a function, and those of its package that it calls, computes with, by name.

    Not those of an object with a backward of its own, which autograd goes past.

    Args:
        taken: names that the function's arguments have.

    Raises:
        SpecError: one of them has no values before a first forward.
    """
    held = _named(_tensors(held_by(function).values(), _module(function), set()), taken)
    if waiting := [n for n, h in held.items() if is_lazy(h.tensor)]:
        raise SpecError(f"`{waiting[0]}` is made by a first forward: call the function once before it is checked")
    return held


def arrays_held(function: Any, taken: Container[str] = ()) -> dict[str, Held]:
    """Every NumPy array of real numbers that a function, and those of its package that it calls, computes with, by name."""
    slots = list(_tensors(held_by(function).values(), _module(function), set(), np.ndarray))
    tensors = {id(a): to_tensor(a, s.label) for s in slots if (a := s.get()) is not None}
    return _named(slots, taken, lambda array: tensors[id(array)])


def tensors_around(kind: type) -> dict[str, Held]:
    """Every tensor that stands in a class, or that its methods compute with beside what they are called with, by name."""
    itself = Slot({"": kind}, "", kind.__name__, "function")
    return _named(_tensors([*_of_class(kind, itself), *_of_methods(kind, itself)], _module(kind), set()))


def tensors_beside(module: torch.nn.Module) -> dict[str, Held]:
    """Every real tensor in a module that is neither a parameter nor a buffer of it, by name."""
    known = {id(t) for t in (*module.parameters(), *module.buffers())}
    slots = (inside(module, key, None) for key, _ in entries(module))
    return {n: h for n, h in _named(_tensors(slots, "", set())).items() if id(h.tensor) not in known}


def registered(module: torch.nn.Module) -> dict[str, Held]:
    """A module's parameters and buffers by name, each with every place where it is registered."""
    known = {id(t): n for n, t in (*module.named_parameters(), *module.named_buffers())}
    found: dict[str, Held] = {}
    for part in module.modules():
        for own in (part._parameters, part._buffers):
            for key, tensor in own.items():
                if tensor is not None:
                    found.setdefault(known[id(tensor)], Held(tensor)).slots.append(Slot(own, key, key))
    return found


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _named(
    slots: Iterable[Slot], taken: Container[str] = (), tensor_of: Callable[[Any], Tensor] = _itself
) -> dict[str, Held]:
    found: dict[int, Held] = {}
    for slot in slots:
        tensor = tensor_of(slot.get())
        found.setdefault(id(tensor), Held(tensor, [], "_buffers." in slot.label)).slots.append(slot)
    named: dict[str, Held] = {}
    for held in found.values():
        name = min((_name(s.label) for s in held.slots), key=lambda n: n.count("."))
        free = (n for k in range(1, len(found) + 2) if (n := name if k == 1 else f"{name}_{k}") not in named)
        named[next(n for n in free if n not in taken)] = held
    return named


def _tensors(slots: Iterable[Slot], home: str, seen: set[int], kind: type = Tensor) -> Iterator[Slot]:
    for slot in slots:
        thing = slot.get()
        if isinstance(thing, kind):
            if _takes_another(slot) and _is_dense(thing) and (is_real(thing) or "_buffers." in slot.label):
                yield slot
        elif id(thing) not in seen and thing is not None:
            seen.add(id(thing))
            yield from _tensors(_below(thing, slot, home), home, seen, kind)


def _is_dense(thing: Any) -> bool:
    return getattr(thing, "layout", torch.strided) is torch.strided


def _takes_another(slot: Slot) -> bool:
    """Whether another tensor can be put there: a mapping that can't be written to takes none."""
    home = slot.home()
    if isinstance(home, tuple):
        return slot.above is not None and _takes_another(slot.above)
    return isinstance(home, MutableMapping) or not isinstance(home, Mapping)


def _below(thing: Any, slot: Slot, home: str) -> list[Slot]:
    near = are_near(_module(thing), home)
    if isinstance(thing, (FunctionType, MethodType, partial)):
        wrapped = ".cell_contents" in slot.code  # whoever made the wrapper
        return list(held_by(thing, slot.code).values()) if near or wrapped else []
    if isinstance(thing, type):  # a Function, or what makes objects: its methods compute with tensors too
        return [*_of_class(thing, slot), *_of_methods(thing, slot)] if near else []
    if not has_parts(thing) or callable(getattr(thing, "backward", None)):
        return []
    own = [inside(thing, key, slot) for key, value in entries(thing) if _may_hold(value)]
    return own + (_of_methods(type(thing), slot) if near else [])


def _may_hold(value: Any) -> bool:
    """Whether it is a tensor or may have one somewhere: of a list of a million numbers nothing is looked at twice."""
    return type(value) not in (bool, int, float, str, bytes, type(None))


def _of_class(kind: type, slot: Slot) -> list[Slot]:
    """What stands in a class and those above it that may be a tensor, or hold one."""
    above = [k for k in kind.__mro__ if not is_installed(k.__module__)]
    return [
        Slot(k, n, f"{slot.label}.{n}", f"{slot.code}.{n}")
        for k in above
        for n, v in vars(k).items()
        if not n.startswith("__") and isinstance(v, (Tensor, Mapping, list, tuple))
    ]


def _of_methods(kind: type, slot: Slot) -> list[Slot]:
    """What the methods of a class compute with beside what they are called with."""
    methods = [m for m in members([kind]) if isinstance(m.thing, FunctionType)]
    return [s for m in methods for s in held_by(m.thing, f"{slot.code}.{m.name}").values()]


def _module(thing: Any) -> str:
    """The module of a function or class; what stands in an installed package is taken as it is."""
    return getattr(thing, "__module__", None) or "builtins"


def _name(label: str) -> str:
    """`net.weight` for `net._parameters.weight`, as `named_parameters` has it."""
    return ".".join(p for p in label.split(".") if p not in ("_parameters", "_buffers", "_modules"))


@contextmanager
def standing_in(held: Mapping[str, Held], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Other tensors in the places of those that a function holds, which are put back afterwards."""
    with ExitStack() as undone:
        for name, each in held.items():
            for slot in each.slots:
                undone.callback(_put(slot, values[name]))
        yield


def _put(slot: Slot, value: Any) -> Callable[[], object]:
    """Put something into a place; the function that puts back what stood there."""
    home, there = slot.home(), slot.get()
    if isinstance(home, tuple):
        assert slot.above is not None
        return _put(slot.above, like(home, [value if k == slot.key else part for k, part in enumerate(home)]))
    if isinstance(home, partial):
        home.__setstate__((home.func, value, home.keywords, home.__dict__))  # type: ignore[attr-defined]
        return lambda: home.__setstate__((home.func, there, home.keywords, home.__dict__))  # type: ignore[attr-defined]
    of_class = not isinstance(home, (MutableMapping, list)) and _is_of_class(home, str(slot.key))
    slot.put(value)
    return partial(delattr, home, str(slot.key)) if of_class else partial(slot.put, there)


def _is_of_class(thing: Any, name: str) -> bool:
    """Whether an attribute stands in the class of a thing, and would in itself once it is set."""
    return name not in getattr(thing, "__dict__", {}) and not hasattr(getattr_static(thing, name), "__set__")
