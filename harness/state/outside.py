"""What the methods of a layer compute with that stands outside it: arrays in globals and in closures."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from harness.outcome import SpecError
from harness.reading.holders import has_parts
from harness.reading.parts import parts_of
from harness.reading.scopes import Named, are_near, bound_anew, is_installed, members, named
from harness.replay.bare import GENERATORS, is_bare
from harness.replay.sources import preserving, restored_later
from harness.state.copies import own_copy
from harness.state.slots import Slot, walk
from harness.tensors.arrays import is_real

_turn: list[Any] = [None]
"""The one whose copies the names are bound to."""

_shared: list[None] = []
"""One entry for each `one_world` that is open."""


@contextmanager
def one_world() -> Iterator[None]:
    """Layers find outside them what the one before has left there, as two of one class do in a program."""
    _shared.append(None)
    try:
        yield
    finally:
        _shared.pop()


_originals: dict[tuple[int, str | int], Any] = {}
"""{place: what its owner keeps there}, of the places that hold a copy for as long as a layer is checked."""


@dataclass(eq=False)
class Outside:
    """Names outside a layer, bound to copies of what they meant, which may be changed at will, until all is put back."""

    names: Mapping[str, Slot] = field(default_factory=dict)
    originals: Mapping[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)
    """What they were bound to when another working copy of the layer took its turn."""

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype, device: torch.device) -> Outside:
        """Of what holds an array, or may once backward has run; of nothing where nobody would put it back."""
        names = {_label(layer, s): s for s in _of_methods(layer)} if preserving() else {}
        originals = {n: _kept(slot) for n, slot in names.items()}
        made = _copied({n: t for n, t in originals.items() if t is not _ABSENT}, dtype, device)
        outside = cls(names, originals, {**originals, **made})
        outside.enter()
        return outside

    def enter(self) -> None:
        """Bind the names to the copies of this layer: another in another dtype may have been run since."""
        if not self.names or _turn[-1] is self or _shared:
            return
        if (last := _turn[-1]) is not None:
            last.bound = {n: s.get() if _is_bound(s) else _ABSENT for n, s in last.names.items()}
        for name, slot in self.names.items():
            _bind(slot, self.bound[name])
        _turn[-1] = self

    def places(self) -> dict[str, Slot]:
        """Every place in them where a real array stands, by label."""
        return {s.label: s for name, slot in self.names.items() for s in _below(replace(slot, label=name))}

    def told(
        self, slots: dict[str, Slot], owned: Callable[[Slot], bool], findings: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        """What is said of arrays out here that change the outputs and have no gradient: nothing tells that they want one,
        unless they say so themselves, or backward writes a gradient that may be theirs (`owned`); the findings that are left."""
        here = {n: slots[n] for n in findings if n in slots and slots[n].label in self.places()}
        out = [n for n, slot in here.items() if not (self._requires(slot.label) or owned(slot))]
        said = [f"`{n}` changes the output and has no gradient: held outside the layer, not judged" for n in out]
        for name in out:
            del slots[name]  # a constant stays what it is: nothing draws it anew
        return said, {n: why for n, why in findings.items() if n not in out}

    def _requires(self, label: str) -> bool:
        there = self.originals.get(label)
        return isinstance(there, Tensor) and there.requires_grad


def _key(slot: Slot) -> tuple[int, str | int]:
    return id(slot.owner), slot.key


def _kept(slot: Slot) -> Any:
    """What its owner keeps under a name, which is bound to it again later."""
    if _key(slot) not in _originals:
        _originals[_key(slot)] = slot.get() if _is_bound(slot) else _ABSENT
        restored_later(partial(_put_back, slot))
    return _originals[_key(slot)]


_ABSENT = object()


def _is_bound(slot: Slot) -> bool:
    return not isinstance(slot.owner, dict) or slot.key in slot.owner


def _put_back(slot: Slot) -> None:
    _turn[-1] = None
    _bind(slot, _originals.pop(_key(slot)))


def _bind(slot: Slot, thing: Any) -> None:
    if thing is not _ABSENT:
        slot.put(thing)
    elif _is_bound(slot):
        del slot.owner[slot.key]


def _copied(originals: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Copies that share memory with one another as the originals do, of what can be copied."""
    if not originals:
        return {}
    try:
        return dict(own_copy(dict(originals), dtype, device))
    except SpecError:
        found: dict[str, Any] = {}
        for name, thing in originals.items():
            try:
                found |= own_copy({name: thing}, dtype, device)
            except SpecError:  # it is left as it is
                continue
        return found


def _label(layer: Any, slot: Slot) -> str:
    """Its name; of one that an attribute of the layer has too, which of the two it is."""
    shadowed = not isinstance(slot.owner, type) and hasattr(layer, slot.label)
    return f"globals.{slot.label}" if shadowed else slot.label


def _of_methods(layer: Any) -> Iterator[Slot]:
    """The names that the methods of a layer, those of the layers inside it, and functions of theirs load or write."""
    steps: dict[type, str] = {type(layer): ""}
    for code, part in parts_of(layer):
        steps.setdefault(type(part), code.removeprefix("layer"))
    seen: set[Any] = set()
    yield from _of_own_functions(layer, seen)
    for own, step in steps.items():
        for kind in () if is_bare(own) else own.__mro__:
            if kind not in seen and not _is_others(kind.__module__):
                seen.add(kind)
                there = list(members([kind]))
                yield from _of_class(there, step)
                for m in there:
                    if isinstance(m.thing, FunctionType):
                        yield from _of_function(m.thing, f"{step}.{m.name}", seen)


def _of_own_functions(layer: Any, seen: set[Any]) -> Iterator[Slot]:
    """The names that functions load which stand on an object: SimpleNamespace(forward=forward, backward=backward). What stands on
    it as well is inside."""
    parts = [("", layer), *((code.removeprefix("layer"), part) for code, part in parts_of(layer))]
    parts = [(step, p) for step, p in parts if hasattr(p, "__dict__") and not type(p).__module__.startswith("harness.")]
    own = [(step, n, thing) for step, part in parts for n, thing in vars(part).items()]
    functions = [(f"{step}.{n}", thing) for step, n, thing in own if isinstance(thing, FunctionType)]
    if not functions:
        return
    inside = {id(thing) for _, _, thing in own} | {id(slot.get()) for slot in walk(layer)}
    for code, function in functions:
        yield from (s for s in _of_function(function, code, seen) if not _is_bound(s) or not _shares(s.get(), inside))


def _shares(thing: Any, inside: Container[int]) -> bool:
    """Whether it, or an array in it, is one of these."""
    within = walk(thing) if has_parts(thing) else ()
    return id(thing) in inside or any(id(slot.get()) in inside for slot in within)


def _of_class(there: Iterable[Named], code: str) -> Iterator[Slot]:
    """What stands in a class itself, for all its objects."""
    for m in there:
        if not m.name.startswith("__") and (is_real(m.thing) or _is_container(m.thing)):
            yield Slot(m.home, m.key, m.name, code + m.step)


def _is_others(module: str) -> bool:
    return module.partition(".")[0] == "harness" or is_installed(module)


def _of_function(function: FunctionType, code: str, seen: set[Any]) -> Iterator[Slot]:
    if function in seen:
        return
    seen.add(function)
    home = function.__module__ or ""
    written = bound_anew(function)
    for k, each in enumerate((*written, *named(function))):
        key = id(each.home), each.key
        if isinstance(each.home, tuple) or key in seen:
            continue
        seen.add(key)
        if isinstance(each.thing, FunctionType) and are_near(each.thing.__module__ or "", home):
            yield from _of_function(each.thing, code + each.step, seen)
        elif k < len(written) or _may_hold(each.thing, home):
            yield Slot(each.home, each.key, each.name, code + each.step)


def _may_hold(thing: Any, home: str) -> bool:
    """Whether it is an array, or a container or an object of this package that has one, or is empty yet."""
    if is_real(thing) or _is_container(thing):
        return True
    if isinstance(thing, (*GENERATORS, *_CONTAINERS)) or not has_parts(thing):
        return False
    return are_near(type(thing).__module__, home) and _has_arrays(thing)


_CONTAINERS = (dict, list, tuple)


def _is_container(thing: Any) -> bool:
    return isinstance(thing, _CONTAINERS) and (not thing or _has_arrays(thing))


def _has_arrays(thing: Any) -> bool:
    return next(iter(walk(thing)), None) is not None


def _below(slot: Slot) -> Iterable[Slot]:
    thing = slot.get()
    if not is_real(thing):
        return walk(thing, above=slot) if has_parts(thing) else ()
    grad = Slot(thing, "grad", f"{slot.label}.grad", f"{slot.code}.grad")
    return (slot, grad) if isinstance(thing, Tensor) and thing.is_leaf and thing.grad is not None else (slot,)
