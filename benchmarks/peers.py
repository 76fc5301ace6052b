"""PyTorch's gradcheck on the very backward that ours judges: the layer's methods inside a torch.autograd.Function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.faults import Fault
from harness.subject import Evaluation, Subject
from layers import Layer, Sequential

Pullback = Callable[[Sequence[Tensor]], Sequence["Tensor | None"]]
Evaluate = Callable[[Sequence[Tensor]], "tuple[tuple[Tensor, ...], Pullback]"]
"""Values of the leaves → outputs, and the pullback, which may be called often."""


class HandWritten(torch.autograd.Function):
    """A function of leaves whose derivative is the pullback's."""

    @staticmethod
    def forward(ctx: Any, evaluate: Evaluate, *leaves: Tensor) -> tuple[Tensor, ...]:
        outputs, ctx.pullback = evaluate(leaves)
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.pullback(cotangents)


def of_layer(layer: Layer, constants: Sequence[Tensor]) -> Evaluate:
    """The layer's own forward and backward and next to nothing else: what a user would write for gradcheck.

    The leaves are z and every parameter. A forward keeps a copy of the layer, not of its tensors, for its backward:
    gradcheck calls forward at other points in between. Masks are the same in every forward.
    """
    layer = copy.deepcopy(layer)
    generators = [g for part in _parts(layer) if (g := getattr(part, "generator", None)) is not None]
    start = [g.get_state() for g in generators]
    names = [(part, name) for part in _parts(layer) for name in part.params]

    def evaluate(leaves: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Pullback]:
        z, *values = leaves
        for (part, name), value in zip(names, values, strict=True):
            part.params[name] = value
        for generator, state in zip(generators, start, strict=True):
            generator.set_state(state)
        a = layer.forward(z, *constants)
        kept = _copied(layer)

        def pullback(cotangents: Sequence[Tensor]) -> list[Tensor]:
            kept.zero_grad()
            δz = kept.backward(cotangents[0])
            return [δz, *(g.clone() for part in _parts(kept) for g in part.grads.values())]

        return (a,), pullback

    return evaluate


def _parts(layer: Layer) -> tuple[Layer, ...]:
    return layer.layers if isinstance(layer, Sequential) else (layer,)


def _copied(layer: Layer) -> Layer:
    """The layer with what its last forward keeps."""
    return Sequential(*map(copy.copy, layer.layers)) if isinstance(layer, Sequential) else copy.copy(layer)


def with_fault(right: Subject, evaluate: Evaluate, fault: Fault) -> Evaluate:
    """The layer's own forward and backward with a fault of the gradient or of the cotangent, as cheap as without."""
    names = right.wanted()

    def run(leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], mode: str | None, seed: int) -> Evaluation:
        outputs, pullback = evaluate([leaves[n] for n in names])
        return Evaluation(outputs, lambda vs: dict(zip(names, pullback(vs), strict=True)))

    faulty = fault.apply(replace(right, run=run))

    def wrong(leaves: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Pullback]:
        evaluation = faulty.run(dict(zip(names, leaves, strict=True)), {}, None, 0)

        def pullback(cotangents: Sequence[Tensor]) -> list[Tensor | None]:
            found = evaluation.pullback(cotangents)
            return [found[n] for n in names]

        return evaluation.outputs, pullback

    return wrong


def of_subject(subject: Subject, mode: str | None, seed: int = 0) -> Evaluate:
    """Any subject, of any convention: right for verdicts, too slow beside `of_layer` for times."""
    names = subject.wanted()

    def run(leaves: Sequence[Tensor]) -> Evaluation:
        values = subject.values() | {n: t.detach().clone() for n, t in zip(names, leaves, strict=True)}
        return subject.run(values, {n: t.clone() for n, t in subject.buffers.items()}, mode, seed)

    def evaluate(leaves: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Pullback]:
        kept = [t.detach().clone() for t in leaves]

        def pullback(cotangents: Sequence[Tensor]) -> list[Tensor | None]:
            # run again: a subject's pullback may be called once, and a later forward may have undone it
            found = run(kept).pullback([v.clone() for v in cotangents])
            return [found.get(n) for n in names]

        return tuple(y.detach().clone() for y in run(leaves).outputs), pullback

    return evaluate


def bare(subject: Subject, mode: str | None, seed: int = 0) -> Evaluate:
    """Any subject on the very tensors that the peer has, so that it may see what is written to them."""
    names = subject.wanted()

    def run(leaves: Sequence[Tensor]) -> Evaluation:
        values = subject.values() | dict(zip(names, leaves, strict=True))
        return subject.run(values, {n: t.clone() for n, t in subject.buffers.items()}, mode, seed)

    def evaluate(leaves: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Pullback]:
        own = [t.detach() for t in leaves]
        outputs = tuple(y.detach().clone() for y in run(own).outputs)

        def pullback(cotangents: Sequence[Tensor]) -> list[Tensor | None]:
            # run again: a subject's pullback may be called once, and a later forward may have undone it
            found = run(own).pullback(cotangents)
            return [found.get(n) for n in names]

        return outputs, pullback

    return evaluate


def torch_check(evaluate: Evaluate, leaves: Sequence[Tensor], fast_mode: bool) -> bool:
    """`torch.autograd.gradcheck` with its defaults."""
    live = tuple(t.detach().clone().requires_grad_() for t in leaves)
    return torch.autograd.gradcheck(
        lambda *tensors: HandWritten.apply(evaluate, *tensors), live, fast_mode=fast_mode, raise_exception=False
    )
