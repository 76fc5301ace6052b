"""Faults of the gradient itself: any example shows them, in any mode and precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from harness.fault import Fault, Values, regraded, rerun
from harness.subject import Evaluation, Subject


def _along(axis: int, unit: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Adds a tenth of the gradient's size times a pattern; a tensor too small to hold the pattern keeps its gradient."""

    def change(g: Tensor, x: Tensor) -> Tensor:
        if g.ndim < -axis or g.shape[axis] < 2:
            return g
        return g + 0.1 * g.square().mean().sqrt() * unit(g, x)

    return change


def _constant(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    return _along(axis, lambda g, x: torch.ones_like(g))


def _centred(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    def unit(g: Tensor, x: Tensor) -> Tensor:
        c = x.detach() - x.detach().mean(axis, keepdim=True)
        return c / (c.square().mean(axis, keepdim=True).sqrt() + 1e-30)

    return _along(axis, unit)


def _reduced(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The gradient's mean along an axis in every entry, as a reduction over the wrong axis leaves it."""
    return lambda g, x: g.mean(axis, keepdim=True).expand_as(g).clone() if g.ndim >= -axis else g


def _entry(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The largest entry alone is off."""

    def change(g: Tensor, x: Tensor) -> Tensor:
        wrong = g.clone()
        if g.numel():
            wrong.view(-1)[int(g.abs().argmax())] *= factor
        return wrong

    return change


def _typical_entry(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The entry of median size alone is off."""

    def change(g: Tensor, x: Tensor) -> Tensor:
        wrong = g.clone()
        if g.numel():
            wrong.view(-1)[int(g.abs().flatten().argsort()[g.numel() // 2])] *= factor
        return wrong

    return change


def _swapped(g: Tensor, x: Tensor) -> Tensor:
    """Two neighbouring entries trade places."""
    wrong = g.clone().flatten()
    if g.numel() > 1:
        wrong[:2] = wrong[:2].flip(0)
    return wrong.reshape(g.shape)


def _transposed(g: Tensor, x: Tensor) -> Tensor:
    return g.T.clone() if g.ndim == 2 and g.shape[0] == g.shape[1] else g


def _scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda g, x: factor * g


def _by_batch(power: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A missing or an extra 1/B."""
    return lambda g, x: g * float(x.shape[0] if x.ndim else 1) ** power


RESCALING = ("zero", "flipped_sign", "twice", "slightly_large", "missing_1_over_B", "extra_1_over_B")
"""Faults that are no more than a factor."""


def gradient_faults() -> list[Fault]:
    """Of inputs and of parameters: signs, factors, places, terms that are missing."""
    roles = {"input": "input_gradient", "parameter": "parameter_gradient"}
    changes: dict[str, Callable[[Tensor, Tensor], Tensor | None]] = {
        "zero": lambda g, x: torch.zeros_like(g),
        "flipped_sign": _scaled(-1.0),
        "twice": _scaled(2.0),
        "slightly_large": _scaled(1 + 1e-5),
        "one_entry": _entry(1 + 1e-4),
        "typical_entry": _typical_entry(1 + 1e-4),
        "swapped_neighbours": _swapped,
        "rolled": lambda g, x: g.roll(1),
        "reversed": lambda g, x: g.flatten().flip(0).reshape(g.shape),
        "missing_mean_term": _constant(-1),
        "wrong_axis": _reduced(-1),
    }
    found = [
        Fault(f"{role}_{name}", check, regraded(role, change), role, rescales=name in RESCALING)
        for role, check in roles.items()
        for name, change in changes.items()
    ]
    only_inputs: dict[str, Callable[[Tensor, Tensor], Tensor | None]] = {
        "missing_mean_term_batch": _constant(-2),
        "missing_projection": _centred(-1),
        "missing_projection_batch": _centred(-2),
        "wrong_axis_batch": _reduced(-2),
        "missing_1_over_B": _by_batch(1),
        "extra_1_over_B": _by_batch(-1),
    }
    found += [
        Fault(f"input_{n}", "input_gradient", regraded("input", c), rescales=n in RESCALING)
        for n, c in only_inputs.items()
    ]
    found.append(Fault("parameter_transposed", "parameter_gradient", regraded("parameter", _transposed), "matrix"))
    return found


def _of_another_function(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """Forward and backward are right for each other, and the function is another one."""
    right = subject.run(leaves, buffers, mode, seed)
    return replace(
        right,
        outputs=tuple(1.01 * y for y in right.outputs),
        pullback=lambda vs: right.pullback([1.01 * v for v in vs]),
    )


def _last_of_equal_indices(
    subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int
) -> Evaluation:
    """Of rows that one index names several times the last alone arrives, as by `dW[i] = v` or NumPy's `dW[i] += v`."""
    right = subject.run(leaves, buffers, mode, seed)
    (i,) = (leaves[n] for n, leaf in subject.leaves.items() if not leaf.wanted)
    later = torch.triu(i[:, None] == i[None, :], diagonal=1).any(1)
    return replace(right, pullback=lambda vs: right.pullback([torch.where(later[:, None], 0.0, v) for v in vs]))


def _first_output_alone(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """What comes to the other outputs is dropped, as of a detached one."""
    right = subject.run(leaves, buffers, mode, seed)
    return replace(right, pullback=lambda vs: right.pullback([vs[0], *(0 * v for v in vs[1:])]))


def further_gradient_faults() -> list[Fault]:
    """Rows and entries that stand in for others, and a function that is not the one meant."""

    def from_the_row_before(g: Tensor, x: Tensor) -> Tensor:
        return g + 0.1 * g.roll(1, 0) if g.ndim else g

    def last_row_left_out(g: Tensor, x: Tensor) -> Tensor:
        return torch.cat([g[:-1], torch.zeros_like(g[-1:])]) if g.ndim else g

    return [
        Fault("second_output_ignored", "input_gradient", rerun(_first_output_alone), "parts"),
        Fault(
            "last_of_equal_indices_alone",
            "special_values",
            rerun(_last_of_equal_indices),
            "indices",
            where="at_equal_indices",
        ),
        Fault("another_function", "reference", rerun(_of_another_function), "cotangent"),
        Fault("input_leaks_between_rows", "input_gradient", regraded("input", from_the_row_before)),
        Fault("input_last_row_left_out", "input_gradient", regraded("input", last_row_left_out)),
        Fault(
            "parameter_first_entry_for_all", "parameter_gradient", regraded("parameter", _first_for_all), "parameter"
        ),
        Fault("input_first_entry_for_all", "input_gradient", regraded("input", _first_for_all)),
        Fault("input_not_a_number", "input_gradient", regraded("input", _no_number)),
        Fault("parameter_not_a_number", "parameter_gradient", regraded("parameter", _no_number), "parameter"),
    ]


def _first_for_all(g: Tensor, x: Tensor) -> Tensor:
    """The first entry broadcast over the others."""
    return g.flatten()[:1].expand(g.numel()).reshape(g.shape).clone() if g.numel() else g


def _no_number(g: Tensor, x: Tensor) -> Tensor:
    """The root of a negative number in one entry."""
    wrong = g.clone()
    wrong.view(-1)[:1] = float("nan")
    return wrong
