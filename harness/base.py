"""One forward and one backward, and what they left: what every check starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.replay.settings import Left
from harness.subject import Gradients
from harness.tensors.arrays import same_bytes


def put_elsewhere(names: Iterable[str], by: str) -> list[Left]:
    """What is said of global generators that forward or backward was seen to seed, as layers do whose forwards are to be
    compared: what draws later draws the same at every call, and no gradient is wrong for it."""
    return [Left(f"the global generator of {name}", f"seeded by {by}", ONWARD, False) for name in names]


def switched(entered: str | None, now: str) -> list[Left]:
    """What is said of a layer that puts itself into another mode than the one asked for."""
    if not entered or not now or entered == now:
        return []
    return [Left("the layer's mode", f"{now!r} after forward and backward", f"{entered!r}, as before", True)]


ONWARD = "left to go on (all that draws from it after that draws the same at every call; seed a generator of the layer's own)"


@dataclass(frozen=True)
class Base:
    """What the one evaluation showed that every check starts from."""

    outputs: tuple[Tensor, ...]
    gradients: Gradients
    """Of real leaves as real numbers, whatever backward returned."""
    integers: Mapping[str, torch.dtype]
    """{leaf: the dtype} of those that backward returned in integers or booleans, such as a mask."""
    cotangents: tuple[Tensor, ...]
    handed: Mapping[str, Tensor]
    """The inputs as the layer left them."""
    handed_cotangents: tuple[Tensor, ...]
    """The cotangents as the layer left them."""
    outputs_after: tuple[Tensor, ...]
    """The outputs as backward left them."""
    parameters_after: Mapping[str, Tensor]
    left: tuple[Left, ...]
    """What is not its own and was left otherwise than it was: settings, global generators, its mode."""
    buffers_after_forward: Mapping[str, Tensor]
    buffers_after_backward: Mapping[str, Tensor]

    @property
    def overwritten(self) -> dict[int, Tensor]:
        """Outputs as backward left them, where it did not leave them as they were."""
        after = enumerate(zip(self.outputs, self.outputs_after, strict=True))
        return {k: z for k, (y, z) in after if not same_bytes(y, z)}


def integers_among(gradients: Gradients, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of real leaves that are in integers or booleans."""
    given = {n: g for n, g in gradients.items() if g is not None and not (g.is_floating_point() or g.is_complex())}
    return {n: g for n, g in given.items() if n in leaves and leaves[n].is_floating_point()}


def as_real(gradients: Gradients, integers: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> Gradients:
    """The same numbers, those that are `integers` as real ones, and none in a graph: a backward may recompute its forward."""
    real = {n: g.to(leaves[n].dtype) for n, g in integers.items()}
    return {**{n: g.detach() if g is not None and g.requires_grad else g for n, g in gradients.items()}, **real}
