"""What the residual of a wrong gradient looks like: sentences that fit it, tested on fresh draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import BackwardRaised, Refused

FIT = 1e-5
"""A sentence is offered if it leaves less than this share of the residual."""


def sentences(case: Case, name: str, claimed: Tensor, expected: Tensor) -> list[str]:
    """Sentences that explain `claimed` given `expected`, the simplest first; none where nothing fits."""
    g, r = claimed.double(), expected.double()
    if g.shape != r.shape or not g.numel() or not bool(torch.isfinite(r).all() & torch.isfinite(g).all()):
        return []
    x = case.leaves[name].double()
    return list(_whole(case, g, r)) or list(_structured(x, g, r)) or list(_local(g, r)) or list(_unsummed(case, name))


def common(first: list[str], *others: list[str]) -> tuple[str, ...]:
    """The sentences that hold at every draw; a factor's number gives way to its name."""
    kept = [s for s in first if all(s in other for other in others)]
    named = [s for s in kept if not s.startswith(_NUMBER)]
    return tuple(named or kept)[:3]


STILL = (
    "the forward stands still around here, as a step does: if backward is the derivative of another function on purpose (a "
    "surrogate, straight-through), name that, LayerSpec(..., derivative_of=f)"
)

_NUMBER = "every entry is the same multiple"


def _explains(model: Tensor, g: Tensor, r: Tensor) -> bool:
    return bool((g - model).norm() <= FIT * max(float((g - r).norm()), 1e-300))


def _whole(case: Case, g: Tensor, r: Tensor) -> Iterator[str]:
    if not bool(g.any()):
        yield "the gradient is zero: backward never computes it, or something clears it"
        return
    if g.ndim == 2 and g.shape[0] == g.shape[1] > 1 and not torch.equal(r, r.T) and _explains(r.T, g, r):
        yield "the gradient is transposed"
    if float(r.norm()) == 0:
        if case.declared is None:
            yield STILL
        return
    factor = float((g * r).sum() / r.square().sum())
    if _explains(factor * r, g, r):
        for text in named_factors(factor, case.sizes):
            yield f"every entry is {text} times what it should be"
        size, rest = f"{factor:.6g}", factor - 1
        size = f"1 {'+' if rest > 0 else '-'} {abs(rest):.2g}" if size == "1" else size
        yield f"{_NUMBER} of what it should be: {size} times"


def named_factors(factor: float, sizes: Mapping[str, Any]) -> list[str]:
    """The expressions in sizes and options that equal the factor, the simplest first."""
    candidates = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "-1/2": -0.5}
    for name, value in sizes.items():
        if not isinstance(value, bool) and isinstance(value, (int, float)):
            candidates |= _forms(name, float(value))
    return [text for text, value in candidates.items() if abs(value - factor) <= 1e-6 * abs(factor)]


def _forms(n: str, value: float) -> dict[str, float]:
    forms: dict[str, Callable[[float], float]] = {
        n: lambda v: v,
        f"1/{n}": lambda v: 1 / v,
        f"-{n}": lambda v: -v,
        f"(1-{n})": lambda v: 1 - v,
        f"1/(1-{n})": lambda v: 1 / (1 - v),
        f"{n}/({n}-1)": lambda v: v / (v - 1),
        f"({n}-1)/{n}": lambda v: (v - 1) / v,
        f"{n}²": lambda v: v * v,
        f"1/{n}²": lambda v: v**-2,
        f"√{n}": lambda v: abs(v) ** 0.5,
        f"1/√{n}": lambda v: abs(v) ** -0.5,
    }
    found = {}
    for text, form in forms.items():
        try:
            found[text] = form(value)
        except (ZeroDivisionError, OverflowError):
            continue
    return found


def _structured(x: Tensor, g: Tensor, r: Tensor) -> Iterator[str]:
    residual = g - r
    for axis in range(g.ndim):
        if g.shape[axis] < 3:  # two entries fit a line through anything
            continue
        mean = residual.mean(axis, keepdim=True).expand_as(residual)
        if _explains(r + mean, g, r):
            yield f"the residual is constant along axis {axis}: a term with the sum or mean over it is missing or wrong"
            continue
        centred = x - x.mean(axis, keepdim=True)
        along = (residual * centred).sum(axis, keepdim=True) / centred.square().sum(axis, keepdim=True)
        if _explains(r + along * centred, g, r):
            yield f"the residual is parallel to the input centred along axis {axis}: the term with Σ δ·x̂ over it is missing or wrong"


def _unsummed(case: Case, name: str) -> Iterator[str]:
    """Where one row of the cotangent alone gives the very same gradient of a parameter: `dout[0]` for `dout.sum(0)`."""
    given = case.base.cotangents
    if not case.subject.takes_cotangent or case.subject.leaves[name].role == "input" or len(given) != 1:
        return
    (v,), g = given, case.base.gradients.get(name)
    for axis, size in enumerate(v.shape):
        for place, index in (("first", 0), ("last", size - 1)) if size > 1 else ():
            alone = torch.zeros_like(v)
            alone.select(axis, index).copy_(v.select(axis, index))
            try:
                found = case.evaluate(1, (alone,)).gradients.get(name)
            except (Refused, BackwardRaised):
                return
            if g is not None and found is not None and torch.equal(found, g):
                yield f"only the {place} index along axis {axis} of the cotangent counts, the others are left out"


def _local(g: Tensor, r: Tensor) -> Iterator[str]:
    residual = (g - r).abs()
    out = residual > FIT * max(float(residual.max()), 1e-300)
    for axis in range(g.ndim):
        if g.shape[axis] < 2:
            continue
        others = tuple(a for a in range(g.ndim) if a != axis)
        where = (out.any(dim=others) if others else out).nonzero().flatten().tolist()
        if len(where) == 1:
            place = (
                "the last" if where[0] == g.shape[axis] - 1 else "the first" if where[0] == 0 else f"index {where[0]}"
            )
            yield f"only {place} along axis {axis} is out"
