"""A class with `forward` and `backward` whose parameters are attributes and whose gradients are `d<name>` attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.arrays import is_array
from harness.outcome import SpecError
from harness.request import Request, gradient_names
from harness.slots import Slot, walk
from harness.stateful import Stateful
from harness.subject import Subject

ORDER = 40


def recognises(layer: Any) -> bool:
    """Whether it is an object with forward and backward."""
    return not isinstance(layer, type) and all(callable(getattr(layer, n, None)) for n in ("forward", "backward"))


def subject(request: Request) -> Subject:
    """The layer as a subject: which attribute is a parameter, which its gradient, which a buffer is found by name and shape, then probed.

    Raises:
        SpecError: `grads` names a parameter or gradient that isn't there.
    """
    state = Stateful.of(request)
    candidates = {slot.label: slot for slot in walk(state.layer, scalars=True)}
    start = state.read(candidates)
    state.probe()
    leaves = {n: leaf.value.clone() for n, leaf in state.leaves.items()}
    state.backward([torch.ones_like(y) for y in state.forward(leaves, state.modes[0])])
    places = {slot.label: slot for slot in walk(state.layer, scalars=True)}
    candidates = {n: s for n, s in places.items() if n in candidates and start[n].shape == _shape(s)}
    for name, value in start.items():
        if name in candidates:
            candidates[name].write(value)

    _assign(state, candidates, places)
    moved = _moved(state, {n: s for n, s in candidates.items() if n not in state.parameters})
    return state.subject(unclaimed=moved)


def _shape(slot: Slot) -> torch.Size:
    value = slot.read()
    return torch.Size() if value is None else value.shape


def _assign(state: Stateful, candidates: Mapping[str, Slot], places: Mapping[str, Slot]) -> None:
    """Pair each candidate with the place that is named like its gradient and has its shape."""
    declared = dict(state.request.grads)
    for name in [*declared.keys() - candidates.keys()]:
        raise SpecError(
            f"grads names {name!r}, which is no array of {state.name}: it has {', '.join(candidates) or 'none'}"
        )
    for name, slot in candidates.items():
        owner, _, short = name.rpartition(".")
        prefix = f"{owner}." if owner else ""
        if name in declared:
            aliases = [a for a in (declared[name],) if a is not None]
        else:
            aliases = [prefix + alias for alias in gradient_names(short)]
        found = [a for a in aliases if a in places and _shape(places[a]) == _shape(slot)]
        if found:
            state.parameters[name], state.gradients[name] = slot, places[found[0]]
        elif aliases and name in declared:
            raise SpecError(
                f"grads={{{name!r}: {aliases[0]!r}}}: {state.name} has no array {aliases[0]!r} of that shape after backward"
            )
    for name in [n for n in state.parameters if any(n == s.label for s in state.gradients.values())]:
        del state.parameters[name], state.gradients[name]


def _moved(state: Stateful, others: Mapping[str, Slot]) -> dict[str, str]:
    """Sort the remaining arrays by what a probe shows: buffers, caches, and parameters without a gradient."""
    taken = {slot.label for slot in state.gradients.values()}
    findings: dict[str, str] = {}
    for name, slot in others.items():
        if name in taken or not is_array(slot.get()):
            continue  # a number such as eps or momentum is a setting unless a gradient is named after it
        changes = {mode: _changes(state, slot, mode) for mode in state.modes}
        if not any(changes.values()):
            continue  # a cache: forward writes it before it reads it
        state.buffers[name] = slot
        if changes[state.modes[0]] and name not in state.request.grads:
            findings[name] = (
                f"`{name}` changes the output and has no gradient: set self.d{name.rpartition('.')[2]} in backward, or "
                f"write LayerSpec(..., grads={{{name!r}: 'its gradient'}}), or None there if it is a constant"
            )
    return findings


def _changes(state: Stateful, slot: Slot, mode: str | None) -> bool:
    """Whether the outputs depend on what stands there, all else equal."""
    before = slot.read()
    if before is None:
        return False
    before = before.clone()
    kept = state.read({**state.parameters, **state.buffers})
    plain = _outputs(state, mode, kept)
    slot.write(before * 1.125 + 0.0625)
    changed = _outputs(state, mode, kept)
    slot.write(before)
    return any(not torch.equal(a, b) for a, b in zip(plain, changed, strict=False))


def _outputs(state: Stateful, mode: str | None, kept: Mapping[str, Tensor]) -> list[Tensor]:
    state.sources.seed(0)
    leaves = {n: leaf.value.clone() for n, leaf in state.leaves.items()}
    outputs = [y.clone() for y in state.forward(leaves, mode)]
    for name, value in kept.items():
        (state.parameters.get(name) or state.buffers[name]).write(value)
    return outputs
