"""One tensor's gradient in a lower precision, weighed against rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from harness.base import Base
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.low_precision.neighbours import FAR, MORE, QUICK
from harness.low_precision.precision import AGAIN, Lowered
from harness.low_precision.rounding import Allowance, Noise, real
from harness.outcome import Outcome
from harness.report import Finding
from harness.subject import Gradients
from harness.tensors.arrays import RESOLUTION, dtype_name, rms, unit_roundoff

VISIBLE = 0.5
"""The largest share of the gradient that may be allowed for rounding where it counts as verified: a gradient that is
zero, of the other sign or twice as large still lies outside."""

SLOPES = 64
"""How many units of its last digit a forward may be off by, as in the floor of `Differences`."""


STRAYS = 'numbers inside backward leave the range of float16, which is a fault under the promise "stable" alone'

FEW_DIGITS = (
    "numbers inside {} lie where float16 has few digits left (below 6·10⁻⁵), which is a fault under the promise "
    '"stable" alone'
)


def same_outputs(low: Lowered) -> bool:
    """Whether the outputs are the same up to rounding: both precisions have drawn the same and neither overflows inside."""
    others = [near.outputs for k in QUICK if (near := low.near(k)) is not None]
    for j, (y, expected) in enumerate(zip(low.base.outputs, low.expected.outputs, strict=True)):
        moves = [real(other[j]) - real(expected) for other in others] or [torch.zeros_like(real(expected))]
        allowed = ROUNDINGS * (Noise.of(moves).entries + low.u * rms(expected))
        if bool(((real(y) - real(expected)).abs() > allowed).any()):
            return False
    return True


class Scales:
    """One tensor's gradient in the lower precision, weighed against rounding."""

    def __init__(self, low: Lowered, name: str) -> None:
        self.low, self.name, self.short = low, name, dtype_name(low.dtype)

    @cached_property
    def claimed(self) -> Tensor:
        """What backward gives in the lower precision, in float64."""
        return self._given(self.low.base)

    @cached_property
    def exact(self) -> Tensor:
        """What it gives in the wide one at the same numbers, or the reference does."""
        return self._given(self.low.expected)

    def _given(self, base: Base) -> Tensor:
        g = base.gradients[self.name]
        assert g is not None, "a gradient that is missing has its verdict already"
        return real(g)

    @cached_property
    def error(self) -> Tensor:
        """claimed − exact."""
        return self.claimed - self.exact

    @cached_property
    def size(self) -> float:
        """The root mean square of the exact one's entries."""
        return rms(self.exact)

    def verdict(self) -> Verdict:
        """PASS where rounding explains the error and leaves the gradient visible, FAIL where it can't explain it."""
        if (malformed := self._malformed()) is not None:
            return malformed
        slope = self.low.slope(self.name)
        if self.size <= slope and float(self.error.abs().max()) <= ROUNDINGS * slope:
            said = "" if not self.error.any() else f"zero up to the last digit of the outputs in {self.short}"
            # relative to the slope of outputs that change by all of their size over the input's spread
            return Verdict(Outcome.PASS, ROUNDINGS * self.low.u if said else 0.0, said)
        allowance = self.allowance(QUICK, (0,))
        if allowance is not None and not allowance.covers(self.error):
            allowance = self.allowance((*QUICK, *MORE), (0, *MORE))
        if allowance is not None and not allowance.covers(self.error) and self.low.u <= unit_roundoff(torch.float32):
            allowance = self.allowance((*QUICK, *MORE), (0, *MORE, *FAR))
        if allowance is None:
            return Verdict(Outcome.INCONCLUSIVE, reason=f"every point a last digit of {self.short} away is refused")
        return self._weighed(allowance)

    def _malformed(self) -> Verdict | None:
        g, r = (b.gradients.get(self.name) for b in (self.low.base, self.low.expected))
        if r is None or not bool(torch.isfinite(r).all()):
            why = f"its gradient in {dtype_name(self.low.case.dtype)} is not finite at the numbers rounded to {self.short}"
            return Verdict(Outcome.SKIP, reason=why)
        if g is None or g.shape != r.shape:
            return Verdict(Outcome.FAIL, reason=f"its gradient in {self.short} is missing or of another shape")
        if bool(torch.isfinite(g).all()):
            return None
        bad = int((~torch.isfinite(g)).sum())
        if float(r.abs().max()) > torch.finfo(self.low.dtype).max:
            return Verdict(Outcome.SKIP, reason=f"its gradient leaves the range of {self.short}")
        if self.low.dtype is torch.float16 and (self.low.overflows or not self._finite_by_autograd()):
            return Verdict(Outcome.SKIP, reason="something on the way to it leaves the range of float16")
        if why := self._out_of_range(lambda faint: not bool(torch.isfinite(faint[~torch.isfinite(g)]).any())):
            return Verdict(Outcome.SKIP, reason=why)
        return Verdict(Outcome.FAIL, reason=f"{bad} of {g.numel()} entries are not finite in {self.short}")

    def _out_of_range(self, explains: Callable[[Tensor], bool], kept: bool = False) -> str:
        """What is said where numbers inside backward leave float16's range, or those below its smallest normal one explain the
        error, and no promise forbids them to; empty where neither. What is divided by infinity is 0, and nothing need be infinite
        in the end; of y² = 4·10⁻⁶ there are two digits, of 10⁻⁸ none.

        Args:
            explains: whether a gradient in which such small numbers alone were rounded explains the error.
            kept: whether they may be those of a forward too that can't be imitated.
        """
        if self.low.dtype is not torch.float16 or "stable" in self.low.case.promises:
            return ""
        if self.low.strays:
            return STRAYS
        faint = (self.low.faint(0) or {}).get(self.name)
        if self.low.fades if faint is None else explains(real(faint)):
            return FEW_DIGITS.format("backward")
        return FEW_DIGITS.format("forward") if faint is None and kept and self.low.dims else ""

    def _finite_by_autograd(self) -> bool:
        """Whether autograd, where there is one, does not overflow either."""
        g = (self.low.autograd(0) or {}).get(self.name)
        return g is None or bool(torch.isfinite(g).all())

    def allowance(self, neighbours: Sequence[int], points: Sequence[int]) -> Allowance | None:
        """Sixteen times the response to the inputs' last digits and four times every error that is not backward's own.

        16 u of the tensor's size and 16 of the smallest number are added in each entry, and u in the response over the
        tensor: the gradient itself is rounded too. What is below the smallest normal number may be lost whole, times the
        largest cotangent: processors flush it to zero, and in float16 its reciprocal overflows. An error's rms counts in
        every entry: autograd may be exact in one by luck, and where all of a gradient cancels only the size of what is
        left is alike. None where no neighbour can be looked at.
        """
        response = self.low.response(self.name, neighbours)
        if response is None:
            return None
        kept = self.low.error(self.low.kept, self.name, points)
        traced = self.low.error(self._oracle(), self.name, points)
        least = torch.finfo(self.low.dtype)
        own = self.low.error(self.low.own, self.name, points) if self.low.alone else None
        errors = [e for e in (kept, traced, own) if e is not None]
        entries = ROUNDINGS * (response.entries + self.low.u * self.size + least.smallest_normal * least.eps)
        total = max(response.rms, self.low.u * self.size) + least.smallest_normal * least.eps
        lost = least.smallest_normal * self.low.steepest
        return Allowance(
            entries + AGAIN * sum(e.entries + e.rms for e in errors) + lost,
            AGAIN * (total + sum(e.rms for e in errors)) + lost,
            kept is not None and traced is not None,
            kept is not None,
        )

    def _oracle(self) -> Callable[[int], Gradients | None]:
        """Autograd through the own forward where it agrees in the wide precision, else the reference."""
        case, found = self.low.case, self.low.case.autograd
        g = case.base.gradients[self.name]
        if isinstance(found, dict) and g is not None:
            apart, r = real(g) - real(found[self.name]), real(found[self.name])
            if bool((apart.abs() <= 64 * case.u * (r.abs() + rms(r))).all()):
                return self.low.autograd
        return self.low.reference

    def _weighed(self, allowance: Allowance) -> Verdict:
        """What is said of the error by what rounding may come to."""
        most, covered = self._share(allowance.rms), allowance.covers(self.error)
        if not (covered and most <= VISIBLE) and self._vanishes(allowance):
            return Verdict(Outcome.PASS, ROUNDINGS * self.low.u, f"zero up to rounding, in {self.short} too")
        return self._explained(allowance, most) if covered else self._unexplained(allowance, most)

    def _explained(self, allowance: Allowance, most: float) -> Verdict:
        """Of an error that rounding explains: PASS where rounding leaves a gradient to be seen at all."""
        if most <= VISIBLE or not (self.error.any() or self.exact.any()):
            return Verdict(Outcome.PASS, min(most, 1.0))
        size = max(self.size, self.low.uncancelled(self.name))
        most = allowance.rms / size if size else float("inf")
        if most <= VISIBLE:
            return Verdict(Outcome.PASS, most)
        why = f"rounding to {self.short} may change it by {most:.0%} of its size"
        # the numbers of this precision do not determine it: the example is not for this precision
        return Verdict(Outcome.SKIP, most, why)

    def _unexplained(self, allowance: Allowance, most: float) -> Verdict:
        """Of one that it does not: FAIL, unless the forward is off too, or it is hidden or coarse for another reason."""
        found, worst = self._share(rms(self.error)), float(self.error.abs().max())
        why = f"in {self.short} it is off by {found:.1e} of its size (rms); rounding explains {most:.1e}"
        tau = RESOLUTION.get(self.low.dtype, 0.0)
        if not allowance.whole and worst <= tau * self.size:
            return Verdict(Outcome.PASS, tau, why)
        if not allowance.whole and not same_outputs(self.low):
            why = f"in {self.short} its forward is off by more than rounding too, and backward goes by it"
            return Verdict(Outcome.INCONCLUSIVE, found, why)
        # in 16 bits what is far is no measure: the last digits of most gradients are a hundredth of it
        far = self.low.u * self.low.from_afar(self.name) if self.low.u < 1e-6 else 0.0
        if self.size <= ROUNDINGS * far and worst <= 4 * far:
            return Verdict(Outcome.SKIP, found, f"in {self.short} it is a difference of larger numbers, and as coarse")
        if why_not := self._out_of_range(
            lambda g: allowance.widened(AGAIN, Noise.of([g - self.exact])).covers(self.error), kept=True
        ):
            return Verdict(Outcome.SKIP, found, why_not)
        if worst > self._hidden(allowance):
            return self._refuted(allowance, found, why)
        return Verdict(Outcome.INCONCLUSIVE, found, f"{why}, and there is no second opinion in {self.short}")

    def _refuted(self, allowance: Allowance, found: float, why: str) -> Verdict:
        """FAIL, unless backward's own operations explain the error."""
        if not allowance.whole and self._recomputed(allowance):
            why = f"{why}, that of its own operations more: only a reference can tell whether others round less"
            return Verdict(Outcome.INCONCLUSIVE, found, why)
        return Verdict(Outcome.FAIL, found, why, self.exact, allowance.entries)

    def _recomputed(self, allowance: Allowance) -> bool:
        """Whether rounding every result of this very backward explains the error, or what its error differs by from one last digit
        to the next: where nothing else tells what another right one would be off by, that refutes nothing, and verifies nothing."""
        own = self.low.error(self.low.recomputed, self.name, (0, *MORE)) or self.low.scatter(self.name, MORE)
        if own is None:
            return False
        return allowance.widened(AGAIN, own).covers(self.error)

    def _vanishes(self, allowance: Allowance) -> bool:
        """Whether the gradient is a true zero (a bias in front of a centring), and what is left of it in the lower
        precision no more than what is left of it in the wide one, in units of their last digits.

        Where terms cancel there to the last digit (do·v − do·o of attention to a single key), that measures nothing, and
        autograd may have no such terms: what is left is then what rounding every result of this very backward leaves.
        """
        left = self.low.remainder(self.name)
        if left == 0.0:
            return self._recomputed(allowance)
        return left is not None and float(self.error.abs().max()) <= ROUNDINGS * left

    def _hidden(self, allowance: Allowance) -> float:
        """The error that may be rounding although nothing measured explains it: 0 where all parts were measured."""
        if allowance.whole:
            return 0.0
        tolerated = RESOLUTION.get(self.low.dtype, ROUNDINGS * self.low.u) * self.size
        return tolerated if allowance.kept else max(tolerated, SLOPES * self.low.slope(self.name))

    def _share(self, error: float) -> float:
        return error / self.size if self.size else error

    def finding(self, verdict: Verdict) -> Finding:
        """Where it is worst: an entry out of its bound, or the tensor as a whole."""
        label = self.low.case.label
        if verdict.expected is None or verdict.allowed is None:
            return Finding((self.name, None), verdict.reason, "", "exact", 1, 1, example=label)
        excess = self.error.abs() - verdict.allowed
        wrong = int((excess > 0).sum())
        if not wrong:
            said = f"its rounding adds up ({self.short}): sum in float32, or in chunks"
            factor = float((self.claimed * self.exact).sum() / self.exact.square().sum().clamp_min(1e-300))
            if rms(self.claimed - factor * self.exact) < rms(self.error) / 2:
                said = f"no single entry is out, all together are: about {factor:.4g} times what they should be"
            if self.low.alone:
                said = "no single entry is out, all together are: a factor near 1, or rounding that adds up"
            return Finding((self.name, None), verdict.reason, "", "exact", 1, 1, (said,), "", label)
        index = tuple(int(i) for i in (excess == excess.max()).nonzero()[0]) if excess.ndim else ()
        wide = dtype_name(self.low.case.dtype)
        said = f"right in {wide} at the same numbers, wrong in {self.short}"
        if self.low.alone:
            said = f"expected is what the reference gives in {wide} at the same numbers"
        g, r, allowed = (float(t[index]) for t in (self.claimed, self.exact, verdict.allowed))
        return Finding((self.name, index), g, r, allowed, wrong, excess.numel(), (said,), "", label)
