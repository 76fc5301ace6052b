"""Functions whose backward is what autograd computes: what the conventions for them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from harness import recipe
from harness.domain import backward_may_raise
from harness.generators import reachable
from harness.held import Held, standing_in
from harness.nested import flat
from harness.outcome import SpecError
from harness.request import Request, call_arguments, outputs_of
from harness.routes import seedings
from harness.sources import Sources, first_seen, module_state, restored_later
from harness.subject import Evaluation, Gradients, Leaf, Recipe, Run, Subject, looked_at

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
        return torch.autograd.grad(outputs, leaves, cotangents, retain_graph=again, allow_unused=True)
    except RuntimeError as error:
        if again and "retain_graph=False" in str(error):
            return _pulled(outputs, leaves, cotangents)
        if "use_reentrant" in str(error):  # torch's own refusal: of gradients asked for by tensor it knows nothing
            raise SpecError(
                "torch.utils.checkpoint(..., use_reentrant=True) goes back through .backward() alone and can't be checked: write "
                "use_reentrant=False, which computes the same gradients"
            ) from error
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


def _silent(evaluation: Evaluation, arguments: Mapping[str, Any], leaves: Mapping[str, Leaf]) -> list[str]:
    """The inputs that need no gradient and for which backward gives None: those that do not require one beside others that do,
    and later ones of a loss, such as its target."""
    given = {n: v for argument in arguments.items() for n, v in flat(*argument)}
    inputs = [n for n, leaf in leaves.items() if leaf.wanted and leaf.role == "input"]
    require = [n for n in inputs if getattr(given[n], "requires_grad", False)]
    is_loss = sum(y.numel() for y in evaluation.outputs) == 1
    optional = [n for n in inputs if n not in require and (require or (is_loss and n != inputs[0]))]
    if not optional:
        return []
    with backward_may_raise():
        found = evaluation.pullback([torch.ones_like(y) for y in evaluation.outputs])
    return [n for n in optional if found.get(n, ...) is None]


NOTHING: Mapping[str, Held] = MappingProxyType({})


def traced(
    request: Request,
    name: str,
    arguments: Mapping[str, Any],
    call: Callable[..., Any],
    reason: str,
    held: Mapping[str, Held] = NOTHING,
    judged: Collection[str] = (),
) -> Subject:
    """A subject from `call(*inputs, **keywords) -> outputs`.

    Args:
        request: the layer and its inputs.
        name: what it is called.
        arguments: the inputs by name.
        call: the function.
        reason: why autograd is no second opinion on it.
        held: the tensors that it computes with beside its arguments; others stand in their places while it runs.
        judged: those of them whose gradient is.
    """
    request = request.with_modes()
    own = {n: h.like(request.dtype, request.device) for n, h in held.items()}
    leaves = request.leaves(arguments) | {n: Leaf(own[n], "parameter") for n in judged}
    fixed = {n: t for n, t in own.items() if n not in judged}
    wanted = [n for n, leaf in leaves.items() if leaf.wanted]
    sources = Sources(request.layer)
    for module in reachable((torch.nn.Module,), request.layer):
        if first_seen(module):
            restored_later(module_state(module))

    writes = False
    strange: dict[int, Tensor] = {}

    def outputs_at(live: Mapping[str, Tensor], mode: str | None, seed: int) -> tuple[Tensor, ...]:
        sources.seed(seed)
        keywords = {**request.kwargs, **request.modes.get(mode or "", {})}
        given = {n: t.clone() for n, t in live.items()} if writes else live
        with standing_in(held, given):
            return outputs_of(call(*call_arguments(arguments, given, "torch"), **keywords), name)

    def running(some: Collection[str], pullback: Pulling) -> Run:
        def run(values: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
            nonlocal writes, strange
            live = tracked(values, some)
            there = {**live, **{n: t.clone() for n, t in fixed.items()}}
            try:
                outputs = outputs_at(there, mode, seed)
            except RuntimeError as error:
                if writes or "leaf Variable that requires grad" not in str(error):
                    raise
                writes = True  # it works in place and says so (mark_dirty), which autograd allows on what is no leaf
                outputs = outputs_at(there, mode, seed)
            pull = pullback(outputs, live)
            if pullback is bare_pullback:  # the probe
                strange = strangers(outputs, there.values())

            def pulled(cotangents: Sequence[Tensor]) -> Gradients:
                with standing_in(held, there):  # a backward may read what it has not saved
                    return pull(cotangents)

            now = {n: live[n] for n in judged}
            copied, memory = looked_at(pulled)
            return Evaluation(tuple(y.detach() for y in outputs), copied, now=lambda: now, memory=memory)

        return run

    probe = running(wanted, bare_pullback)
    missing: dict[str, str] = {}
    with sources.watched():
        for mode in request.modes or (None,):
            evaluation = probe({n: leaf.value.clone() for n, leaf in leaves.items()}, {}, mode, 0)
            if before := strange:
                probe({n: leaf.value.clone() for n, leaf in leaves.items()}, {}, mode, 0)
                missing |= unfound(before, strange)
    silent = _silent(evaluation, arguments, leaves)
    leaves |= {n: replace(leaves[n], wanted=False) for n in silent}
    wanted = [n for n in wanted if n not in silent]
    run = running(wanted, graph_pullback)

    def written() -> Recipe:
        plain = recipe.traced(
            request.layer,
            name,
            ".apply" if call is not request.layer else "",
            [p.replace("give(leaves", "(live") for p in recipe.passed(arguments, leaves)],
            wanted,
            recipe.keywords_of(request.kwargs, request.modes),
            {n: [s.code for s in held[n].slots] for n in judged},
        )
        itself = "function.__self__" if call is not request.layer else "function"  # `Function.apply`
        return recipe.seeded(plain, seedings(sources.drawn, {itself: request.layer}))

    return Subject(
        name,
        leaves,
        {},
        run,
        tuple(request.modes) or (None,),
        autograd_is_backward=reason,
        notes=tuple(f"`{n}` has no gradient: backward gives None; it does not require one, not judged" for n in silent),
        draws=bool(sources),
        replayed=sources.replayed,
        strays=sources.strays,
        unclaimed=missing,
        partially=lambda some, of=None: running(some, partial(bare_pullback, some=of)),
        held={n: h.tensor for n, h in held.items()},
        recipe=written,
    )
