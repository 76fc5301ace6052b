"""Whether two computations of one function agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from harness.case import Case
from harness.draws import rng_of
from harness.judge import Verdict
from harness.outcome import Outcome


def compared(case: Case, y: Tensor, expected: Tensor, again: Callable[[Mapping[str, Tensor]], Tensor]) -> Verdict:
    """`y` against `expected`: equal within 64 u entry by entry, or within the resolution of a well-conditioned function.

    Two right ways to compute a function differ by its response to rounding: `again` is asked for the outputs after every
    real leaf has moved by one unit in its last place, and sixteen times that response is allowed.
    """
    a, b = y.double(), expected.detach().double().to(y.device)
    if not bool(torch.isfinite(b).all()):
        return Verdict(Outcome.INCONCLUSIVE, reason="the reference is not finite here")
    scale = float(b.square().mean().sqrt()) if b.numel() else 0.0
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
    """How far the outputs move when every real leaf moves by one unit in the last place, up or down at random."""
    largest = torch.zeros_like(y)
    for number in range(2):
        moved = {
            n: torch.nextafter(
                t, torch.as_tensor(rng_of(case.seed, 13, number, k).choice((-1.0, 1.0), tuple(t.shape)) * 1e300).to(t)
            )
            if t.is_floating_point()
            else t
            for k, (n, t) in enumerate(case.leaves.items())
        }
        largest = torch.maximum(largest, (again(moved).detach().double() - y).abs())
    return largest
