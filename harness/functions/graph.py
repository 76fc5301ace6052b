"""What autograd makes of outputs with their graph: pullbacks, and the leaves at the graph's ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from harness.outcome import SpecError
from harness.subject import Gradients

Pulling = Callable[[Sequence[Tensor], Mapping[str, Tensor]], Callable[[Sequence[Tensor]], Gradients]]
"""Outputs with their graph, and the leaves at its ends → the pullback."""


def graph_pullback(outputs: Sequence[Tensor], leaves: Mapping[str, Tensor]) -> Callable[[Sequence[Tensor]], Gradients]:
    """The pullback that autograd computes, once or again; a leaf that the graph does not reach has the gradient zero."""

    def pull(cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        reached = [n for n, leaf in leaves.items() if leaf.requires_grad]
        live = [(y, v) for y, v in zip(outputs, cotangents, strict=True) if y.requires_grad]
        if not live:
            return {n: torch.zeros_like(leaves[n]) for n in reached}
        ys, vs = zip(*live, strict=True)
        found = _pulled(ys, [leaves[n] for n in reached], vs, again=True)
        return {n: torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(reached, found, strict=True)}

    return pull


def bare_pullback(
    outputs: Sequence[Tensor], leaves: Mapping[str, Tensor], some: Collection[int] | None = None
) -> Callable[[Sequence[Tensor]], Gradients]:
    """What autograd itself gives: None for None, and nothing for a leaf that its graph does not reach.

    Args:
        some: the outputs whose cotangent is taken, None: all of them.
    """

    def pull(cotangents: Sequence[Tensor]) -> dict[str, Tensor | None]:
        taken = [(y, v) for k, (y, v) in enumerate(zip(outputs, cotangents, strict=True)) if some is None or k in some]
        live = [(y, v) for y, v in taken if y.requires_grad]
        there = reached([y for y, _ in live])
        names = [n for n, leaf in leaves.items() if id(leaf) in there]
        if not names:
            return {}
        ys, vs = zip(*live, strict=True)
        found = _pulled(ys, [leaves[n] for n in names], vs)
        return dict(zip(names, found, strict=True))

    return pull


def _pulled(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor], cotangents: Sequence[Tensor], again: bool = False
) -> Sequence[Tensor | None]:
    """What autograd computes.

    Args:
        again: whether it may be asked to once more, where that can be had: what is compiled may give its memory away.
    """
    try:
        found = torch.autograd.grad(outputs, leaves, cotangents, retain_graph=again, allow_unused=True)
        return [None if g is None else _dense(g) for g in found]
    except RuntimeError as error:
        if again and "retain_graph=False" in str(error):
            return _pulled(outputs, leaves, cotangents)
        if "use_reentrant" in str(error):  # torch's own refusal: of gradients asked for by tensor it knows nothing
            raise SpecError(
                "torch.utils.checkpoint(..., use_reentrant=True) goes back through .backward() alone and can't be checked: write "
                "use_reentrant=False, which computes the same gradients"
            ) from error
        said = str(error)
        if ".grad()" in said and ".backward()" in said:  # how reversible layers refuse to be asked by autograd.grad
            why = f"it goes back through .backward() alone and can't be checked ({said}): check what it wraps"
            raise SpecError(why) from error
        raise


def reached(outputs: Iterable[Tensor]) -> set[int]:
    """The ids of the leaves at the ends of the outputs' graph."""
    return set(ends(outputs))


def ends(outputs: Iterable[Tensor]) -> dict[int, Tensor]:
    """The leaves at the ends of the outputs' graph, by id."""
    outputs = list(outputs)
    found = {id(y): y for y in outputs if y.grad_fn is None}
    waiting, seen = [y.grad_fn for y in outputs if y.grad_fn is not None], set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        found |= {id(node.variable): node.variable} if hasattr(node, "variable") else {}
        waiting += [f for f, _ in node.next_functions if f is not None]
    return found


def strangers(outputs: Iterable[Tensor], known: Iterable[Tensor]) -> dict[int, Tensor]:
    """The leaves of the outputs' graph that require a gradient and are none of those that it was run with."""
    own = {id(t) for t in known}
    return {key: t for key, t in ends(outputs).items() if t.requires_grad and key not in own}


def unfound_in(
    modes: Iterable[str | None], strangers_of: Callable[[str | None], Mapping[int, Tensor]]
) -> dict[str, str]:
    """What to write for the strangers of a run in each mode; where it has any it is run again."""
    found: dict[str, str] = {}
    for mode in modes:
        if before := strangers_of(mode):
            found |= unfound(before, strangers_of(mode))
    return found


def unfound(before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> dict[str, str]:
    """What to write for the strangers of two runs that are the same tensors: others are made anew by each run."""
    found: dict[str, str] = {}
    for tensor in (t for key, t in before.items() if key in after):
        kind = f"{tuple(tensor.shape)} tensor"
        name = next(n for k in range(1, len(found) + 2) if (n := kind if k == 1 else f"{kind} {k}") not in found)
        found[name] = _UNFOUND
    return found


_UNFOUND = (
    "autograd reaches it, and it is neither an input nor a tensor that the layer was found to hold, or an earlier call has kept it: "
    "hand it over as an input, such as gradcheck(lambda x, w: f(x, w), x, w), or detach it where it is a constant"
)


def tracked(leaves: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """The leaves on the same memory, those that want a gradient requiring it."""
    return {n: t.detach().requires_grad_(n in wanted) if t.is_floating_point() else t for n, t in leaves.items()}


def _dense(g: Tensor) -> Tensor:
    """A gradient that is kept for the rows that were asked for alone (an embedding's, `sparse=True`) with all others, which are 0."""
    return g if g.layout is torch.strided else g.to_dense()


def vector_jacobian(
    outputs: Sequence[Tensor], leaves: Mapping[str, Tensor], cotangents: Sequence[Tensor]
) -> dict[str, Tensor] | str:
    """vᵀJ by autograd for each leaf, zero where the graph does not reach it; or why there is no graph."""
    live = [(y, v) for y, v in zip(outputs, cotangents, strict=True) if y.requires_grad]
    if not live:
        return "the forward leaves autograd's graph (detach, no_grad, .data, or NumPy inside)"
    if not leaves:
        return {}
    ys, vs = zip(*live, strict=True)
    try:
        found = torch.autograd.grad(ys, list(leaves.values()), vs, allow_unused=True)
    except RuntimeError as error:
        return f"autograd can't go back through the forward: {error}"
    return {
        n: torch.zeros_like(t) if g is None else g.detach() for (n, t), g in zip(leaves.items(), found, strict=True)
    }
