"""Layers that compute in float32 behind a float64 interface, or in 16 bits behind a wider one."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.domain import BackwardRaised, Refused
from harness.judgement.surroundings import SINGLE, STILL
from harness.judgement.verdict import ROUNDINGS, Verdict
from harness.oracles.differences import NOISE_STEP
from harness.oracles.noise import rounding_of
from harness.outcome import Outcome
from harness.tensors.arrays import RESOLUTION, dtype_name, narrow, of_sixteen_bits, rms

if TYPE_CHECKING:
    from harness.judgement.judge import Judge


CANCELLED = 2.0**-24
"""How much smaller than the leaves outputs may be, or a gradient than a slope of the outputs' own size over the leaf's spread, before
their few digits may be what a subtraction has left."""


PART = (
    "{what} by {share:.0e} of their size, as where a part is computed in float32 inside a float64 interface, or lost beside "
    "numbers 10⁸ times larger"
)

INTENDED = "where that is intended ask for no more with resolution=1e-3"


SIXTEEN = (
    "outputs are computed in {short} inside a {wide} interface: between two of their numbers they stand still, and no difference "
    "tells a slope; give what computes in {short} tensors of {short}, with a reference="
)


def said_of_float32(judge: Judge, name: str, verdict: Verdict) -> Verdict:
    """A layer that computes in float32 behind a float64 interface is told so, and not that its gradient is wrong.

    Its outputs or gradients are numbers of float32 at a point whose own numbers are not. What is off by no more than
    float32's resolution is then not verified, and no fault. Where a part alone is, outputs or gradients round as float32
    does, and no fault is what is off by a few of these roundings. Where the outputs are numbers of 16 bits alone, steps of
    differences stay between two of them: nothing is known.
    """
    if name in judge.claim.malformed or (verdict.outcome is Outcome.PASS and not narrow(judge.claim.gradients[name])):
        return verdict
    if verdict.outcome is not Outcome.PASS and (dtype := _of_sixteen_bits(judge)) is not None:
        wide, short = dtype_name(judge.case.base.outputs[0].dtype), dtype_name(dtype)
        return Verdict(Outcome.INCONCLUSIVE, reason=SIXTEEN.format(short=short, wide=wide))
    where = _narrow(judge, name)
    if not where:
        return verdict if verdict.outcome is Outcome.PASS else _said_of_part(judge, name, verdict)
    why = f"{where} computed in float32 inside a float64 interface"
    if verdict.outcome is Outcome.PASS:
        return replace(verdict, reason="; ".join(filter(None, (why, verdict.reason))))
    worst = _worst(judge, name, verdict)
    if verdict.outcome is Outcome.FAIL and not worst <= RESOLUTION[torch.float32]:
        return verdict
    reached = max(worst if math.isfinite(worst) else 0.0, verdict.resolution if verdict.resolution < 1 else 0.0)
    return Verdict(Outcome.INCONCLUSIVE, reached, f"{why}, which hides what is finer than {reached:.0e}: {INTENDED}")


def _said_of_part(judge: Judge, name: str, verdict: Verdict) -> Verdict:
    """The same where no numbers are float32's, but outputs or gradients round as its do."""
    what, share = _in_part(judge, name)
    if not share:
        return verdict
    said = PART.format(what=what, share=share)
    if "resolution=" not in verdict.reason:
        said += f": {INTENDED}"
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return replace(verdict, reason="; ".join(filter(None, (verdict.reason, said))))
    worst = _worst(judge, name, verdict)
    if not worst <= ROUNDINGS * share:
        return verdict
    return Verdict(
        Outcome.INCONCLUSIVE, max(worst, share), f"off by {worst:.0e} of its size, which may be rounding: {said}"
    )


def _worst(judge: Judge, name: str, verdict: Verdict) -> float:
    """By how much the claim is off at most, as a share of the gradient's scale; infinite where it is not known."""
    if verdict.expected is None:
        return math.inf
    off = (judge.claim.gradients[name] - verdict.expected).nan_to_num(0.0)
    return judge.relative(float(off.abs().max()), judge.scale(name, []))


def _narrow(judge: Judge, name: str) -> str:
    """What is computed in float32: "outputs are", "its gradient is", or nothing."""
    if judge.case.u > 1e-10 or all(narrow(t) or not t.is_floating_point() for t in judge.case.nearby(0).values()):
        return ""
    near = judge.case.neighbour(0)
    largest = max(float(t.abs().amax()) for t in judge.case.leaves.values() if t.is_floating_point() and t.numel())
    # the difference of nearly equal numbers has few digits too, however it is computed
    small = all(float(y.abs().amax()) < CANCELLED * largest for y in near.outputs if y.numel())
    if not small and all(narrow(y) for y in near.outputs):
        return "outputs are"
    g, f = near.gradients.get(name), judge.differences
    # of do·v − do·o, attention's to a single key, the last digits alone are left
    few = g is not None and g.numel() and float(g.abs().amax()) < CANCELLED * f.floor(name) / (64 * f.case.u)
    return "its gradient is" if g is not None and not few and narrow(g) else ""


def _of_sixteen_bits(judge: Judge) -> torch.dtype | None:
    """The type of 16 bits that all outputs are numbers of, at a point whose own numbers are not."""
    if any(of_sixteen_bits(t) for t in judge.case.nearby(0).values()):
        return None
    found = {of_sixteen_bits(y) for y in judge.case.neighbour(0).outputs}
    return found.pop() if len(found) == 1 else None


def _in_part(judge: Judge, name: str) -> tuple[str, float]:
    """What rounds as float32 does, though not all of its numbers are float32's, and by how much relative to its size."""
    if judge.case.u > 1e-10 or not judge.case.replays:
        return "", 0.0
    for what, share_of in (("the outputs round", _of_outputs), ("the entries of its gradient round", _of_gradient)):
        with suppress(Refused, BackwardRaised):
            if share := share_of(judge, name):
                return what, share
    return "", 0.0


def _of_outputs(judge: Judge, name: str) -> float:
    """The rounding of the outputs as a share of their size, where it is one of float32; else 0."""
    f = judge.differences
    far = f.rounding_at(f.direction(0, judge.case.wanted), STILL)
    return _single(judge, f.noise, f.y) or _single(judge, far, f.y)


def _of_gradient(judge: Judge, name: str) -> float:
    """The same of one gradient, measured in the same way."""
    case, f, g = judge.case, judge.differences, judge.claim.gradients[name]
    step = f.spread(f.direction(0, case.wanted), NOISE_STEP)

    def change(k: float) -> Tensor | None:
        moved = {n: t + k * step[n] if n in step else t for n, t in case.leaves.items()}
        found = case.at(leaves=moved).evaluate(1, case.base.cotangents).gradients.get(name)
        return None if found is None or found.shape != g.shape else (found - g).double().reshape(-1)

    g = g.double()
    return _single(judge, rounding_of(change, g.reshape(-1), case.u), g)


def _single(judge: Judge, rounding: Tensor, t: Tensor) -> float:
    """What share of the numbers their rounding is, where that is float32's and float64's of no leaf comes near it."""
    noise, size = rms(rounding.where(rounding.isfinite(), 0.0)), rms(t)
    largest = max(float(x.abs().amax()) for x in judge.case.leaves.values() if x.is_floating_point() and x.numel())
    within = SINGLE[0] * size <= noise <= SINGLE[1] * size and noise > 64 * judge.case.u * largest
    return noise / size if within and size else 0.0
