"""One way of being wrong, and the mechanisms: what is changed is the evaluation, the gradients, or what goes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from harness.subject import Evaluation, Gradients, Subject

Values = Mapping[str, Tensor]
Wrap = Callable[[Subject, Values, Values, "str | None", int], Evaluation]

GROUPS: dict[str, tuple[str, ...]] = {
    "gradient": ("input_gradient", "parameter_gradient", "autograd", "reference"),
    "cotangent": ("cotangent_linear", "cotangent_scale", "cotangent_layout"),
    "contract": ("shapes", "dtypes", "unmutated", "aliasing", "partial", "repeatable", "accumulation"),
    "mode": ("mode_switch", "mask", "unbiased"),
    "state": ("state", "reuse"),
    "precision": ("float32", "bfloat16", "float16"),
    "region": (
        "special_values",
        "input_layout",
        "empty_batch",
        "single_example",
        "input_gradient",
        "parameter_gradient",
    ),
}
"""{group: the checks that must see its faults}; a gradient that is wrong in one region alone is of the group region."""


@dataclass(frozen=True)
class Fault:
    """One way of being wrong."""

    name: str
    check: str
    """The check that must see it."""
    apply: Callable[[Subject], Subject]
    needs: str = "input"
    """What a layer must have for the fault to change anything: input, parameter, buffers, random, modes, batch, parts, indices."""
    where: str = ""
    """The region that an input must reach for it to show, one of `harness.fault.regions.REGIONS`; empty: it shows anywhere."""
    rescales: bool = False
    """Whether all that it does to a gradient is to multiply it by a number."""
    kind: str = ""
    """Its group, where the check that must see it does not say."""

    @property
    def group(self) -> str:
        """One of `GROUPS`: by the check that must see it, those of the cotangent and of statistics by what they change."""
        if self.kind:
            return self.kind
        if self.needs == "cotangent" and self.name.startswith("cotangent_"):
            return "cotangent"
        if self.needs == "buffers":
            return "state"
        return next(g for g, checks in GROUPS.items() if self.check in checks and (g != "gradient" or not self.where))


class Faulty:
    """A layer with a fault in it; a convention turns it into the faulty subject."""

    def __init__(self, layer: Any, fault: Fault) -> None:
        self.layer, self.fault = layer, fault

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("layer", "fault"):
            raise AttributeError(name)
        return getattr(self.layer, name)


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


def biased(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """Train outputs and gradients without the factor 1/(1 − p): right for each other, and wrong beside evaluation."""
    right = subject.run(leaves, buffers, mode, seed)
    if mode != "train":
        return right

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        return {n: None if g is None else 0.75 * g for n, g in right.pullback(cotangents).items()}

    return replace(right, outputs=tuple(0.75 * y for y in right.outputs), pullback=pullback)


def shared(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
    """The first entry's mask for all entries of a row."""
    right = subject.run(leaves, buffers, mode, seed)
    if mode != "train":
        return right
    (name,) = subject.wanted("input")
    x, y = leaves[name], right.outputs[0]
    gain = (y / x).nan_to_num(0.0).detach()
    first = gain[..., :1].expand_as(gain)

    def pullback(cotangents: Sequence[Tensor]) -> Gradients:
        return {name: first * cotangents[0]}

    return replace(right, outputs=(first * x,), pullback=pullback)


def writes(what: str) -> Callable[[Subject], Subject]:
    """Backward halves an input, a parameter, the output or the cotangent in place."""

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        right = subject.run(leaves, buffers, mode, seed)
        spoiled: dict[str, Tensor] = {}

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = right.pullback(cotangents)
            if what == "parameter":
                spoiled.update({n: 0.5 * leaves[n] for n in subject.wanted("parameter")})
            written = {
                "input": [leaves[n] for n in subject.wanted("input")],
                "cotangent": cotangents,
                "output": right.outputs,
            }
            for t in written.get(what, ()):
                t.detach().mul_(0.5)
            return found

        return replace(right, pullback=pullback, now=lambda: {**right.now(), **spoiled})

    return rerun(wrap)
