"""Whether two computations of one function agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.arrays import rms
from harness.case import Case
from harness.outcome import Outcome
from harness.verdict import Verdict


def compared(case: Case, y: Tensor, expected: Tensor, again: Callable[[Mapping[str, Tensor]], Tensor]) -> Verdict:
    """`y` against `expected`: equal within 64 u entry by entry, or within the resolution of a well-conditioned function.

    Two right ways to compute a function differ by its response to rounding: `again` is asked for the outputs after every
    real leaf has moved by one unit in its last place, and sixteen times that response is allowed.
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
