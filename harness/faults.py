"""Faults as transformations of a right subject, shared by tests and benchmarks. Each names the check that must see it.

The taxonomy is that of faults found in public code: coverage, accounting, cotangents, contract, modes, state, random masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.subject import Evaluation, Gradients, Subject

Values = Mapping[str, Tensor]
Wrap = Callable[[Subject, Values, Values, "str | None", int], Evaluation]


@dataclass(frozen=True)
class Fault:
    """One way of being wrong."""

    name: str
    check: str
    """The check that must see it."""
    apply: Callable[[Subject], Subject]
    needs: str = "input"
    """What a layer must have for the fault to change anything: input, parameter, buffers, random, modes, batch."""


class Faulty:
    """A layer with a fault in it; a convention turns it into the faulty subject."""

    def __init__(self, layer: Any, fault: Fault) -> None:
        self.layer, self.fault = layer, fault

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("layer", "fault"):
            raise AttributeError(name)
        return getattr(self.layer, name)


# The mechanisms: what is changed is the evaluation, or the gradients, or what goes in


def rerun(wrap: Wrap) -> Callable[[Subject], Subject]:
    """A subject whose evaluation `wrap` computes from the right one."""

    def apply(subject: Subject) -> Subject:
        def run(leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
            return wrap(subject, leaves, buffers, mode, seed)

        return replace(subject, run=run)

    return apply


def regraded(role: str, change: Callable[[Tensor, Tensor], Tensor | None]) -> Callable[[Subject], Subject]:
    """`change(gradient, leaf)` on every gradient of a role."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        names = subject.wanted(role)

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = dict(right.pullback(cotangents))
            return found | {n: change(g, leaves[n]) for n in names if (g := found.get(n)) is not None}

        return replace(right, pullback=pullback)

    return rerun(wrap)


def recotangent(change: Callable[[Tensor], Tensor]) -> Callable[[Subject], Subject]:
    """A backward that sees another cotangent than it is given."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        return replace(right, pullback=lambda vs: right.pullback([change(v) for v in vs]))

    return rerun(wrap)


def in_mode(instead: Mapping[str, str]) -> Callable[[Subject], Subject]:
    """A layer that behaves in one mode as in another."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        evaluation = subject.run(leaves, buffers, instead.get(mode or "", mode), seed)
        if mode == "eval":
            kept = {n: t.clone() for n, t in buffers.items()}
            return replace(evaluation, buffers=lambda: kept)
        return evaluation

    return rerun(wrap)


def rebuffered(when: str, change: Callable[[Values, Values], Values]) -> Callable[[Subject], Subject]:
    """Buffers after a forward in mode `when`, or after backward, from those before and those that would be right."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        start = {n: t.clone() for n, t in buffers.items()}
        right = subject.run(leaves, buffers, mode, seed)
        state = {"after": dict(right.buffers())}
        if mode == when:
            state["after"] = dict(change(start, state["after"]))

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = right.pullback(cotangents)
            if when == "backward":
                state["after"] = dict(change(start, state["after"]))
            return found

        return replace(right, pullback=pullback, buffers=lambda: state["after"])

    return rerun(wrap)


def other_mask(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """Backward draws its mask again instead of keeping the forward's."""
    right = subject.run(leaves, buffers, mode, seed)
    outputs = tuple(y.clone() for y in right.outputs)
    after = {n: t.clone() for n, t in right.buffers().items()}

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        return subject.run(leaves, buffers, mode, seed + 1).pullback(cotangents)

    return replace(right, outputs=outputs, pullback=pullback, buffers=lambda: after)


def frozen_mask(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """One mask for all time."""
    return subject.run(leaves, buffers, mode, 0)


def writes(what: str) -> Callable[[Subject], Subject]:
    """Backward halves an input, a parameter or the cotangent in place."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        spoiled: dict[str, Tensor] = {}

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = right.pullback(cotangents)
            if what == "parameter":
                spoiled.update({n: 0.5 * leaves[n] for n in subject.wanted("parameter")})
            for t in cotangents if what == "cotangent" else [leaves[n] for n in subject.wanted("input")]:
                if what != "parameter":
                    t.detach().mul_(0.5)
            return found

        return replace(right, pullback=pullback, now=lambda: {**right.now(), **spoiled})

    return rerun(wrap)


# What happens to a gradient


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


def _swapped(g: Tensor, x: Tensor) -> Tensor:
    """Two neighbouring entries trade places."""
    wrong = g.clone().flatten()
    if g.numel() > 1:
        wrong[:2] = wrong[:2].flip(0)
    return wrong.reshape(g.shape)


def _transposed(g: Tensor, x: Tensor) -> Tensor:
    return g.T.clone() if g.ndim == 2 and g.shape[0] == g.shape[1] else g


def _beyond(limit: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Wrong only where the input is large."""
    return lambda g, x: torch.where(x.detach().abs() > limit, 1.5 * g + 1e-3, g)


def _scaled(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda g, x: factor * g


def _by_batch(power: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A missing or an extra 1/B."""
    return lambda g, x: g * float(x.shape[0] if x.ndim else 1) ** power


def _gradient_faults() -> list[Fault]:
    roles = {"input": "input_gradient", "parameter": "parameter_gradient"}
    changes: dict[str, Callable[[Tensor, Tensor], Tensor | None]] = {
        "zero": lambda g, x: torch.zeros_like(g),
        "flipped_sign": _scaled(-1.0),
        "twice": _scaled(2.0),
        "slightly_large": _scaled(1 + 1e-5),
        "one_entry": _entry(1 + 1e-4),
        "swapped_neighbours": _swapped,
        "rolled": lambda g, x: g.roll(1),
        "reversed": lambda g, x: g.flatten().flip(0).reshape(g.shape),
        "missing_mean_term": _constant(-1),
        "wrong_axis": _reduced(-1),
    }
    found = [
        Fault(f"{role}_{name}", check, regraded(role, change), role)
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
        "wrong_beyond_30": _beyond(30.0),
    }
    found += [Fault(f"input_{n}", "input_gradient", regraded("input", c)) for n, c in only_inputs.items()]
    found.append(Fault("parameter_transposed", "parameter_gradient", regraded("parameter", _transposed), "matrix"))
    return found


def _cotangent_faults() -> list[Fault]:
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "absolute": torch.abs,
        "rectified": torch.relu,
        "clamped": lambda v: v.clamp(-1.0, 1.0),
        "squared": torch.square,
        "ignored": torch.ones_like,
        "first_entry_only": lambda v: v.flatten()[:1].expand(v.numel()).reshape(v.shape).clone(),
    }
    return [Fault(f"cotangent_{n}", "input_gradient", recotangent(c), "cotangent") for n, c in changes.items()]


def _contract_faults() -> list[Fault]:
    def flat(g: Tensor, x: Tensor) -> Tensor:
        return g.reshape(1, -1)

    return [
        Fault("input_flattened", "shapes", regraded("input", flat)),
        Fault("parameter_flattened", "shapes", regraded("parameter", flat), "parameter"),
        Fault("input_missing", "shapes", regraded("input", lambda g, x: None)),
        Fault("parameter_missing", "shapes", regraded("parameter", lambda g, x: None), "parameter"),
        Fault("input_in_float32", "dtypes", regraded("input", lambda g, x: g.float())),
        Fault("parameter_in_float32", "dtypes", regraded("parameter", lambda g, x: g.float()), "parameter"),
        Fault("writes_input", "unmutated", writes("input")),
        Fault("writes_cotangent", "unmutated", writes("cotangent"), "cotangent"),
        Fault("writes_parameter", "unmutated", writes("parameter"), "parameter"),
    ]


def _state_faults() -> list[Fault]:
    def kept(start: Values, right: Values) -> Values:
        return start

    def moved(start: Values, right: Values) -> Values:
        return {n: 0.9 * t + 0.1 for n, t in right.items()}

    return [
        Fault("moves_in_eval", "state", rebuffered("eval", moved), "buffers"),
        Fault("moves_in_backward", "state", rebuffered("backward", moved), "buffers"),
        Fault("never_moves", "state", rebuffered("train", kept), "buffers"),
        Fault("trains_in_eval", "state", in_mode({"eval": "train"}), "buffers"),
        Fault("evaluates_in_train", "reference", in_mode({"train": "eval"}), "buffers"),
    ]


def _random_faults() -> list[Fault]:
    return [
        Fault("masks_in_eval", "mask", in_mode({"eval": "train"}), "random"),
        Fault("never_masks", "mask", in_mode({"train": "eval"}), "random"),
        Fault("other_mask_in_backward", "mask", rerun(other_mask), "random"),
        Fault("frozen_mask", "mask", rerun(frozen_mask), "random"),
    ]


def catalogue() -> tuple[Fault, ...]:
    """Every fault; `needs` says which layers it can be put into."""
    return (*_gradient_faults(), *_cotangent_faults(), *_contract_faults(), *_state_faults(), *_random_faults())
