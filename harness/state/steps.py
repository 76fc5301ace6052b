"""Which parameters a backward moves along their gradients, `W -= learning_rate * dW`: shown by steps of several lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.draws import cotangents_like
from harness.state.slots import Slot
from harness.state.stateful import Stateful
from harness.subject import Gradients
from harness.tensors.arrays import same_bytes, unit_roundoff


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
    state.stepped = dict(slots)  # for as long as this looks at all of them
    found: dict[str, Slot] = {}
    early: dict[str, None] = {}
    for mode in state.probed:
        if len(found) == len(slots) or (mode != state.probed[0] and not found):
            break  # another mode shows what stands still in one: the scale of a single example that was normalised
        with suppress(Exception):  # a backward that refuses this says so where it is judged
            steps = _in(mode, state, slots, outputs)
            found, early = {**found, **steps.slots}, {**early, **dict.fromkeys(steps.early)}
    state.stepped = found
    return Steps(found, tuple(early))


def _in(mode: str | None, state: Stateful, slots: Mapping[str, Slot], outputs: Sequence[Tensor]) -> Steps:
    """What backward moves in one mode."""
    v = cotangents_like(tuple(outputs), 0, 31)
    zero = tuple(torch.zeros_like(w) for w in v)
    (once, g), (twice, h), (still, _) = (_taken(state, slots, w, r, mode) for w, r in ((v, 1.0), (v, 2.0), (zero, 1.0)))
    found = {n: s for n, s in slots.items() if bool((once[n] != 0).any())}
    if any(bool((m != 0).any()) for m in still.values()):
        return Steps({})
    if not all(_doubles(slots[n], once[n], twice[n]) for n in found):
        return Steps({})
    return Steps(found, tuple(n for n, a in g.items() if not _alike(a, h.get(n))))


@dataclass(frozen=True)
class Unmeasured:
    """What backward moves by steps whose length stands nowhere, or in its code alone."""

    slots: Mapping[str, Slot]
    plain: tuple[str, ...] = ()
    """Those that a cotangent of zero leaves where they are: no decay or velocity is in the step."""


def unmeasured(state: Stateful, slots: Mapping[str, Slot], outputs: Sequence[Tensor]) -> Unmeasured:
    """Those that backward moves by a step of which a part is linear in the cotangents and the rest does not depend on them."""
    v = cotangents_like(tuple(outputs), 0, 31)
    with suppress(Exception):
        once, twice, still = (_taken(state, slots, tuple(w * by for w in v))[0] for by in (1.0, 2.0, 0.0))
        found = {
            n: s
            for n, s in slots.items()
            if bool((once[n] != still[n]).any()) and _doubles(s, once[n] - still[n], twice[n] - still[n])
        }
        return Unmeasured(found, tuple(n for n in found if not bool((still[n] != 0).any())))
    return Unmeasured({})


def is_read_from_afar(state: Stateful, outputs: Sequence[Tensor]) -> bool:
    """Whether steps of written length give a copy, from larger cotangents, the gradients that they give the layer."""
    v = cotangents_like(tuple(outputs), 0, 31)
    slots = {n: state.moved[n] for n in state.lengths}
    with suppress(Exception):
        near = _taken(state, slots, v)[0]
        state.forward({n: leaf.value.clone() for n, leaf in state.leaves.items()}, state.modes[0])
        far = state.of_written_length(v)
        return all(_is_step(slots[n], near[n], length, far.get(n)) for n, length in state.lengths.items())
    return False


def _is_step(slot: Slot, step: Tensor, length: float, gradient: Tensor | None) -> bool:
    """Whether a step is a length times a gradient, but for what the array that it is subtracted from rounds by."""
    there = slot.read()
    if there is None or gradient is None:
        return False
    taken = length * gradient
    return bool(((step + taken).abs() <= 1e-3 * taken.abs() + 16 * unit_roundoff(there.dtype) * there.abs()).all())


def ignores_rate(state: Stateful, outputs: Sequence[Tensor]) -> bool:
    """Whether what backward returns is the same at any rate, as of a layer without parameters in a network whose layers take steps."""
    v = cotangents_like(tuple(outputs), 0, 31)
    with suppress(Exception):  # it refuses the number
        found = [_taken(state, {}, v, rate)[1] for rate in (0.5, 1.0, 2.0)]
        return all(_alike(a, other.get(n)) for n, a in found[0].items() for other in found[1:])
    return False


def _taken(
    state: Stateful,
    slots: Mapping[str, Slot],
    cotangents: Sequence[Tensor],
    rate: float = 0.0,
    mode: str | None = None,
) -> tuple[dict[str, Tensor], Gradients]:
    """By how much one backward at this rate, in this mode or the first, moves each array, and what it returns; everything is
    brought back."""
    state.sources.seed(0)
    state.forward({n: leaf.value.clone() for n, leaf in state.leaves.items()}, mode or state.modes[0])
    before = state.read(slots)  # after the forward, whose caches are its own
    state.pace = rate
    try:
        found = {n: None if g is None else g.clone() for n, g in state.pull(cotangents).items()}
        return {n: t - before[n] for n, t in state.read(slots).items()}, found
    finally:
        # in place of those alone: `var` may be the array of running variances itself
        moved = [n for n, t in state.read(slots).items() if not same_bytes(t, before[n])]
        state.restore({n: slots[n] for n in moved}, {n: before[n] for n in moved})


def _doubles(slot: Slot, once: Tensor, twice: Tensor) -> bool:
    """Whether a step is twice another, but for what both round by: each is subtracted from the array, and some add to it in parts."""
    there = slot.read()
    assert there is not None
    return bool(((twice - 2 * once).abs() <= 16 * unit_roundoff(there.dtype) * (there.abs() + once.abs())).all())


def _alike(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.allclose(a, b, rtol=1e-3, atol=0.0, equal_nan=True))
