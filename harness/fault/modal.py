"""Faults of one mode, and of what is kept from one call to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.fault import Fault, Values, rerun
from harness.subject import Evaluation, Gradients, Subject

Spoil = Callable[[Tensor], "Tensor | None"]


def _backward_of(instead: Mapping[str, str]) -> Callable[[Subject], Subject]:
    """A backward that takes the layer to be in another mode than its forward did, unless that mode takes no such batch."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        other = instead.get(mode or "")
        if other is None:
            return right
        outputs = tuple(y.clone() for y in right.outputs)
        after = {n: t.clone() for n, t in right.buffers().items()}
        start = {n: t.clone() for n, t in buffers.items()}

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            try:
                return subject.run(leaves, start, other, seed).pullback(cotangents)
            except ValueError:  # a batch of one has no variance
                return subject.run(leaves, start, mode, seed).pullback(cotangents)

        return replace(right, outputs=outputs, pullback=pullback, buffers=lambda: after)

    return rerun(wrap)


def _in_mode_alone(which: str, role: str, spoil: Spoil) -> Callable[[Subject], Subject]:
    """Gradients of a role are spoilt in one mode."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        names = subject.wanted(role) if mode == which else []

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = dict(right.pullback(cotangents))
            return found | {n: spoil(g) for n in names if (g := found.get(n)) is not None}

        return replace(right, pullback=pullback)

    return rerun(wrap)


Call = tuple[Values, Values, "str | None", int]


@dataclass
class _Slot:
    """Room for one call."""

    call: Call | None = None

    def fits(self, leaves: Values, mode: str | None) -> bool:
        """Whether the call kept has the sizes, types and mode of another."""
        if self.call is None:
            return False
        kept, _, before, _ = self.call
        kinds = ({n: (t.shape, t.dtype) for n, t in each.items()} for each in (kept, leaves))
        return before == mode and next(kinds) == next(kinds)


def _copied(leaves: Values, buffers: Values, mode: str | None, seed: int) -> Call:
    return {n: t.detach().clone() for n, t in leaves.items()}, {n: t.clone() for n, t in buffers.items()}, mode, seed


def _on_the_class() -> Callable[[Subject], Subject]:
    """The cache lies on the class: backward belongs to the last forward of any layer of it."""
    last = _Slot()

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        own = last.call = _copied(leaves, buffers, mode, seed)
        right = subject.run(leaves, buffers, mode, seed)
        after = {n: t.clone() for n, t in right.buffers().items()}

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            if last.call is own or last.call is None or not last.fits(leaves, mode):
                return right.pullback(cotangents)
            return subject.run(*last.call).pullback(cotangents)

        return replace(right, pullback=pullback, buffers=lambda: after)

    return rerun(wrap)


def _cotangent_before(subject: Subject) -> Subject:
    """What is left of the cotangent before is added to the next of its shape: a buffer that is not cleared."""
    left: dict[torch.Size, Tensor] = {}

    def remembered(v: Tensor) -> Tensor:
        before = left.get(v.shape)
        left[v.shape] = v.detach().clone()
        return v if before is None else v + 0.25 * before.to(v.dtype)

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        return replace(right, pullback=lambda vs: right.pullback([remembered(v) for v in vs]))

    return rerun(wrap)(subject)


def _adds_to_inputs(subject: Subject) -> Subject:
    """Gradients of inputs add up over calls, as only those of parameters may."""
    sums: dict[tuple[str, torch.Size], Tensor] = {}

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = dict(right.pullback(cotangents))
            for n in subject.wanted("input"):
                if (g := found.get(n)) is not None:
                    sums[n, g.shape] = found[n] = g + sums[n, g.shape].to(g.dtype) if (n, g.shape) in sums else g
            return {n: None if g is None else g.clone() for n, g in found.items()}

        return replace(right, pullback=pullback)

    return rerun(wrap)(subject)


def _turned(g: Tensor) -> Tensor:
    return g.flatten().flip(0).reshape(g.shape) + 0.1


def modal_faults() -> Iterator[Fault]:
    """Of modes, then of state."""
    to_eval, to_train = {"train": "eval"}, {"eval": "train"}
    yield Fault("backward_unmasked", "mask", _backward_of(to_eval), "random")
    yield Fault("backward_masked_in_eval", "input_gradient", _backward_of(to_train), "random", kind="mode")
    yield Fault("statistics_taken_for_constants", "input_gradient", _backward_of(to_eval), "buffers", kind="mode")
    yield Fault("backward_through_the_batch_in_eval", "input_gradient", _backward_of(to_train), "buffers", kind="mode")
    for role in ("input", "parameter"):
        for which in ("train", "eval"):
            apply = _in_mode_alone(which, role, _turned)
            yield Fault(f"{role}_wrong_in_{which}", f"{role}_gradient", apply, role, kind="mode")
    yield Fault("no_gradient_in_eval", "shapes", _in_mode_alone("eval", "input", lambda g: None), kind="mode")
    yield Fault("cache_on_the_class", "reuse", _on_the_class())
    yield Fault("cotangent_before_left_over", "repeatable", _cotangent_before, kind="state")
    yield Fault("inputs_gradient_adds_up", "repeatable", _adds_to_inputs, kind="state")
