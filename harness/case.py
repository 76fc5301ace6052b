"""One point at which a subject is judged, with what forwards and backwards showed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from harness.base import Base
from harness.domain import BackwardRaised, Refused
from harness.evaluated import Evaluated
from harness.functions.graph import vector_jacobian
from harness.functions.reference import Reference
from harness.kinds import Floats, InputKind, Ints
from harness.once import once
from harness.replay.entropy import entropy_watched
from harness.tensors.arrays import RESOLUTION, rms, unit_roundoff

REPLAYS = 16
"""How many forwards show by how much they differ from one another."""

APART = (1, 12, 45, 170, *range(5, 165, 8))
"""How far neighbours lie apart in float64, in 4 u: numbers that are subtracted from one another may round alike over the first
dozen, and what a gradient itself changes by over all of them is below 10⁻¹²."""

CALM = 2.0**-4
"""A size at which functions at home on 1 are nowhere near their ends."""

CHANCE = 16
"""Of how many entries two masks are alike by chance no more."""


@dataclass(eq=False)
class Case(Evaluated):
    """One point at which a subject is judged. Everything computed here is computed once."""

    resolution: float | None = None
    """The relative error that must be seen; None: what the working precision has."""
    label: str = ""
    """What the report calls the point."""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """The dimensions and options of the example, by name."""
    reference: Reference | None = None
    """The same function by other means."""
    domains: Mapping[str, InputKind] = field(default_factory=dict)
    """What the spec says of each input; empty without a spec."""
    promises: Sequence[str] = ()
    """What the spec promises of the layer beyond what every layer must hold, such as "reentrant"."""
    batch: str = ""
    """The dimension that only inputs have, along their first axis: examples that stand beside each other; a starred one
    counts by the first of its axes; empty: unknown."""
    handed: bool = False
    """Whether the spec's `build` asked for a generator."""
    echo: bool = False
    """Whether it stands beside another point of the same layer that is judged in full: other parameters, same inputs."""
    spared: frozenset[str] = frozenset()
    """The leaves whose gradient was found wrong at that other point, and is not judged again."""
    known_wrong: bool = False
    """Whether it is known from another point that a gradient is wrong, and asked what is there instead: two steps that refute one
    are enough."""

    @once
    def wanted(self) -> list[str]:
        """The leaves whose gradient is judged: not those without entries, nor later inputs that backward leaves out."""
        beside = self.unreturned | self.spared
        return [n for n in self.subject.wanted() if n not in beside and self.leaves[n].numel()]

    @once
    def unreturned(self) -> frozenset[str]:
        """Later real inputs for which backward returned nothing at all, or a loss None, as losses do for their target."""
        inputs, given = self.subject.wanted("input"), self.base.gradients
        if all(given.get(n) is not None for n in inputs):
            return frozenset()
        none = inputs[1:] if self.is_loss else []
        missing = [n for n in inputs if n not in given or (n in none and given[n] is None)]
        return frozenset(missing) if len(missing) < len(inputs) else frozenset()

    @property
    def is_loss(self) -> bool:
        """Whether the output is one number; the gradient of a loss's target is commonly left out."""
        return sum(y.numel() for y in self.base.outputs) == 1

    @once
    def dtype(self) -> torch.dtype:
        """The working precision: that of the leaves."""
        real = [t.dtype for t in self.leaves.values() if t.is_floating_point()]
        return real[0] if real else torch.float64

    @property
    def u(self) -> float:
        """The unit roundoff of the working precision."""
        return unit_roundoff(self.dtype)

    @property
    def tau(self) -> float:
        """The relative error that must be seen."""
        return self.resolution or RESOLUTION.get(self.dtype, 1e-2)

    def calmed(self) -> Self:
        """The same layer with the same seed at leaves of no more than `CALM`. Where a softmax is 1 and 0 its outputs are the same to
        rounding whatever was drawn, and its gradient is not: here outputs show whether two evaluations have drawn alike. Nor have
        digits run out here, as those of 1 − A have where A is nearly 1."""
        small = {n: t * (CALM / max(CALM, float(t.abs().amax()))) for n in self.wanted if (t := self.leaves[n]).numel()}
        return self.at(leaves={**self.leaves, **small})

    def neighbour(self, number: int) -> Base:
        """Forward and backward at a neighbouring point with neighbouring cotangents: where backward is linear in the
        cotangents alone, as of a sum, only they show its rounding."""
        factor = self._factor(number)
        return self.at(leaves=self.nearby(number)).evaluate(1, tuple(v * factor for v in self.base.cotangents))

    def _factor(self, number: int) -> float:
        return 1 + 4 * (APART[number] if self.u < 1e-10 else number + 1) * self.u

    def nearby(self, number: int) -> dict[str, Tensor]:
        """The leaves with every real entry larger by 2(number + 1) units in its last place, rounded; in float64 by twice `APART`.

        Zeros stay zeros, equal entries equal and signs signs, and all neighbours lie on one side: a kink or a jump at the
        point itself does not tell them apart.
        """
        factor = self._factor(number)
        return {n: t * factor if t.is_floating_point() else t for n, t in self.leaves.items()}

    @once
    def replays(self) -> bool:
        """Whether a second forward under the same seed gives the same outputs."""
        return not self.differs(self.seed)

    @once
    def jitter(self) -> Tensor:
        """By how much each output, all of one axis, differs from forward to forward under the same seed; 0 where it replays."""
        (y, *others) = (
            torch.cat([t.reshape(-1).double() for t in outputs])
            for outputs in (self.base.outputs, *(() if self.replays else map(self.outputs_at, REPLAYS * [self.leaves])))
        )
        return torch.stack([(z - y).abs() for z in (*others, y)]).amax(0)

    @once
    def steady(self) -> bool:
        """Whether forwards under one seed are alike but for noise far below what must be seen, as of sums in any order.

        Noise shows in some of so many forwards; what does not is a rare event, such as a mask that seldom drops.
        """
        size = rms(torch.cat([y.reshape(-1).double() for y in self.base.outputs]))
        return self.replays or 0 < float(self.jitter.amax()) <= self.tau / 16 * size

    @once
    def replays_still(self) -> bool:
        """Whether ten more give the same as one another: of a few entries two masks may be alike by chance. Not as the
        first: a state that other inputs have left may change all of them."""
        if sum(y.numel() for y in self.base.outputs) > CHANCE:
            return self.replays
        first, *others = (self.outputs_at(self.leaves) for _ in range(10))
        return all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))

    @once
    def unreplayable(self) -> bool:
        """Whether forward or backward asks what answers otherwise each time: even where all evaluations so far agree."""
        with entropy_watched() as asked, suppress(Refused, BackwardRaised):
            self.evaluate(1)
        return bool(asked)

    @property
    def batch_size(self) -> int | None:
        """How many examples there are; None where it is not known which axis that is, or this case does not have it."""
        size = self.sizes.get(self.batch) if self.batch else None
        return size if isinstance(size, int) else size[0] if size else None

    def of_batch(self, size: int) -> Case | None:
        """The case with the first examples alone; None where there is no batch, or an input is drawn by a function and may
        depend on it in any way."""
        kinds = self.domains
        inputs = [n for n, leaf in self.subject.leaves.items() if leaf.role == "input"]
        if self.batch_size is None or any(not isinstance(kinds.get(n), (Floats, Ints)) for n in inputs):
            return None
        axes = self.sizes[self.batch]
        sizes = {**self.sizes, self.batch: size if isinstance(axes, int) else (size, *axes[1:])}
        shapes = {n: kinds[n].dims.shape(sizes) for n in inputs}  # type: ignore[union-attr]
        leaves = {n: _corner(t, shapes[n]) if n in inputs else t.clone() for n, t in self.leaves.items()}
        return self.at(leaves=leaves, sizes=sizes, label=f"{self.label}, {self.batch}={sizes[self.batch]}")

    @once
    def random(self) -> bool:
        """Whether another seed gives other outputs: the layer draws."""
        return self.subject.draws and any(self.differs(self.seed + k) for k in range(1, 5))

    @property
    def shares_draws(self) -> bool:
        """Whether the reference computes the same function: what the layer draws, if anything, it draws too."""
        return not self.random or (self.reference is not None and self.reference.shares_draws and self.replays)

    @property
    def traceable(self) -> bool:
        """Whether the function computes where autograd can follow, as far as is known without trying."""
        if self.declared is not None:
            return self.declared.computes_in_torch
        return not self.subject.autograd_is_backward

    @once
    def autograd(self) -> dict[str, Tensor] | str:
        """The gradients by autograd through the layer's own forward with the base cotangents, or why there are none."""
        if self.declared is not None and not self.declared.computes_in_torch:
            return "the function computes in NumPy"
        if self.declared is None and self.subject.autograd_is_backward:
            return self.subject.autograd_is_backward
        if not self.wanted:
            return "no tensor with entries wants a gradient"
        live = {n: t.clone().requires_grad_(n in self.wanted and t.is_floating_point()) for n, t in self.leaves.items()}
        try:
            outputs = self.function(live)
            return vector_jacobian(outputs, {n: live[n] for n in self.wanted}, self.base.cotangents)
        except Refused as refusal:
            return f"the forward can't be traced: {refusal}"


def _corner(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return t[tuple(slice(n) for n in shape)].clone()
