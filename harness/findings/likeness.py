"""What a wrong gradient is instead: another tensor's, the right one in another order, the cotangent, or that of another point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import permutations

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.draws import directions_like, unit_of
from harness.oracles.estimate import FINE_STEP

FIT = 1e-5
"""A sentence is offered if it leaves less than this share of the residual."""

AXES = 4
"""Up to how many axes all their orders are tried."""

ENOUGH = 3
"""Fewer entries are a multiple of any others too often."""

DECIMALS = 9
"""Up to how many decimals a gradient may be rounded to."""

DIAGONAL = 150
"""Up to how many entries the diagonal of the Jacobian is looked at, a backward each."""


def explains(model: Tensor, g: Tensor, r: Tensor) -> bool:
    """Whether a model of the claim leaves little of what it is off by."""
    return bool((g - model).norm() <= FIT * max(float((g - r).norm()), 1e-300))


def output_beside(case: Case, shape: torch.Size) -> Tensor | None:
    """The only output, where it has an entry for each of a tensor of this shape."""
    outputs = case.base.outputs
    return outputs[0] if [y.shape for y in outputs] == [shape] else None


def wrong_entries(g: Tensor, r: Tensor, share: float) -> Tensor:
    """The entries whose residual is more than a share of the largest."""
    residual = (g - r).abs()
    return residual > share * max(float(residual.max()), 1e-300)


def along(out: Tensor, axis: int) -> Tensor:
    """The indices along an axis at which some entry is."""
    others = tuple(a for a in range(out.ndim) if a != axis)
    return out.any(dim=others) if others else out


def _close(t: Tensor | None, r: Tensor) -> bool:
    """Whether a tensor is the right gradient, which is not zero."""
    return t is not None and t.shape == r.shape and bool(r.any()) and bool((t.double() - r).norm() <= FIT * r.norm())


def _mends(t: Tensor | None, g: Tensor, r: Tensor) -> bool:
    """Whether a tensor is the right gradient, much nearer to it than the claim, which may be off by a hair."""
    return _close(t, r) and t is not None and bool((t.double() - r).norm() <= FIT * (g - r).norm())


def likenesses(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """What equals the claim, or leaves it right."""
    exchanged = list(_exchanged(case, name, g, r))
    yield from exchanged
    yield from _reordered(g, r)
    yield from _gathered(g, r)
    yield from _handed_on(case, g, r)
    yield from _decayed(case, name, g, r)
    yield from _clipped(g, r)
    if not exchanged:  # what b gets in W's place is a sum too
        yield from _summed(case, name, g, r)
    yield from _coarse(g, r)


def _exchanged(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """Where the gradient expected here is the one that backward gives for another tensor."""
    for other, claimed in case.base.gradients.items():
        if other != name and _mends(claimed, g, r):
            yield f"what {name} should have is what backward gives for {other}: the two are exchanged"


def _reordered(g: Tensor, r: Tensor) -> Iterator[str]:
    """The right entries in other places: turned round, rolled, or viewed where axes had to be exchanged."""
    for axis, size in enumerate(g.shape):
        if size > 1 and explains(r.flip(axis), g, r):
            yield f"the right entries stand in reverse along axis {axis}"
        if size % 2 == 0 and explains(r.roll(size // 2, axis), g, r):
            yield f"the two halves along axis {axis} are exchanged"
        for by in (1, -1) if size > 2 else ():
            if explains(r.roll(by, axis), g, r):
                yield f"the right entries stand {'after' if by > 0 else 'before'} their places by one along axis {axis}"
    if 1 < g.ndim <= AXES:
        for axes in permutations(range(g.ndim)):
            if axes != tuple(sorted(axes)) and explains(r.permute(axes).reshape(g.shape), g, r):
                yield f"the right entries in the order of axes {axes}: a reshape or view where axes had to be permuted"
                return


def _gathered(g: Tensor, r: Tensor) -> Iterator[str]:
    """One number for all along an axis, the sum or mean of what belongs to each."""
    for axis in (a for a, size in enumerate(g.shape) if size > 1):
        for what, total in (("sum", r.sum(axis, keepdim=True)), ("mean", r.mean(axis, keepdim=True))):
            if explains(total.expand_as(g), g, r):
                yield f"every entry along axis {axis} is the {what} of what belongs to all of them: it is summed over one axis too many"
                return


def _decayed(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """The right gradient and a multiple of what it is the gradient of, which every draw has to show."""
    x = case.leaves[name].double()
    if g.numel() < ENOUGH or not bool(x.any()):
        return
    share = float(((g - r) * x).sum() / x.square().sum())
    if explains(r + share * x, g, r):
        beside = ", as weight decay adds" if case.subject.leaves[name].role != "input" else ""
        yield f"it is the right gradient {'+' if share > 0 else '-'} {abs(share):.4g} times {name} itself{beside}"


def _clipped(g: Tensor, r: Tensor) -> Iterator[str]:
    """Entries that stop at one number of their own sign where they should go further."""
    out = wrong_entries(g, r, FIT)
    bound = float(g.abs().max())
    if (
        bound
        and int(out.sum()) > 1
        and bool((g[out].abs() == bound).all() & (g * r > 0)[out].all() & (r[out].abs() > bound).all())
    ):
        yield f"what should go beyond ±{bound:.6g} is cut off there"


def _handed_on(case: Case, g: Tensor, r: Tensor) -> Iterator[str]:
    """The cotangent as it came, or one path too many or too few on which the input goes straight to the output."""
    given = case.base.cotangents
    if not case.subject.takes_cotangent or len(given) != 1 or given[0].shape != g.shape:
        return
    v = given[0].double()
    if explains(v, g, r):
        yield "it is the cotangent as it came: the derivative is missing"
    elif explains(r - v, g, r):
        yield "what is missing is the cotangent: the path on which the input is added to the output"
    elif explains(r + v, g, r):
        yield "the cotangent is there once too often: as if the input were added to the output"


def _summed(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """A parameter's gradient as the sum of the cotangent times what does not stand beside it in the forward."""
    given, outputs = case.base.cotangents, case.base.outputs
    if not case.subject.takes_cotangent or case.subject.leaves[name].role == "input" or len(given) != 1:
        return
    v = given[0].double()
    if v.numel() <= g.numel() or (v.shape[v.ndim - g.ndim :] != g.shape and g.ndim != v.ndim):
        return
    beside = {n: t for n, t in case.leaves.items() if case.subject.leaves[n].role == "input" and t.shape == v.shape}
    beside |= {"the output": outputs[0]} if outputs[0].shape == v.shape else {}
    try:
        for what, t in beside.items():
            if explains((v * t.double()).sum_to_size(g.shape), g, r):
                yield f"it is the sum of the cotangent times {what}: what {name} multiplies in forward is another"
        if explains(v.sum_to_size(g.shape), g, r):
            yield f"it is the sum of the cotangent alone: what {name} multiplies in forward is missing"
    except RuntimeError:  # it can't be summed to that shape
        return


def _coarse(g: Tensor, r: Tensor) -> Iterator[str]:
    """Numbers of a lower precision, as near to the right ones as those are, or of a few decimals."""
    for places in range(1, DECIMALS + 1):
        rounded, half = (g * 10**places).round() / 10**places, 0.51 * 10.0**-places
        if torch.equal(rounded, g) and bool(g.any()) and bool(((g - r).abs() <= half).all()):
            yield f"every entry is the right one rounded to {places} decimals"
            return
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        rounded = g.to(dtype).double()
        near = (g - r).abs() <= 8 * torch.finfo(dtype).eps * r.abs()
        if torch.equal(rounded, g) and not torch.equal(r.to(dtype).double(), r) and bool(near.all()):
            yield f"every entry is a {str(dtype).removeprefix('torch.')} number near the right one: it is rounded on its way"
            return
    if g.dtype is torch.float64 and bool(((g - r).abs() <= torch.finfo(torch.float32).eps * r.abs()).all()):
        yield (
            "every entry is as near to the right one as float32 numbers are: something on its way is float32, as "
            "torch.tensor(0.1) and torch.where(c, 0.1, 0.9) are"
        )


def elsewhere(case: Case, name: str, g: Tensor, r: Tensor) -> Iterator[str]:
    """The right gradient of another point, or what backward gives at another point: input and output exchanged, a matrix
    transposed, a kernel turned round."""
    x, y = case.leaves[name], output_beside(case, case.leaves[name].shape)
    at_output = {} if y is None or torch.equal(y, x) else {name: y.to(x.dtype)}
    if at_output and _mends(_claimed(case, name, at_output), g, r):
        yield "it would be right with the output where the input stands"
    followed = case.autograd
    if isinstance(followed, dict) and not _close(followed.get(name), r):
        return
    traced = isinstance(followed, dict)
    is_that_at, diagonal = (_is_that_at, _diagonal) if traced else (_moves_as_at, _differenced_diagonal)
    for said, changed in _altered(case, name):
        if is_that_at(case, name, g, r, changed):
            yield f"it is what it would be with {said}"
    if at_output and is_that_at(case, name, g, r, at_output):
        yield "it is the derivative at the output, where that at the input is asked for"
    if at_output and x.numel() <= DIAGONAL and explains(diagonal(case, name), g, r):
        yield "only the diagonal of the Jacobian counts: how an entry moves the other outputs is missing"


def _altered(case: Case, name: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Other points that people take for this one; what is differentiated by is not left out of its own gradient."""
    for n, leaf in case.leaves.items():
        if not leaf.is_floating_point():
            continue
        if n != name and bool((leaf < 0).any()):
            yield f"|{n}| for {n}", {n: leaf.abs()}
        if case.subject.leaves[n].role == "input":
            continue
        for value in (1, 0):
            if n != name and bool((leaf != value).any()):
                yield f"{n} = {value} everywhere", {n: torch.full_like(leaf, value)}
        if leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1] > 1:
            yield f"{n} transposed", {n: leaf.T.clone()}
        for axis in range(leaf.ndim):
            if leaf.shape[axis] > 1:
                yield f"{n} reversed along axis {axis}", {n: leaf.flip(axis)}
        if leaf.ndim > 2:
            yield f"{n} reversed along its last two axes", {n: leaf.flip(-1, -2)}


def _claimed(case: Case, name: str, changed: dict[str, Tensor]) -> Tensor | None:
    """What backward gives at another point, with the same cotangents."""
    try:
        return case.at(leaves={**case.leaves, **changed}).evaluate(1, case.base.cotangents).gradients.get(name)
    except (Refused, BackwardRaised):
        return None


def _is_that_at(case: Case, name: str, g: Tensor, r: Tensor, changed: dict[str, Tensor]) -> bool:
    """Whether the claim is the right gradient at another point."""
    try:
        found = case.at(leaves={**case.leaves, **changed}).autograd
    except (Refused, BackwardRaised):
        return False
    return isinstance(found, dict) and name in found and explains(found[name].double(), g, r)


def _diagonal(case: Case, name: str) -> Tensor:
    """What the diagonal of the Jacobian makes of the cotangent."""
    live = {n: t.clone().requires_grad_(n == name) for n, t in case.leaves.items()}
    y, v = case.function(live)[0].flatten(), case.base.cotangents[0].flatten()
    x = live[name]
    rows = [torch.autograd.grad(y[k], x, retain_graph=True)[0].flatten()[k] for k in range(len(y))]
    return (torch.stack(rows) * v).reshape(x.shape).double()


# The same without autograd


def _moves_as_at(case: Case, name: str, g: Tensor, r: Tensor, changed: dict[str, Tensor]) -> bool:
    """Whether along two directions the claim is the slope of the outputs at another point."""
    leaves = {**case.leaves, **changed}
    try:
        for number in (0, 1):
            (d,) = directions_like([leaves[name]], case.seed, 71, number)
            slope = sum(
                float((v * dy).sum())
                for v, dy in zip(case.base.cotangents, _slopes(case, leaves, name, d), strict=True)
            )
            if not abs(float((g * d).sum()) - slope) <= FIT * abs(float(((g - r) * d).sum())):
                return False
    except Refused:
        return False
    return True


def _differenced_diagonal(case: Case, name: str) -> Tensor:
    """What the diagonal of the Jacobian makes of the cotangent."""
    x, v = case.leaves[name], case.base.cotangents[0]
    found = torch.zeros(x.numel(), dtype=torch.float64, device=x.device)
    with suppress(Refused):  # what is not found explains nothing
        for k in range(x.numel()):
            one = torch.zeros(x.numel(), dtype=x.dtype, device=x.device)
            one[k] = 1.0
            found[k] = _slopes(case, case.leaves, name, one.reshape(x.shape))[0].flatten()[k]
    return found.reshape(x.shape) * v


def _slopes(case: Case, leaves: Mapping[str, Tensor], name: str, d: Tensor) -> list[Tensor]:
    """The derivatives of the outputs along a direction through one leaf, at these leaves, by one central difference."""
    h = FINE_STEP * unit_of(leaves[name])
    up, down = (case.function({**leaves, name: leaves[name] + side * h * d}) for side in (1.0, -1.0))
    return [(a - b).detach() / (2 * h) for a, b in zip(up, down, strict=True)]
