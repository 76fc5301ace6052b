"""Faults of circumstance: right from a fresh layer at plain inputs, wrong after something else, in other memory, in a batch of
none or one, or in a second backward."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harness.fault import Fault, Values, regraded, rerun
from harness.subject import Evaluation, Gradients, Place, Run, Subject

Seen = list[tuple[int, str | None]]
"""The rows and the mode of every evaluation so far."""


def memory_in_order(v: Tensor) -> Tensor:
    """The numbers as they lie in memory from the first on, as a kernel reads them that takes every tensor for contiguous."""
    memory = v.detach().as_strided((v.untyped_storage().size() // v.element_size(),), (1,), 0)
    there = memory[v.storage_offset() :]
    there = torch.cat([there, there.new_zeros(max(0, v.numel() - there.numel()))])
    return there[: v.numel()].reshape(v.shape).clone()


def _remembering(spoils: Callable[[Seen], bool]) -> Callable[[Subject], Subject]:
    """Half as much again of every gradient where what came before is of a kind."""

    def apply(subject: Subject) -> Subject:
        seen: Seen = []

        def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
            rows = max((len(leaves[n]) for n in subject.wanted("input") if leaves[n].ndim), default=0)
            seen.append((rows, mode))
            spoiled = spoils(seen)
            right = subject.run(leaves, buffers, mode, seed)

            def pullback(cotangents: Sequence[Tensor]) -> Gradients:
                found = right.pullback(cotangents)
                return {n: None if g is None else (1.5 * g + 1e-3 if spoiled else g) for n, g in found.items()}

            return replace(right, pullback=pullback)

        return rerun(wrap)(subject)

    return apply


def _second_call(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """The cache is used up by the first backward, and the second answers with what is left."""
    right = subject.run(leaves, buffers, mode, seed)
    first: dict[str, Tensor | None] = {}

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        if not first:
            first.update(right.pullback(cotangents))
            return first
        return {n: None if g is None else 2 * g + 1e-3 for n, g in first.items()}

    return replace(right, pullback=pullback)


def _unwritten(g: Tensor, x: Tensor) -> Tensor:
    """What was never written to is read, and shows where it is no number."""
    memory = torch.empty_like(g)
    return torch.where(memory.isnan(), memory, g)


def _by_memory(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """Backward reads the inputs as they lie in memory."""
    strays = {n: memory_in_order(leaves[n]) - leaves[n].detach() for n in subject.wanted("input")}
    right = subject.run(leaves, buffers, mode, seed)

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        found = dict(right.pullback(cotangents))
        return found | {n: g + 0.1 * strays[n].nan_to_num(1.0) for n in strays if (g := found.get(n)) is not None}

    return replace(right, pullback=pullback)


def _of_nothing(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """An empty batch is padded to one row, whose gradient is handed out."""
    right = subject.run(leaves, buffers, mode, seed)

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        found = dict(right.pullback(cotangents))
        for n in subject.wanted("input"):
            if (g := found.get(n)) is not None and g.ndim and not len(g):
                found[n] = g.new_zeros((1, *g.shape[1:]))
        return found

    return replace(right, pullback=pullback)


Alone = Callable[[], Gradients]
"""The gradients of the second backward by itself."""


def _on_top(change: Callable[[Gradients, Alone, Sequence[str]], Gradients]) -> Callable[[Subject], Subject]:
    """`change(both, alone, kept)` in the place of what a second backward leaves in the kept gradients."""

    def apply(subject: Subject) -> Subject:
        again = subject.again
        if again is None:
            return subject

        def on_top(leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
            right = again(leaves, buffers, mode, seed)

            def pullback(cotangents: Sequence[Tensor]) -> Gradients:
                both = dict(right.pullback(cotangents))
                return change(both, lambda: subject.run(leaves, buffers, mode, seed).pullback(cotangents), subject.kept)

            return replace(right, pullback=pullback)

        return replace(subject, again=on_top)

    return apply


def _counted_twice(both: Gradients, alone: Alone, kept: Sequence[str]) -> Gradients:
    """What a second backward adds to the kept gradients counts twice."""
    return {**both, **{n: 1.5 * g for n in kept if (g := both.get(n)) is not None}}


def _last_overwritten(both: Gradients, alone: Alone, kept: Sequence[str]) -> Gradients:
    """A second backward puts one kept gradient in the place of the first's, and adds the others up."""
    last = alone()
    return {**both, **{n: last[n] for n in kept[-1:]}}


def _overwritten(both: Gradients, alone: Alone, kept: Sequence[str]) -> Gradients:
    """A second backward puts the kept gradients in the place of the first's: `=` where `+=` was promised."""
    last = alone()
    return {**both, **{n: last[n] for n in kept}}


def _own_buffer() -> Callable[[Subject], Subject]:
    """Gradients of inputs are handed out in a buffer that the next backward fills again."""

    def apply(subject: Subject) -> Subject:
        buffers_of: dict[tuple[str, torch.Size], Tensor] = {}

        def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
            right = subject.run(leaves, buffers, mode, seed)
            laid: dict[Place, Tensor] = {}

            def pullback(cotangents: Sequence[Tensor]) -> Gradients:
                found = right.pullback(cotangents)
                for n in subject.wanted("input"):
                    if (g := found.get(n)) is not None:
                        laid["gradient", n] = buffers_of.setdefault((n, g.shape), torch.zeros_like(g)).copy_(g)
                return found

            return replace(right, pullback=pullback, memory=lambda: laid)

        return rerun(wrap)(subject)

    return apply


def _parameter_itself(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """The gradient of a parameter lies where the parameter does."""
    right = subject.run(leaves, buffers, mode, seed)
    memory = right.memory
    if memory is None:
        return right

    def laid() -> dict[Place, Tensor]:
        found = dict(memory())
        return {(what, n): found.get(("parameter", n), t) for (what, n), t in found.items()}

    return replace(right, memory=laid)


def _in_part(
    change: Callable[[Gradients, Collection[str], Collection[int] | None], Gradients],
) -> Callable[[Subject], Subject]:
    """`change(gradients, the leaves that require one, the outputs that have a cotangent)` where only a part is asked for."""

    def apply(subject: Subject) -> Subject:
        right = subject.partially
        if right is None:
            return subject

        def partially(wanted: Collection[str], outputs: Collection[int] | None = None) -> Run:
            def run(leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
                whole = right(wanted, outputs)(leaves, buffers, mode, seed)
                return replace(whole, pullback=lambda vs: change(whole.pullback(vs), wanted, outputs))

            return run

        return replace(subject, partially=partially)

    return apply


def _wrong_alone(found: Gradients, wanted: Collection[str], outputs: Collection[int] | None) -> Gradients:
    return {n: None if g is None else g + 0.1 * (len(wanted) == 1) for n, g in found.items()}


def _none_beside_a_frozen_one(found: Gradients, wanted: Collection[str], outputs: Collection[int] | None) -> Gradients:
    return {n: g if len(wanted) == 1 or n != max(found) or outputs else None for n, g in found.items()}


def _missing_alone(found: Gradients, wanted: Collection[str], outputs: Collection[int] | None) -> Gradients:
    return {} if len(wanted) == 1 else found


def _crashes_alone(found: Gradients, wanted: Collection[str], outputs: Collection[int] | None) -> Gradients:
    if len(wanted) == 1:
        raise TypeError("unsupported operand type(s) for *: 'NoneType' and 'Tensor'")
    return found


def _crashes_without_a_cotangent(
    found: Gradients, wanted: Collection[str], outputs: Collection[int] | None
) -> Gradients:
    if outputs is not None:
        raise AttributeError("'NoneType' object has no attribute 'sum'")
    return found


def _last_output_ignored(found: Gradients, wanted: Collection[str], outputs: Collection[int] | None) -> Gradients:
    return {n: None if g is None else 0 * g for n, g in found.items()} if outputs and max(outputs) else found


def circumstantial_faults() -> Iterator[Fault]:
    """One or two for each check of use."""
    yield Fault("second_backward_differs", "repeatable", rerun(_second_call))
    yield Fault("reads_unwritten_memory", "repeatable", regraded("input", _unwritten))
    yield Fault("wrong_after_a_larger_batch", "reuse", _remembering(lambda s: max(r for r, _ in s) > s[-1][0]))
    yield Fault("wrong_after_a_smaller_batch", "reuse", _remembering(lambda s: min(r for r, _ in s) < s[-1][0]))
    yield Fault(
        "wrong_after_eval",
        "mode_switch",
        _remembering(lambda s: s[-1][1] == "train" and any(m == "eval" for _, m in s)),
    )
    yield Fault("inputs_as_they_lie_in_memory", "input_layout", rerun(_by_memory))
    yield Fault("pads_an_empty_batch", "empty_batch", rerun(_of_nothing), "cotangent")
    yield Fault(
        "twice_for_one_example",
        "single_example",
        regraded("input", lambda g, x: 2 * g if x.ndim and len(x) == 1 else g),
        where="in_a_batch_of_one",
    )
    yield Fault("hands_out_its_buffer", "aliasing", _own_buffer())
    yield Fault("gradient_in_the_parameters_memory", "aliasing", rerun(_parameter_itself), "parameter")
    yield Fault("overwrites_one_and_adds_up_the_others", "accumulation", _on_top(_last_overwritten), "parameter")
    yield Fault("overwrites_where_it_promises_to_add", "accumulation", _on_top(_overwritten), "parameter")
    yield Fault("adds_up_too_much", "accumulation", _on_top(_counted_twice), "parameter")
    in_parts = {
        "wrong_where_one_alone_is_asked_for": _wrong_alone,
        "none_beside_a_frozen_one": _none_beside_a_frozen_one,
        "missing_where_one_alone_is_asked_for": _missing_alone,
        "crashes_where_one_alone_is_asked_for": _crashes_alone,
        "crashes_without_a_cotangent": _crashes_without_a_cotangent,
        "output_ignored_alone": _last_output_ignored,
    }
    yield from (Fault(name, "partial", _in_part(change), "parts") for name, change in in_parts.items())
