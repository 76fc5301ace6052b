"""A class with `forward` and `backward` whose parameters are attributes and whose gradients are `d<name>` attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from harness.arrays import is_array, same_bytes
from harness.domain import backward_may_raise, forward_may_refuse
from harness.outcome import SpecError
from harness.request import Request, gradient_names
from harness.slots import Slot, share_memory, walk
from harness.stateful import Stateful, decoy
from harness.subject import Subject

ORDER = 40

LISTS = {"params": ("grads", "gradients"), "parameters": ("grads", "gradients"), "weights": ("grads", "dweights")}
"""Lists and dicts of parameters, and what that of their gradients is called; it has the same places or keys."""

STATISTICS = ("running", "moving")
"""How names of running statistics begin; where only one mode can be tried, nothing but the name tells them from parameters."""


def recognises(layer: Any) -> bool:
    """Whether it is an object with forward and backward."""
    return not isinstance(layer, type) and all(callable(getattr(layer, n, None)) for n in ("forward", "backward"))


def subject(request: Request) -> Subject:
    """The layer as a subject.

    Which array is a parameter, which its gradient, which a buffer, which a cache: by name and shape, then by a probe.

    Raises:
        SpecError: `grads` names a parameter or gradient that isn't there.
        Refused: the forward refuses the inputs.
        BackwardRaised: the backward raised.
    """
    state = Stateful.of(request)
    initial = state.read({slot.label: slot for slot in walk(state.layer, scalars=True)})
    state.probe()  # what is built at the first forward is there now
    leaves = {n: leaf.value.clone() for n, leaf in state.leaves.items()}
    with forward_may_refuse():
        outputs = state.forward(leaves, state.modes[0])
    candidates = {s.label: s for s in walk(state.layer, scalars=True) if not state.history.holds(s.label)}
    start = state.read(candidates)
    with backward_may_raise():
        state.backward([torch.ones_like(y) for y in outputs])
    places = {slot.label: slot for slot in walk(state.layer, scalars=True)}
    written = _written(state, candidates, start)
    for name, value in {**start, **initial}.items():
        if name in candidates:
            candidates[name].write(value)
    _assign(state, {n: s for n, s in candidates.items() if n not in state.leaves}, places, written)
    return state.subject(unclaimed=_sorted(state, candidates, written))


def _written(state: Stateful, slots: Mapping[str, Slot], start: Mapping[str, Tensor]) -> set[str]:
    """The slots that a forward on other inputs writes to: caches and statistics."""
    with suppress(Exception):  # a decoy that is refused shows nothing
        state.forward({n: decoy(leaf.value) for n, leaf in state.leaves.items()}, state.modes[0])
    after = state.read(slots)
    return {n for n, t in start.items() if n not in after or not same_bytes(t, after[n])}


def _shape(slot: Slot) -> torch.Size:
    value = slot.read()
    return torch.Size() if value is None else value.shape


def _assign(state: Stateful, candidates: Mapping[str, Slot], places: Mapping[str, Slot], written: set[str]) -> None:
    """Pair each candidate with the place that is named like its gradient, of its shape if there is one of that."""
    declared = dict(state.request.grads)
    for name in [*declared.keys() - candidates.keys()]:
        raise SpecError(f"grads names {name!r}, which is no array of {state.name}: it has {_listed(candidates)}")
    for name, slot in candidates.items():
        aliases = _aliases(name, declared)
        found = sorted((a for a in aliases if a in places), key=lambda a: _shape(places[a]) != _shape(slot))
        if name in declared and aliases and not found:
            raise SpecError(
                f"grads={{{name!r}: {aliases[0]!r}}}: {state.name} has no array {aliases[0]!r} after backward"
            )
        if found and not (name in written and not _matters(state, slot)):
            state.parameters[name], state.gradients[name] = slot, places[found[0]]
    taken = {s.label for s in state.gradients.values()}
    for name in [n for n in state.parameters if n in taken]:
        del state.parameters[name], state.gradients[name]


def _aliases(name: str, declared: Mapping[str, str | None]) -> list[str]:
    if name in declared:
        return [a for a in (declared[name],) if a is not None]
    owner, _, short = name.rpartition(".")
    before, _, last = owner.rpartition(".")
    beside = [".".join(p for p in (before, g, short) if p) for g in LISTS.get(last, ())]
    if short.isdecimal():  # the k-th of `params` has the k-th of `grads`
        return beside
    return beside + [f"{owner}.{alias}" if owner else alias for alias in gradient_names(short)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _sorted(state: Stateful, candidates: Mapping[str, Slot], written: set[str]) -> dict[str, str]:
    """What remains, by what a probe shows: buffers, caches, and parameters without a gradient."""
    taken = {slot.label for slot in state.gradients.values()} | state.parameters.keys()
    findings: dict[str, str] = {}
    for name, slot in candidates.items():
        # a number such as eps or momentum is a setting unless a gradient is named after it
        if name in taken or not is_array(slot.get()) or _alias(state, slot):
            continue
        changes = {mode: _changes(state, slot, mode) for mode in state.modes}
        if not any(changes.values()):
            continue  # a cache: forward writes it before it reads it
        state.buffers[name] = slot
        short = name.rpartition(".")[2]
        if name not in {*state.request.grads, *written} and not short.startswith(STATISTICS):
            findings[name] = (
                f"`{name}` changes the output and has no gradient: set self.d{short} in backward, or "
                f"write LayerSpec(..., grads={{{name!r}: 'its gradient'}}), or None there if it is a constant"
            )
    return findings


def _alias(state: Stateful, slot: Slot) -> bool:
    """Whether it is another name for memory that is known already: a list for the optimiser, a view."""
    return any(share_memory(slot.get(), s.get()) for s in [*state.parameters.values(), *state.buffers.values()])


def _matters(state: Stateful, slot: Slot) -> bool:
    return any(_changes(state, slot, mode) for mode in state.modes)


def _changes(state: Stateful, slot: Slot, mode: str | None) -> bool:
    """Whether the outputs depend on what stands there, all else equal."""
    before = slot.read()
    if before is None:
        return False
    before = before.clone()
    known = {**state.parameters, **state.buffers}
    kept = state.read(known)
    runs = []
    for value in (before, before * 1.125 + 0.0625):
        slot.write(value)
        state.sources.seed(0)
        try:
            runs.append([y.clone() for y in state.forward({n: x.value.clone() for n, x in state.leaves.items()}, mode)])
        except Exception:  # one of the modes refuses these inputs, or this value
            runs.append([])
        for name, was in kept.items():
            known[name].write(was)
    slot.write(before)
    return any(not torch.equal(a, b) for a, b in zip(*runs, strict=False))
