"""A case in a lower precision, beside the very same numbers in the precision it is judged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, lru_cache, partial

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused, backward_may_raise
from harness.draws import directions_like, rng_of, scales_of, unit_of
from harness.functions.reference import Reference
from harness.judgement.verdict import ROUNDINGS
from harness.low_precision.neighbours import Neighbours
from harness.low_precision.rounding import Faint, Noise, Rounding, real
from harness.subject import Gradients, Subject
from harness.tensors.arrays import rms

AGAIN = 4
"""How many times the error of autograd in the same precision, or of what forward keeps, a backward may be off by, and
over the tensor how many times all of it: another right order of the same operations rounds otherwise, but by as much."""


class Lowered(Neighbours):
    """One case, its layer in a lower precision, and what is known of the rounding between the two."""

    def __init__(self, case: Case, subject: Subject, dtype: torch.dtype, alone: bool = False) -> None:
        super().__init__(case, subject, dtype)
        self.alone = alone  # whether the case is that of a reference, since the layer takes this dtype alone
        self.kept = lru_cache(None)(self._kept)
        self.recomputed = lru_cache(None)(self._recomputed)
        self.faint = lru_cache(None)(self._faint)
        self.rounded = lru_cache(None)(self._rounded)
        self.autograd = lru_cache(None)(self._autograd)
        self.own = lru_cache(None)(self._own)
        self.reference = lru_cache(None)(self._reference)

    def response(self, name: str, neighbours: Sequence[int]) -> Noise | None:
        """How the exact gradient answers to a change of every number by one unit in its last place.

        Measured in the wide precision: there it is the function's own sensitivity, on which no backward's rounding,
        bad or good, has any part. From further away it is divided by the distance.
        """
        exact = self.expected.gradients[name]
        assert exact is not None
        moves = [
            (real(g) - real(exact)) / self.at(k).distance
            for k in neighbours
            if (base := self.near(k)) is not None and (g := _shaped(base.gradients.get(name), exact)) is not None
        ]
        moves = [m for m in moves if bool(torch.isfinite(m).all())]
        return Noise.of(moves) if moves else None

    def _kept(self, k: int) -> Gradients | None:
        """The gradient of an exact backward after a forward whose every result was rounded; None where it can't be seen.

        What a forward keeps is rounded however careful the backward is: 1 − a² is 0 where tanh has rounded to 1.
        """
        return self._imitated(k, nullcontext)

    def _recomputed(self, k: int) -> Gradients | None:
        """The same after a backward whose every result was rounded too: of one that computes anew what it needs, as 1 − x̂² of a
        norm of one number, no part is kept. No excuse, for a careless order of operations explains itself by it."""
        return self._imitated(k, partial(Rounding, self.dtype))

    def _faint(self, k: int) -> Gradients | None:
        """The gradient of which only what is below the smallest normal number on the way was rounded, as y² of −x/y² in float16
        for y of a few thousandths."""
        return self._imitated(k, partial(Faint, self.dtype), Faint)

    def _imitated(
        self, k: int, going_back: Callable[[], AbstractContextManager[object]], kind: type[Rounding] = Rounding
    ) -> Gradients | None:
        point = self.at(k)
        rounding = kind(self.dtype)
        try:
            case = self.wide(point)
            with rounding:
                evaluation = case.fresh()
            with backward_may_raise(), going_back():
                found = evaluation.pullback(self.wide_cotangents(point))
        except Refused:
            return None
        return found if rounding.seen and len(found) else None

    def _rounded(self, k: int) -> tuple[Tensor, ...] | None:
        """The outputs of a forward whose every result was rounded; None where it can't be seen."""
        case, rounding = self.wide(self.at(k)), Rounding(self.dtype)
        try:
            with rounding:
                evaluation = case.fresh()
        except Refused:
            return None
        return tuple(y.detach().clone() for y in evaluation.outputs) if rounding.seen else None

    def _autograd(self, k: int) -> Gradients | None:
        """Autograd through the layer's own forward, all of it in the lower precision; None where there is none."""
        return self._traced(k, self.case.declared)

    def _own(self, k: int) -> Gradients | None:
        """Autograd through the forward of a layer that takes this dtype alone, beside the reference that stands for it: what a
        right backward of that very formula is off by, as 1 − a² is where tanh has rounded to 1."""
        return self._traced(k, None) if self.alone and not self.subject.autograd_is_backward else None

    def _reference(self, k: int) -> Gradients | None:
        """The same through the reference."""
        return None if self.case.reference is None else self._traced(k, self.case.reference)

    def _traced(self, k: int, function: Reference | None) -> Gradients | None:
        point = self.at(k)
        low = self.low(point).at(declared=function).with_base(replace(self.base, cotangents=point.cotangents))
        try:
            found = low.autograd
        except Exception:  # a reference that does not take this dtype
            return None
        return found if isinstance(found, dict) else None

    def error(self, kind: Callable[[int], Gradients | None], name: str, points: Sequence[int]) -> Noise | None:
        """How far `kind` (`kept`, `autograd`) is from the exact gradient at these points; None where it is not known."""
        moves = []
        for k in points:
            exact = self.expected if k == 0 else self.near(k)
            found = kind(k)
            g = None if found is None else found.get(name)
            r = None if exact is None else exact.gradients.get(name)
            if (g := _shaped(g, r)) is not None and r is not None and bool(torch.isfinite(g).all()):
                moves.append(real(g) - real(r))
        return Noise.of(moves) if moves else None

    def scatter(self, name: str, points: Sequence[int]) -> Noise | None:
        """How the error of the layer itself differs from point to point next to this one: the last digits decide what rounding
        does, and nothing of what a fault does. For NumPy, whose rounding can't be imitated. No excuse either."""
        errors = []
        for k in points:
            found, exact = self.lower(k), self.near(k)
            g, r = (None if base is None else base.gradients.get(name) for base in (found, exact))
            if (g := _shaped(g, r)) is not None and r is not None and bool(torch.isfinite(g).all()):
                errors.append(real(g) - real(r))
        if len(errors) < 2:
            return None
        usual = torch.stack(errors).mean(0)
        return Noise.of([e - usual for e in errors])

    def slope(self, name: str) -> float:
        """u‖v ⊙ y‖ / spread(x): the slope that comes of rounding the outputs, below which the forward tells nothing."""
        size = torch.cat(
            [
                (real(v) * real(y)).flatten()
                for v, y in zip(self.expected.cotangents, self.expected.outputs, strict=True)
            ]
        )
        return self.u * float(size.norm()) / float(scales_of(self.case.leaves[name]).max())

    @cached_property
    def steepest(self) -> float:
        """The largest cotangent; 1 where backward takes none."""
        return max((float(v.abs().max()) for v in self.expected.cotangents if v.numel()), default=1.0)

    def from_afar(self, name: str) -> float:
        """The largest entry of the wide gradient two ranges away: what the numbers are whose difference it may be here
        (p − 1 where p is nearly 1)."""
        point, largest = self.at(0), 0.0
        real_leaves = [n for n, t in point.leaves.items() if t.is_floating_point()]
        moved = directions_like([point.leaves[n] for n in real_leaves], self.case.seed, 29)
        for side in (1.0, -1.0):
            steps = {n: 8 * side * unit_of(point.leaves[n]) * d for n, d in zip(real_leaves, moved, strict=True)}
            far = replace(point, leaves={n: t + steps[n] if n in steps else t for n, t in point.leaves.items()})
            try:
                g = self.wide(far).evaluate(1, self.wide_cotangents(far)).gradients.get(name)
            except Refused:
                continue
            largest = largest if g is None or not g.numel() else max(largest, float(g.abs().max().nan_to_num(0.0)))
        return largest

    def remainder(self, name: str) -> float | None:
        """For a gradient that in the wide precision is nothing but rounding, what that comes to in the lower one.

        It is nothing but rounding where neighbours a few units in the wide precision's last place away spread by a
        sixteenth of its size: the wide and the lower rounding are of one kind and differ by the ratio of the units. None
        for any other gradient: there a backward's own rounding excuses nothing.
        """
        around = [self.case.base, *(self.case.neighbour(k) for k in range(4))]
        found = [real(g) for base in around if (g := base.gradients.get(name)) is not None]
        spread = rms(torch.stack(found[1:]).std(0)) if len(found) > 2 else 0.0
        if rms(found[0]) > ROUNDINGS * spread:
            return None
        return float(torch.stack(found).abs().max()) * self.u / self.case.u

    def uncancelled(self, name: str) -> float:
        """The gradient's size before cancellation: the rms of Jᵀ(v ⊙ ε) for random signs ε."""
        rng = rng_of(self.case.seed, 29)
        point = self.at(0)
        signs = [torch.as_tensor(rng.choice((-1.0, 1.0), tuple(v.shape))).to(v) for v in self.expected.cotangents]
        given = tuple(v * s for v, s in zip(self.wide_cotangents(point), signs, strict=True))
        g = self.wide(point).evaluate(1, given).gradients.get(name)
        return 0.0 if g is None else rms(g)


def _shaped(g: Tensor | None, r: Tensor | None) -> Tensor | None:
    """A gradient of the shape expected; a backward may answer in another one elsewhere, which is no rounding."""
    return None if g is None or r is None or g.shape != r.shape else g
