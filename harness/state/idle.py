"""Places of gradients in which zeros stand before and after a backward: whether it has written them there.

Where softmax gives all classes alike, a cotangent of ones has no other gradient; nor has the scale of one normalised example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from harness.domain import backward_may_raise
from harness.reading.naming import may_be_gradient
from harness.state.slots import Slot
from harness.state.stateful import Stateful


def idle(slots: Mapping[str, Slot], start: Mapping[str, Tensor]) -> dict[str, Slot]:
    """Those that are gradients by their names, and have nothing but zeros in them, as they `start` and as they are now."""
    zeros = [n for n, t in start.items() if n in slots and not t.any() and may_be_gradient(n)]
    return {n: slots[n] for n in zeros if (t := slots[n].read()) is not None and not t.any()}


def stirred(
    state: Stateful, mode: str | None, outputs: Sequence[Tensor], still: Mapping[str, Slot]
) -> tuple[dict[str, Tensor | None], set[str]]:
    """What a backward of cotangents that differ from entry to entry gives, after a forward of its own, and which of these places
    it writes to: in its way stand ones."""
    leaves = {n: leaf.value.clone() for n, leaf in state.leaves.items()}
    cotangents = [torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype, device=y.device).reshape(y.shape) for y in outputs]
    before = state.read(still)
    with backward_may_raise():
        state.forward(leaves, mode)
        state.restore(still, {n: torch.ones_like(t) for n, t in before.items()})
        given = state.backward(cotangents)
    after = state.read(still)
    left = {n for n, t in after.items() if bool((t == 1).all())}
    state.restore({n: still[n] for n in left}, {n: before[n] for n in left})
    return given, {*after} - left
