"""A kernel that takes no float64 beside its reference in float64: the same numbers, and what an exact backward gives there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.functions.graph import graph_pullback, tracked
from harness.functions.reference import Reference
from harness.low_precision.rounding import widened
from harness.subject import Evaluation, Leaf, Subject

WIDE = torch.float64


def upcast(case: Case) -> Case | None:
    """The case in float64 with its reference in the layer's place; None where there is none that autograd can follow."""
    function = case.declared or case.reference
    if function is None or not function.computes_in_torch or case.dtype is WIDE:
        return None
    leaves, buffers = widened(case.leaves, WIDE), widened(case.buffers, WIDE)
    subject = _by_reference(case.subject, function, leaves, buffers, [y.shape for y in case.base.outputs])
    return replace(case, subject=subject, leaves=leaves, buffers=buffers, declared=function)


def _by_reference(
    layer: Subject,
    function: Reference,
    leaves: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    shapes: Sequence[torch.Size],
) -> Subject:
    """A subject that computes the reference and goes back by autograd; made in another dtype, it is the layer itself, whose outputs
    have these shapes: with those of a reference that has others there is nothing to compare."""

    def run(values: Mapping[str, Tensor], state: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
        live = tracked(values, layer.wanted())
        outputs = function.outputs(layer, live, state, mode, seed)
        if stray := [y.dtype for y in outputs if y.dtype is not WIDE]:
            raise Refused(f"the reference answers float64 with {stray[0]}")
        if any(y.shape != shape for y, shape in zip(outputs, shapes, strict=False)):
            raise Refused("the reference's outputs have other shapes")
        return Evaluation(tuple(y.detach() for y in outputs), graph_pullback(outputs, live))

    return replace(
        layer,
        leaves={n: Leaf(leaves[n], leaf.role, leaf.wanted) for n, leaf in layer.leaves.items()},
        buffers=buffers,
        run=run,
        draws=False,
        unclaimed={},
        kept=(),
        again=None,
        recast=lambda dtype, within=None, doubled=False: layer,
        recipe=None,
    )
