"""Which parameters a backward moves along their gradients, `W -= learning_rate * dW`: shown by steps of several lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.arrays import unit_roundoff
from harness.draws import cotangents_like
from harness.slots import Slot
from harness.stateful import Stateful
from harness.subject import Gradients


@dataclass(frozen=True)
class Steps:
    """What backward moves, and how."""

    slots: Mapping[str, Slot]
    early: tuple[str, ...] = ()
    """The inputs whose gradients change with the learning rate: what they are computed from has been moved by then."""


def steps_of(state: Stateful, slots: Mapping[str, Slot], outputs: Sequence[Tensor]) -> Steps:
    """The arrays among `slots` that backward moves by its learning rate times what is zero for a cotangent of zero; none if
    anything moves otherwise, as with momentum or weight decay.

    Args:
        outputs: a forward's, for the shape of the cotangents.
    """
    v = cotangents_like(tuple(outputs), 0, 31)
    zero = tuple(torch.zeros_like(w) for w in v)
    state.stepped = dict(slots)  # for as long as this looks at all of them
    with suppress(Exception):  # a backward that refuses this says so where it is judged
        (once, g), (twice, h), (still, _) = (_taken(state, w, rate) for w, rate in ((v, 1.0), (v, 2.0), (zero, 1.0)))
        found = {n: s for n, s in slots.items() if bool((once[n] != 0).any())}
        if not any(bool((m != 0).any()) for m in still.values()) and all(
            bool(((twice[n] - 2 * once[n]).abs() <= _rounding(slots[n], once[n])).all()) for n in found
        ):
            state.stepped = found
            return Steps(found, tuple(n for n, a in g.items() if not _alike(a, h.get(n))))
    state.stepped = {}
    return Steps({})


def _taken(state: Stateful, cotangents: Sequence[Tensor], rate: float) -> tuple[dict[str, Tensor], Gradients]:
    """By how much one backward at this rate moves each array, and what it returns; everything is brought back."""
    before = state.read(state.stepped)
    state.sources.seed(0)
    state.forward({n: leaf.value.clone() for n, leaf in state.leaves.items()}, state.modes[0])
    state.pace = rate
    try:
        found = {n: None if g is None else g.clone() for n, g in state.pull(cotangents).items()}
        return {n: t - before[n] for n, t in state.read(state.stepped).items()}, found
    finally:
        state.restore(state.stepped, before)


def _rounding(slot: Slot, move: Tensor) -> Tensor:
    """What two steps round by: each is subtracted from the array, and some add to it in parts."""
    there = slot.read()
    assert there is not None
    return 16 * unit_roundoff(there.dtype) * (there.abs() + move.abs())


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.allclose(a, b, rtol=1e-3, atol=0.0, equal_nan=True))
