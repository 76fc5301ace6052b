"""Layers that compute in float32 behind a float64 interface."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from harness.arrays import RESOLUTION, narrow
from harness.outcome import Outcome
from harness.verdict import Verdict

if TYPE_CHECKING:
    from harness.judge import Judge


CANCELLED = 2.0**-24
"""How much smaller than the leaves outputs may be before their few digits may be what a subtraction has left."""


def said_of_float32(judge: Judge, name: str, verdict: Verdict) -> Verdict:
    """A layer that computes in float32 behind a float64 interface is told so, and not that its gradient is wrong.

    Its outputs or gradients are numbers of float32 at a point whose own numbers are not. What is off by no more than
    float32's resolution is then not verified, and no fault.
    """
    if name in judge.claim.malformed or (verdict.outcome is Outcome.PASS and not narrow(judge.claim.gradients[name])):
        return verdict
    where = _narrow(judge, name)
    if not where:
        return verdict
    scale = judge.scale(name, [])
    off = (
        torch.zeros(1) if verdict.expected is None else (judge.claim.gradients[name] - verdict.expected).nan_to_num(0.0)
    )
    worst = judge.relative(float(off.abs().max()), scale)
    if verdict.outcome is Outcome.FAIL and (verdict.expected is None or not worst <= RESOLUTION[torch.float32]):
        return verdict
    why = f"{where} computed in float32 inside a float64 interface"
    if verdict.outcome is Outcome.PASS:
        return replace(verdict, reason="; ".join(filter(None, (why, verdict.reason))))
    reached = max(worst, verdict.resolution if verdict.resolution < 1 else 0.0)
    why += (
        f", which hides what is finer than {reached:.0e}: where that is intended ask for no more with resolution=1e-3"
    )
    return Verdict(Outcome.INCONCLUSIVE, reached, why)


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
    g = near.gradients.get(name)
    return "its gradient is" if g is not None and narrow(g) else ""
