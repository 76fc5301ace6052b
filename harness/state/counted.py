"""Plain numbers that a forward moves and the next one reads, such as a count of training steps: given back before each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.reading.holders import has_parts
from harness.state.history import CARRIED
from harness.state.slots import Slot, entries, inside
from harness.state.stateful import Stateful
from harness.tensors.arrays import is_array

Numbers = list[tuple[Slot, Any]]
"""Places with the number that stands there."""


def numbers_in(layer: Any) -> Numbers:
    """Every number in a layer that is no array, with its place."""
    return [(slot, slot.get()) for slot in _places(layer, None, set())]


def _places(thing: Any, above: Slot | None, seen: set[int]) -> Iterator[Slot]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for key, value in entries(thing):
        if _is_number(value):
            yield inside(thing, key, above)
        elif has_parts(value) and not is_array(value):
            yield from _places(value, inside(thing, key, above), seen)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def moved_since(state: Stateful, before: Numbers) -> Numbers:
    """Those that other numbers stand in the places of by now, and what they were; not what counts the entries of lists."""
    emptied = {s.label for s in state.history.counters}
    return [(s, v) for s, v in before if s.label not in emptied and _is_number(there := s.get()) and there != v]


def give_back(state: Stateful, moved: Numbers) -> list[str]:
    """Have the numbers that forwards have moved given back before each run, if the outputs depend on them; what is said.
    Those that go by the inputs, such as an average of their sizes, are buffers."""
    if not moved:
        return []
    standing, places = [(s, s.get()) for s, _ in moved], state.places()
    arrays = state.read(places)
    follow = _following(state, moved) if any(_carries(state, moved, mode) for mode in state.probed) else None
    state.restore(places, arrays)  # what these forwards have left may hide what the outputs depend on
    _put(standing)
    if follow is None:
        return []
    state.buffers |= {s.label: s for s in follow}
    state.carried = [(s, v) for s, v in moved if s not in follow]
    if not state.carried:
        return []
    state.sources.begin_with(state.recall)
    return [CARRIED.format(state.name, ", ".join(f"`{s.label}`" for s, _ in state.carried))]


def _carries(state: Stateful, moved: Numbers, mode: str | None) -> bool:
    """Whether one forward more moves the outputs of the next."""
    _put(moved)
    first, second = _outputs(state, mode), _outputs(state, mode)
    return len(first) != len(second) or not all(map(torch.equal, first, second))


def _following(state: Stateful, moved: Numbers) -> list[Slot]:
    """The places of real numbers that larger inputs move elsewhere."""
    found: list[list[Any]] = []
    for factor in (1.0, 0.75):
        _put(moved)
        for mode in state.probed:
            _outputs(state, mode, factor)
        found.append([slot.get() for slot, _ in moved])
    return [s for (s, v), a, b in zip(moved, *found, strict=True) if isinstance(v, (float, np.floating)) and a != b]


def _put(numbers: Numbers) -> None:
    for slot, value in numbers:
        slot.put(value)


def _outputs(state: Stateful, mode: str | None, factor: float = 1.0) -> Sequence[Tensor]:
    """Of a forward on the inputs times a factor; none where this mode refuses them."""
    state.sources.seed(0)
    leaves = {n: factor * x.value if x.value.is_floating_point() else x.value.clone() for n, x in state.leaves.items()}
    try:
        return [y.clone() for y in state.forward(leaves, mode)]
    except Exception:
        return []
