"""The outputs of a layer in a lower precision, beside the same layer in the wide one, where a reference says what can be had."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from harness.domain import Refused
from harness.judgement.verdict import ROUNDINGS
from harness.low_precision.neighbours import MORE, QUICK
from harness.low_precision.precision import AGAIN, Lowered
from harness.low_precision.rounding import Noise, real
from harness.report import Finding
from harness.tensors.arrays import dtype_name, rms


class Outputs:
    """What a forward gives in the lower precision, against rounding.

    It is held to the wide forward at the same numbers, and only where the reference, in the lower precision too, shows what a
    right one comes to: without it nobody knows whether another forward would be finite, or nearer.
    """

    def __init__(self, low: Lowered) -> None:
        self.low = low
        self.short = dtype_name(low.dtype)

    @cached_property
    def _reference(self) -> tuple[Tensor, ...] | None:
        """The reference's outputs in the lower precision; None where there is none that takes it, or they are of other shapes."""
        case, point = self.low.case, self.low.at(0)
        if case.reference is None:
            return None
        try:
            found = case.reference.outputs(self.low.subject, point.leaves, point.buffers, case.mode, case.seed)
        except Exception:  # one that does not take this dtype
            return None
        same = [y.shape for y in found] == [y.shape for y in self.low.expected.outputs]
        return tuple(map(real, found)) if same else None

    def overflow(self) -> Finding | None:
        """Outputs that are not finite where the reference's are in this precision, and the wide ones lie in its range."""
        try:
            found, expected = self.low.low(self.low.at(0)).fresh().outputs, self.low.expected.outputs
        except Refused:
            return None
        for j, (y, r) in enumerate(zip(found, expected, strict=False)):
            exact, possible = real(r), None if self._reference is None else self._reference[j]
            if possible is None or y.shape != exact.shape or y.dtype != self.low.dtype:
                return None
            lost = ~y.isfinite() & possible.isfinite() & (exact.abs() <= torch.finfo(self.low.dtype).max)
            if bool(lost.any()):
                return self._finding(j, real(y), exact, lost, "finite")
        return None

    def astray(self) -> Finding | None:
        """An output that is farther from the wide one than rounding explains."""
        if self._reference is None:
            return None
        for j, (y, r) in enumerate(zip(self.low.base.outputs, self.low.expected.outputs, strict=True)):
            found, exact = real(y), real(r)
            allowed: Tensor | None = self._last_digits(exact)  # most outputs need no more
            for neighbours in (QUICK, (*QUICK, *MORE)):
                if allowed is not None and bool(((found - exact).abs() > allowed).any()):
                    allowed = self._allowed(j, neighbours, exact)
            if allowed is not None and bool((out := (found - exact).abs() > allowed).any()):
                return self._finding(j, found, exact, out, float(allowed[out][0]))
        return None

    def _last_digits(self, exact: Tensor) -> Tensor:
        least = torch.finfo(self.low.dtype).smallest_normal
        return ROUNDINGS * (self.low.u * (exact.abs() + rms(exact)) + least)

    def _allowed(self, j: int, neighbours: Sequence[int], exact: Tensor) -> Tensor | None:
        """Sixteen times the outputs' response to the inputs' last digits, and four times the error of the reference in the same
        precision and of this very forward with every result rounded, here and nearby; None where nothing is known of that: a
        forward that computes in NumPy may round as it likes."""
        if self._reference is None:
            return None
        moved = [near.outputs[j] for k in neighbours if (near := self.low.near(k)) is not None]
        rounded = [(self.low.rounded(k), self._wide(k)) for k in (0, *(k for k in neighbours if k in MORE))]
        moves = [(a[j], b[j]) for a, b in rounded if a is not None and b is not None]
        if not moved or not moves:
            return None
        response = Noise.of([real(y) - exact for y in moved]).entries
        # where an imitation has no number, as where it overflows, it tells nothing
        own = [(real(a) - real(b)).nan_to_num(torch.inf, torch.inf) for a, b in moves]
        errors = [torch.stack(own).abs().amax(0), self._reference[j] - exact]
        typical = sum(rms(torch.where(e.isfinite(), e, 0.0)) for e in errors)
        return self._last_digits(exact) + ROUNDINGS * response + AGAIN * (sum(e.abs() for e in errors) + typical)

    def _wide(self, k: int) -> tuple[Tensor, ...] | None:
        base = self.low.expected if k == 0 else self.low.near(k)
        return None if base is None else base.outputs

    def _finding(self, j: int, found: Tensor, exact: Tensor, out: Tensor, allowed: float | str) -> Finding:
        label = "output" if len(self.low.expected.outputs) == 1 else f"output{j}"
        index = tuple(int(i) for i in out.nonzero()[0]) if out.ndim else ()
        wide = dtype_name(self.low.case.dtype)
        said = f"right in {wide} at the same numbers, and the reference is in {self.short}"
        count, example = int(out.sum()), self.low.case.label
        return Finding(
            (label, index), float(found[index]), float(exact[index]), allowed, count, out.numel(), (said,), "", example
        )
