"""Which of the arrays in a layer its outputs depend on: found by moving what stands there, all else equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.state.slots import Slot, share_memory, standing, walk
from harness.state.stateful import Stateful
from harness.state.watched import Glimpse


def unknown(state: Stateful, dicts: Iterable[str]) -> list[Slot]:
    """The arrays of the layer that are in none of these dicts of it."""
    inside, known = tuple(f"{name}." for name in dicts), known_arrays(state)
    slots = (*walk(state.layer), *state.outside.places().values())
    return [s for s in slots if not s.label.startswith(inside) and not is_alias(s, known)]


def overlooked(state: Stateful, dicts: Iterable[str]) -> bool:
    """Whether the outputs depend on an array of the layer that is in none of these dicts of it."""
    glimpse = state.glimpsed
    if glimpse is None:
        rest = unknown(state, dicts)
        return bool(rest) and any(depends(state, rest, mode) for mode in state.entered)
    slots = [s for s, _ in glimpse.before.values()]
    return bool(slots) and any(depends(state, slots, mode, glimpse) for mode in state.entered)


def known_arrays(state: Stateful) -> list[Any]:
    """The arrays that stand in the places of parameters and buffers."""
    return list(standing({**state.parameters, **state.buffers}).values())


def is_alias(slot: Slot, known: Iterable[Any]) -> bool:
    """Whether it is another name for memory that is known already: a list for the optimiser, a view."""
    there = slot.get()
    return any(share_memory(there, array) for array in known)


def matters(state: Stateful, slot: Slot, beside: Iterable[Slot] = ()) -> bool:
    """Whether the outputs of some mode depend on what stands there, all else equal, in the places `beside` it too."""
    return any(depends(state, [slot], mode, beside=beside) for mode in state.probed)


def depends(
    state: Stateful,
    slots: Iterable[Slot],
    mode: str | None,
    glimpse: Glimpse | None = None,
    beside: Iterable[Slot] = (),
) -> bool:
    """Whether the outputs depend on what stands in these places, all else equal, in those `beside` them too.

    The forward of a glimpse in this mode, which wrote to nothing else since, is not run again.
    """
    slots = list(slots)
    homes = {s.label: s.get() for s in (*slots, *beside)}
    seen = glimpse if glimpse is not None and glimpse.mode == mode else None
    before = {s.label: (s, t.clone()) for s in slots if (t := s.read()) is not None} if seen is None else seen.before
    known = {**state.parameters, **state.buffers}
    kept = state.read(known)
    state.watch(mode)
    state.restore(known, kept)
    inputs = {n: x.value for n, x in state.leaves.items()}
    runs: list[Sequence[Tensor]] = [] if seen is None else [seen.outputs]
    for moved in (False, True)[len(runs) :]:
        for slot, value in before.values():
            if slot.holds_like(value):  # else a cache that holds something else by now
                _write(slot, _moved(value) if moved else value, homes)
        state.sources.seed(0)
        try:
            runs.append([y.clone() for y in state.forward({n: x.clone() for n, x in inputs.items()}, mode)])
        except Exception:  # one of the modes refuses these inputs, or this value
            runs.append([])
        state.restore(known, kept)
    for slot, value in before.values():
        if slot.holds_like(value):
            _write(slot, value, homes)
    # a value that is refused tells that it is read, unless the mode refuses the inputs anyway
    return len(runs[0]) != len(runs[1]) or any(not torch.equal(a, b) for a, b in zip(*runs, strict=True))


def _write(slot: Slot, value: Tensor, homes: Mapping[str, Any]) -> None:
    """Set the values, and of no other place: a forward may have bound this one to what stands there, as
    `self.mean = self.running_mean`, which then has its own array again."""
    there, home = slot.get(), homes[slot.label]
    others = (h for label, h in homes.items() if label != slot.label)
    if there is not home and not share_memory(there, home) and any(share_memory(there, h) for h in others):
        slot.settle(home, value)
    else:
        slot.write(value)


def _moved(value: Tensor) -> Tensor:
    """Each entry by another amount, none below what it was: where all are equal, as zeros that a layer begins with, softmax does not
    see one amount added to all."""
    steps = torch.arange(1, value.numel() + 1, dtype=torch.float64, device=value.device).reshape(value.shape)
    return (value * 1.125 + 0.0625 * (0.5 + steps * _GOLDEN % 1)).to(value.dtype)


_GOLDEN = 0.6180339887498949
