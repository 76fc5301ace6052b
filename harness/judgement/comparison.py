"""Whether two computations of one function, or of one gradient, agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused, forward_may_refuse
from harness.judgement.claim import Claim
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.outcome import Outcome
from harness.report import Finding
from harness.tensors.arrays import rms


def compared(case: Case, y: Tensor, expected: Tensor, again: Callable[[Mapping[str, Tensor]], Tensor]) -> Verdict:
    """`y` against `expected`: equal within 64 u entry by entry, or within the resolution of a well-conditioned function.

    Two right ways to compute a function differ by its response to rounding: `again` is asked for the outputs after every
    real leaf has moved by a few units in its last place, and sixteen times that response is allowed.
    """
    a, b = y.double(), expected.detach().double().to(y.device)
    if not bool(torch.isfinite(b).all()):
        return Verdict(Outcome.INCONCLUSIVE, reason="the reference is not finite here")
    scale = rms(b)
    apart = (a - b).abs()
    allowed = 64 * case.u * (b.abs() + scale)
    if bool((apart <= allowed).all()):
        return Verdict(Outcome.PASS, 64 * case.u)
    allowed = allowed + 16 * _response(case, b, again)
    worst = float(apart.max())
    if bool((apart <= allowed).all()) or worst <= case.tau * scale:
        return Verdict(Outcome.PASS, worst / scale if scale else worst)
    wrong = int((apart > allowed).sum())
    return Verdict(Outcome.FAIL, reason=f"{wrong} of {a.numel()} outputs are out", expected=b, allowed=allowed)


def _response(case: Case, y: Tensor, again: Callable[[Mapping[str, Tensor]], Tensor]) -> Tensor:
    """How far the outputs move when every real leaf moves by a few units in the last place."""
    moved = (again(case.nearby(number)).detach().double() - y for number in range(2))
    return torch.stack([m.abs() for m in moved]).amax(0)


ABOVE, LARGEST = 1e3, 1e-2
"""From how many times the smallest slope that the forward can express a backward's rounding is at most a hundredth of its
gradient: one that adds up over calls, or answers otherwise at every other, would excuse itself."""


def agreement(
    claim: Claim,
    name: str,
    g: Tensor | None,
    expected: Tensor | None,
    size: Tensor | None = None,
    repeated: bool = False,
) -> Verdict:
    """One backward's gradient against what another implies: within 64 u of the size its parts have before they cancel, or
    within the backward's measured rounding, or within the resolution (an adjoint solved by iteration is no finer).

    Args:
        size: the entries' size before cancellation; None: the expected ones'.
        repeated: whether both are one computation, whose rounding is the same: what is measured as such may be chance.
    """
    if expected is None:
        return Verdict(Outcome.PASS, 0.0)
    if g is None or g.shape != expected.shape:
        return Verdict(Outcome.FAIL, reason="backward gave no gradient" if g is None else f"shape {tuple(g.shape)}")
    held = claim.differences.held.get(name)  # at singular points there is nothing to compare
    a, b, sizes = (
        x if held is None else x.masked_fill(held, 0.0)
        for x in (g.double(), expected.double(), (expected if size is None else size).double().abs())
    )
    if torch.equal(a, b):
        return Verdict(Outcome.PASS, 0.0)
    apart = (a - b).abs()
    scale = rms(sizes) or float(sizes.amax())  # the squares may underflow
    allowed = 64 * claim.case.u * (sizes + scale)
    worst = float(apart.max()) / scale if scale else float("inf")
    # what grows with the cotangent is rounded in proportion
    grown = scale / claim.sizes[name] if claim.sizes[name] else 1.0
    if bool((apart <= allowed).all()):
        return Verdict(Outcome.PASS, worst)
    # a true zero (a bias in front of a centring) has no size before cancellation here: what the forward can express has
    floor = grown * claim.differences.floor(name)
    if bool((apart <= allowed + floor).all()):
        # relative to the slope of outputs that change by all of their size over the input's spread
        return Verdict(Outcome.PASS, float(apart.max()) / max(scale, floor / (64 * claim.case.u)))
    # what has to be measured comes last
    rounding = torch.zeros(()) if repeated else _rounding(claim, name)
    allowed = allowed + grown * (rounding + _expressible(claim, name))
    if bool((apart <= allowed).all()) or worst <= claim.case.tau:
        return Verdict(Outcome.PASS, worst)
    wrong = int((~(apart <= allowed)).sum())
    return Verdict(Outcome.FAIL, reason=f"{wrong} of {a.numel()} entries are out", expected=b, allowed=allowed)


def _rounding(claim: Claim, name: str) -> Tensor:
    """The backward's measured rounding, as `agreement` allows it: what differs by more from call to call than rounding can
    is no rounding."""
    measured, size = ROUNDINGS * claim.rounding[name], claim.sizes[name]
    capped = measured.clamp(max=max(LARGEST, 256 * claim.case.u) * size)
    if size <= ABOVE * claim.differences.floor(name) or torch.equal(capped, measured):
        return measured
    # small outputs may be what large numbers leave that cancel: their rounding is measured
    return measured if size <= ABOVE * claim.differences.finest(name) else capped


def _expressible(claim: Claim, name: str) -> float:
    """The smallest slope that the forward can express: in its outputs' last digits, or beside its measured rounding where
    they are what larger numbers leave (x − tanh x near 0); d − d (1 − t²) is as coarse there, and no neighbour shows it."""
    floor, finest = claim.differences.floor(name), ROUNDINGS * claim.differences.finest(name)
    return max(floor, finest) if math.isfinite(finest) else floor


FACTORS = (1.1, 0.9, 1.3, 0.7)
"""Times which numbers are rounded otherwise; near enough to 1 that nothing else becomes of them."""

POWERS = (1.0, 2.0, 0.5)
"""Times which numbers are rounded alike, digit by digit: by how much gradients differ over these, they differ by more than rounding."""

TIMES = 8
"""By how much a sum, which is rounded three times over, may be further out than one such change."""


def within_scatter(found: Tensor, expected: Tensor, *pulled: Callable[[float], Tensor | None]) -> bool:
    """Whether a gradient is no further out than what backward gives for one multiple of a cotangent differs from what it gives for
    another by rounding alone. `pulled` gives it for each of several cotangents."""
    rounding = max(_scatter(p, FACTORS) - _scatter(p, POWERS) for p in pulled)
    return float((found.double() - expected).abs().amax()) <= TIMES * rounding


def _scatter(pulled: Callable[[float], Tensor | None], factors: Sequence[float]) -> float:
    """By how much the multiples' gradients differ, divided by the multiple."""
    same = [g.double() / c for c in factors if (g := pulled(c)) is not None]
    return max((float((g - same[0]).abs().amax()) for g in same[1:]), default=0.0)


def entry_farthest_off(name: str, found: Tensor | None, expected: Tensor | None) -> Finding:
    """What one backward gives beside what another implies."""
    if found is None or expected is None or found.shape != expected.shape:
        shown = "no gradient" if found is None else f"shape {tuple(found.shape)}"
        return Finding((name, None), shown, "" if expected is None else f"shape {tuple(expected.shape)}", "exact", 1, 1)
    apart = (found.double() - expected.double()).abs().nan_to_num(torch.inf)
    index = tuple(int(i) for i in (apart == apart.max()).nonzero()[0]) if apart.ndim else ()
    wrong = int((apart > 0).sum())
    return Finding((name, index), float(found[index]), float(expected[index]), "rounding", wrong, apart.numel())


def not_finite(case: Case) -> Finding | None:
    """Outputs that are not finite where the reference's are; None too where either raises, or there is no reference."""
    if case.reference is None:
        return None
    try:
        with forward_may_refuse():
            expected = case.reference.outputs(case.subject, case.leaves, case.buffers, case.mode, case.seed)
        found = case.fresh().outputs
    except Refused:
        return None
    for k, (y, z) in enumerate(zip(found, expected, strict=False)):
        wrong = (~y.isfinite() & z.isfinite()) if y.shape == z.shape else torch.zeros_like(y, dtype=torch.bool)
        if bool(wrong.any()):
            where = tuple(int(i) for i in wrong.nonzero()[0])
            said = f"output{k} has {int(wrong.sum())} entries that are not finite where the reference's are"
            return Finding((f"output{k}", where), said, float(z[where]), "exact", int(wrong.sum()), wrong.numel())
    return None
