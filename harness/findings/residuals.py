"""What the residual of a wrong gradient is along axes: the same for all, or a multiple of what stands there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from harness.case import Case
from harness.findings.likeness import AXES, explains, output_beside


def structured(case: Case, name: str, g: Tensor, r: Tensor, again: bool = False) -> Iterator[str]:
    """Terms with sums along axes, alone or together, that are missing or wrong; on `again`, where the question is whether the
    same holds at another draw, all that fit there, however few entries there are."""
    x = case.leaves[name].double()
    parallel = [("input", "x", x) if case.subject.leaves[name].role == "input" else (name, name, x)]
    if (y := output_beside(case, g.shape)) is not None:
        parallel.append(("output", "y", y.double()))
    if ((sum(size > 1 for size in g.shape) > 1 and g.numel() > 3) or again) and explains(r + (g - r).mean(), g, r):
        yield "every entry is off by the same amount: a constant, or a term with the sum or mean over all axes, is missing or wrong"
        if not again:
            return
    said: list[set[int]] = []
    for tell in (_constant, partial(_centred, parallel[0][0]), partial(_parallel, parallel), partial(_both, again)):
        for axes in sets(g.ndim, g.ndim):
            # two entries fit a line through anything; what holds along an axis holds along more of them too often
            known = not again and any(few <= set(axes) or few > set(axes) for few in said)
            if known or (math.prod(g.shape[a] for a in axes) < 3 and not again):
                continue
            if sentence := tell(x, g, r, axes):
                said.append(set(axes))
                yield sentence


def _constant(x: Tensor, g: Tensor, r: Tensor, axes: tuple[int, ...]) -> str:
    if not explains(r + (g - r).mean(axes, keepdim=True), g, r):
        return ""
    over = _over(axes)
    return f"the residual is constant along {axes_named(axes)}: a term with the sum or mean {over} is missing or wrong"


def _centred(what: str, x: Tensor, g: Tensor, r: Tensor, axes: tuple[int, ...]) -> str:
    if not explains(r + _part(g - r, x - x.mean(axes, keepdim=True), axes), g, r):
        return ""
    along = axes_named(axes)
    return f"the residual is parallel to the {what} centred along {along}: the term with Σ δ·x̂ {_over(axes)} is missing or wrong"


def _parallel(
    parallel: Sequence[tuple[str, str, Tensor]], x: Tensor, g: Tensor, r: Tensor, axes: tuple[int, ...]
) -> str:
    for what, symbol, t in parallel:
        if explains(r + _part(g - r, t, axes), g, r):
            along = axes_named(axes)
            return f"the residual is parallel to the {what} along {along}: the term with Σ δ·{symbol} {_over(axes)} is missing or wrong"
    return ""


def _both(again: bool, x: Tensor, g: Tensor, r: Tensor, axes: tuple[int, ...]) -> str:
    if math.prod(g.shape[a] for a in axes) < 4 and not again:  # of three entries one would tell
        return ""
    model = (g - r).mean(axes, keepdim=True) + _part(g - r, x - x.mean(axes, keepdim=True), axes)
    if not explains(r + model, g, r):
        return ""
    return (
        f"the residual is constant plus parallel to the input centred along {axes_named(axes)}: the terms with Σ δ and Σ δ·x̂, "
        "through the mean and the variance, are missing or wrong"
    )


def _part(residual: Tensor, t: Tensor, axes: tuple[int, ...]) -> Tensor:
    """What of the residual is parallel to t along axes."""
    return ((residual * t).sum(axes, keepdim=True) / t.square().sum(axes, keepdim=True)).nan_to_num(0.0) * t


def _over(axes: tuple[int, ...]) -> str:
    return "over them" if len(axes) > 1 else "over it"


def crossed(case: Case, x: Tensor, g: Tensor, r: Tensor) -> Iterator[str]:
    """A sum over one axis where another was meant: what is off is constant along one plus constant along the other."""
    if g.ndim != 2 or min(g.shape) < 3:
        return
    scales = [("", torch.ones_like(g)), (" over the input", x)]
    if (y := output_beside(case, g.shape)) is not None:
        scales.append((" over the output", y.double()))
    for what, t in scales:
        share = (g - r) / t
        model = share.mean(0, keepdim=True) + share.mean(1, keepdim=True) - share.mean()
        if bool(model.isfinite().all()) and explains(r + model * t, g, r):
            yield f"the residual{what} is constant along axis 0 plus constant along axis 1: a sum or mean is taken over the wrong axis"
            return


def shifted(g: Tensor, r: Tensor) -> Iterator[str]:
    """The right entries one place on, those that leave the tensor lost: of padding too much is cut off at one side and too little
    at the other, or each step of time has what belongs to the next."""
    for axes in sets(g.ndim, 2):
        for by in (1, -1) if min(g.shape[a] for a in axes) > 2 else ():
            there, here, right = g, r, r
            for a in axes:
                there, here, right = (
                    t.narrow(a, int(start), g.shape[a] - 1)
                    for t, start in ((there, by == 1), (here, by == -1), (right, by == 1))
                )
            # equal rows are at their places after any shift
            if here.any() and not explains(right, there, here) and explains(here, there, right):
                side = "after" if by == 1 else "before"
                yield f"the right entries stand {side} their places by one along {axes_named(axes)}, and those at its end are lost"
                return


def sets(ndim: int, most: int) -> Iterator[tuple[int, ...]]:
    """Axes, alone and up to so many together."""
    for count in range(1, min(most, AXES) + 1):
        yield from combinations(range(ndim), count)


def axes_named(axes: tuple[int, ...]) -> str:
    """Axes in words."""
    *first, last = map(str, axes)
    return f"axes {', '.join(first)} and {last}" if first else f"axis {last}"
