"""One subject at one point: leaves, buffers, mode and seed, and how forward and backward are run there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from harness.base import Base, as_real, integers_among, put_elsewhere, switched
from harness.domain import Refused, backward_may_raise, forward_may_refuse
from harness.draws import cotangents_like
from harness.functions.reference import Reference
from harness.once import once
from harness.replay.settings import put_back, settings
from harness.subject import Evaluation, Gradients, Subject
from harness.tensors.arrays import all_finite


@dataclass(eq=False)
class Evaluated:
    """A subject at a point, and what running it there gives."""

    subject: Subject
    leaves: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    mode: str | None = None
    seed: int = 0
    declared: Reference | None = None
    """The function whose derivative backward declares (`derivative_of`); the forward itself where there is none."""

    @once
    def base(self) -> Base:
        """One forward and one backward with a random cotangent.

        Raises:
            Refused: the forward raised or is not finite here.
            BackwardRaised: the backward raised.
        """
        return self.evaluate(1)

    def evaluate(self, cotangent_seed: int, given: tuple[Tensor, ...] | None = None) -> Base:
        """One forward and one backward with the cotangent of that number, or with those given.

        Raises:
            Refused: the forward raised or is not finite here.
            BackwardRaised: the backward raised.
        """
        handed = {n: t.clone() for n, t in self.leaves.items()}
        standing = settings()
        try:
            evaluation = self._run(handed, self.seed)
        finally:
            by_forward = put_back(standing, "forward")
        seeded = [n for n, modes in self.subject.reseeds.items() if {None, self.mode} & set(modes)]
        left = [*put_elsewhere(seeded, "forward"), *by_forward]
        outputs = tuple(y.detach().clone() for y in evaluation.outputs)
        sums = [float(y.sum()) for y in outputs]
        if not all(map(math.isfinite, sums)) and not all(map(all_finite, outputs)):
            raise Refused("the outputs are not finite")
        after_forward = evaluation.buffers()
        cotangents = self._cotangents(outputs, cotangent_seed, sums) if given is None else given
        handed_cotangents = tuple(v.clone() for v in cotangents)
        try:
            with backward_may_raise():
                gradients = self.subject.pulled(self.mode, lambda: evaluation.pullback(handed_cotangents))
        finally:
            by_backward = put_back(standing, "backward")
        seeded = list(self.subject.reseeds_backward.get(self.mode, ()))
        left += [*put_elsewhere(seeded, "backward"), *by_backward, *switched(self.mode, evaluation.mode())]
        integers = integers_among(gradients, self.leaves)
        return Base(
            outputs=outputs,
            gradients=as_real(gradients, integers, self.leaves),
            integers={n: g.dtype for n, g in integers.items()},
            cotangents=cotangents,
            # as they are now: a layer may keep what it was handed (`self.db = dout`), and its gradients are zeroed later
            handed={n: t.clone() for n, t in handed.items() if self.subject.leaves[n].role == "input"},
            handed_cotangents=tuple(v.clone() for v in handed_cotangents),
            outputs_after=tuple(y.detach().clone() for y in evaluation.outputs),
            parameters_after=evaluation.now(),
            left=tuple(left),
            buffers_after_forward=after_forward,
            buffers_after_backward=evaluation.buffers(),
        )

    def fresh(self) -> Evaluation:
        """One forward on copies of the leaves.

        Raises:
            Refused: it raised.
        """
        return self.forward({n: t.clone() for n, t in self.leaves.items()})

    def pulled(self, cotangents: Sequence[Tensor]) -> Gradients:
        """The gradients of a fresh forward and a backward that is handed copies of these tensors, in memory laid out as theirs.

        Raises:
            Refused: the forward raised.
            BackwardRaised: the backward raised.
        """
        evaluation, handed = self.fresh(), deepcopy(tuple(cotangents))
        with backward_may_raise():
            return evaluation.pullback(handed)

    def on_top(self, cotangent_seed: int) -> Gradients | None:
        """The gradients of one forward and backward without clearing what earlier ones left; None where nothing is left."""
        if self.subject.again is None:
            return None
        buffers = {n: t.clone() for n, t in self.buffers.items()}
        leaves = {n: t.clone() for n, t in self.leaves.items()}
        with forward_may_refuse():
            evaluation = self.subject.again(leaves, buffers, self.mode, self.seed)
        with backward_may_raise():
            return evaluation.pullback(self._cotangents(tuple(y.detach() for y in evaluation.outputs), cotangent_seed))

    def _cotangents(self, outputs: tuple[Tensor, ...], number: int, sums: Sequence[float] = ()) -> tuple[Tensor, ...]:
        if not self.subject.takes_cotangent:
            return tuple(torch.ones_like(y) for y in outputs)
        return cotangents_like(outputs, self.seed, number, sums=sums)

    def forward(self, leaves: Mapping[str, Tensor], seed: int | None = None) -> Evaluation:
        """One forward of the layer on these very tensors.

        Raises:
            Refused: it raised.
        """
        evaluation = self._run(leaves, self.seed if seed is None else seed)

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            found = evaluation.pullback(cotangents)
            return as_real(found, integers_among(found, leaves), leaves)

        return replace(evaluation, pullback=pullback)

    def _run(self, leaves: Mapping[str, Tensor], seed: int) -> Evaluation:
        buffers = {n: t.clone() for n, t in self.buffers.items()}
        with forward_may_refuse():
            return self.subject.run(leaves, buffers, self.mode, seed)

    def outputs_at(self, leaves: Mapping[str, Tensor], seed: int | None = None) -> tuple[Tensor, ...]:
        """The layer's outputs of one plain forward at other leaves, or with another seed."""
        evaluation = self._run({n: t.clone() for n, t in leaves.items()}, self.seed if seed is None else seed)
        return tuple(y.detach().clone() for y in evaluation.outputs)

    def function(self, leaves: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The function whose derivative backward must give: the forward, or what `derivative_of` declares."""
        if self.declared is None:
            return self._run(leaves, self.seed).outputs
        return self.declared.outputs(self.subject, leaves, self.buffers, self.mode, self.seed)

    def differs(self, seed: int) -> bool:
        """Whether the outputs under another seed are others."""
        other = self.outputs_at(self.leaves, seed)
        return not all(torch.equal(a, b) for a, b in zip(self.base.outputs, other, strict=True))

    def with_base(self, base: Base) -> Self:
        """The same case judged by another evaluation of it."""
        case = self.at()
        case.__dict__["base"] = base
        return case

    def at(self, **changes: Any) -> Self:
        """The same case with something else in it, nothing computed yet."""
        return replace(self, **changes)
