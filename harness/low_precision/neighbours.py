"""A case's numbers in a lower precision, their neighbours there, and the layer at each of them in both precisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.base import Base
from harness.case import Case
from harness.domain import BackwardRaised, Refused, backward_may_raise
from harness.draws import rng_of
from harness.low_precision.rounding import Finiteness, Range, last_digit, widened
from harness.subject import Subject
from harness.tensors.arrays import unit_roundoff

QUICK = range(1, 5)
"""The neighbours that are looked at always: one unit in the last place away, ties kept."""

MORE = range(5, 21)
"""Those that are looked at before anything is called wrong: one, two and four units away, ties broken. A kink at which
rounding may put an intermediate on either side shows at one of them."""

FAR = range(21, 30)
"""In float32, 16, 128 and 1 024 units away: where a function is flat (tanh near 1) all near points round alike inside, and may
all do so exactly, by one and the same luck."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Point:
    """Leaves, buffers and cotangents, all of them numbers of the lower precision."""

    leaves: Tensors
    buffers: Tensors
    cotangents: tuple[Tensor, ...]
    distance: int = 0
    """From the base point, in units in the last place."""


class Neighbours:
    """One case and its layer in a lower precision, at the case's numbers rounded and at their neighbours."""

    def __init__(self, case: Case, subject: Subject, dtype: torch.dtype) -> None:
        self.case, self.subject, self.dtype = case, subject, dtype
        self.u = unit_roundoff(dtype)
        self.at = lru_cache(None)(self._at)
        self.near = lru_cache(None)(self._near)

    # The points

    def _at(self, k: int) -> Point:
        """The case's numbers rounded; for k > 0 a neighbour with every one of them some last digits larger or smaller."""
        cotangents = tuple(v.to(self.dtype) for v in self.case.base.cotangents)
        here = Point(widened(self.case.leaves, self.dtype), widened(self.case.buffers, self.dtype), cotangents)
        if not k:
            return here
        distance = (1, 2, 4)[k % 3] if k in MORE else (16, 128, 1024)[k % 3] if k in FAR else 1
        move = self._mover(k, distance)
        vs = cotangents if not self.case.subject.takes_cotangent else tuple(map(move, cotangents))
        return Point(
            {n: move(t) for n, t in here.leaves.items()}, {n: move(t) for n, t in here.buffers.items()}, vs, distance
        )

    def _mover(self, k: int, distance: int) -> Callable[[Tensor], Tensor]:
        rng = rng_of(self.case.seed, 23, k)

        def move(t: Tensor) -> Tensor:
            if not t.is_floating_point():
                return t
            values, which = torch.unique(t, return_inverse=True) if k in QUICK else (t, None)
            signs = torch.as_tensor(rng.choice((-1.0, 1.0), tuple(values.shape))).to(t.device)
            signs = signs if which is None else signs[which]
            return (t.double() + distance * signs * last_digit(t, self.dtype)).to(self.dtype)

        return move

    # The same numbers in both precisions

    def low(self, point: Point) -> Case:
        """The layer in the lower precision, with its own cotangents. What is taken for a buffer there alone, as is what a forward
        keeps that is no number, begins as it was found."""
        buffers = {**self.subject.buffers, **point.buffers}
        return self.case.at(subject=self.subject, leaves=point.leaves, buffers=buffers)

    def wide(self, point: Point) -> Case:
        """The layer in the case's precision, at the same numbers."""
        dtype = self.case.dtype
        return self.case.at(leaves=widened(point.leaves, dtype), buffers=widened(point.buffers, dtype))

    def wide_cotangents(self, point: Point) -> tuple[Tensor, ...]:
        """The point's cotangents in the case's precision."""
        return tuple(v.to(w.dtype) for v, w in zip(point.cotangents, self.case.base.cotangents, strict=True))

    @cached_property
    def base(self) -> Base:
        """Forward and backward in the lower precision.

        Raises:
            Refused: the forward raised or is not finite here.
            BackwardRaised: the backward raised.
        """
        point = self.at(0)
        with np.errstate(all="ignore"):
            return self.low(point).evaluate(1, point.cotangents)

    @cached_property
    def expected(self) -> Base:
        """The same in the case's precision."""
        point = self.at(0)
        return self.wide(point).evaluate(1, self.wide_cotangents(point))

    def _near(self, k: int) -> Base | None:
        """Forward and backward in the case's precision at a neighbour, None where the neighbour is refused."""
        point = self.at(k)
        try:
            return self.wide(point).evaluate(1, self.wide_cotangents(point))
        except Refused:
            return None

    @cached_property
    def overflows(self) -> bool:
        """Whether a number inside the forward leaves the range of the lower precision and not that of the wide one."""
        point = self.at(0)
        return _not_finite(self.low(point)) > _not_finite(self.wide(point))

    @cached_property
    def strays(self) -> bool:
        """Whether a number that backward or NumPy's forward makes is too large for the lower precision: of torch by its size in the
        wide one, of NumPy by what it signals in the lower one. One that is too small, such as a guard of 10⁻⁸ against zeros, is
        another thing: what it was there for is lost."""
        point, seen = self.at(0), Range(self.dtype)
        evaluation = self.wide(point).fresh()
        with backward_may_raise(), seen:
            evaluation.pullback(self.wide_cotangents(point))
        return seen.left or any(self._signalled(over="call", divide="call"))

    @cached_property
    def fades(self) -> bool:
        """Whether NumPy, whose rounding can't be imitated, loses digits in backward to numbers below the smallest normal one."""
        return self._signalled(under="call")[1]

    @cached_property
    def dims(self) -> bool:
        """Whether it loses them in forward, as x² of a norm does for x of a few thousandths: what is kept of it has few digits."""
        return self._signalled(under="call")[0]

    def _signalled(self, **kinds: Literal["call"]) -> tuple[bool, bool]:
        """Whether NumPy signals any of these in the lower precision, in forward and in backward."""
        point, signals = self.at(0), list[str]()
        with np.errstate(**kinds, call=lambda kind, _: signals.append(kind)):
            lower = self.low(point).fresh()
            forward = len(signals)
            with backward_may_raise():
                lower.pullback([v.clone() for v in point.cotangents])
        return forward > 0, len(signals) > forward

    def lower(self, k: int) -> Base | None:
        """Forward and backward in the lower precision at a neighbour, None where it is refused."""
        point = self.at(k)
        try:
            with np.errstate(all="ignore"):
                return self.low(point).evaluate(1, point.cotangents)
        except (Refused, BackwardRaised):
            return None


def _not_finite(case: Case) -> int:
    """How many numbers inside its forward are not finite."""
    seen = Finiteness()
    with seen:
        case.fresh()
    return seen.count
