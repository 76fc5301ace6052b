"""Lists of gradients of equal shapes that seem to stand in another order than their parameters: told, never assumed.

An optimiser goes through both lists side by side, so another order is a fault unless the user says which is whose.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

from harness.state.slots import Slot
from harness.state.stateful import Stateful

STEP, NEAR = 1e-5, 1e-4
"""Of a central difference of outputs of order one, and how near it comes to a slope it confirms."""


def in_another_order(state: Stateful, found: Mapping[str, Tensor]) -> list[str]:
    """For each parameter whose gradient fits another of the list better: what to write if that is meant."""
    listed = {n: place for n, place in state.gradients.items() if isinstance(place.key, int)}
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, place in listed.items():
        groups.setdefault(tuple(found[place.label].shape), []).append(name)
    said = []
    for names in groups.values():
        for name in names if len(names) > 1 else ():
            slope = _slope(state, state.parameters[name])
            fits = [n for n in names if slope is not None and slope.confirms(found[listed[n].label])]
            if len(fits) == 1 and fits[0] != name:
                label = listed[fits[0]].label
                said.append(
                    f"`{label}` fits {name}: if the lists stand in other orders, write grads={{{name!r}: {label!r}}}"
                )
    return said


class Slope(NamedTuple):
    """One central difference of the summed outputs along a direction `u` of a parameter, in its shape."""

    u: Tensor
    difference: float

    def confirms(self, gradient: Tensor) -> bool:
        """Whether a gradient of the parameter's shape has this slope along `u`."""
        claimed = float((gradient * self.u).sum())
        return abs(self.difference - claimed) <= NEAR * (abs(claimed) + 1e-3)


def _slope(state: Stateful, slot: Slot) -> Slope | None:
    """By two forwards; None where one is refused."""
    value = slot.read()
    if value is None:
        return None
    value = value.clone()
    u = torch.cos(torch.arange(1.0, value.numel() + 1, dtype=torch.float64)).reshape(value.shape).to(value)
    sums = []
    with suppress(Exception):  # a point that is refused confirms nothing
        for sign in (1, -1):
            slot.write(value + sign * STEP * u)
            state.sources.seed(0)
            outputs = state.forward({n: leaf.value.clone() for n, leaf in state.leaves.items()}, state.probed[0])
            sums.append(sum(float(y.sum()) for y in outputs))
    slot.write(value)
    return Slope(u, (sums[0] - sums[1]) / (2 * STEP)) if len(sums) == 2 else None
