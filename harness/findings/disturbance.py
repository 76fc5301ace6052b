"""What a layer does to its inputs by what it draws."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.draws import rng_of, signed_like
from harness.findings.chances import recurs
from harness.reading.masks import RATES

DRAWS = 21
"""In how many draws a mask is looked for."""


def multiplies(case: Case, name: str, gain: Tensor, sign: float = 1.0) -> bool:
    """Whether other inputs under the same seed give the same multiples: one entry alone is a multiple of anything."""
    other = sign * case.leaves[name] * (1 + signed_like(gain, rng_of(case.seed, 17)) / 4)
    y = case.outputs_at({**case.leaves, name: other})[0]
    return bool(((y - gain * other).abs() <= 8 * case.u * (gain * other).abs()).all())


def adds_noise(case: Case, drawn: Tensor, expected: Tensor) -> bool:
    """Whether it adds noise that has nothing to do with its inputs: others under the same seed get the same."""
    other = {**case.leaves, **{n: 1.25 * case.leaves[n] for n in case.subject.wanted("input")}}
    noise = drawn - expected
    again = case.outputs_at(other, case.seed + 101)[0].double().flatten() - 1.25 * expected
    return bool(noise.any()) and bool(((noise - again).abs() <= 64 * case.u * (noise.abs() + expected.abs())).all())


def disturbs(case: Case) -> bool:
    """Whether what evaluation draws is what disturbs training alone: at a rate that is stated, a mask, or noise that an input is
    multiplied by or that is added to it. A sample (of Gumbel's softmax, of a posterior) is what its layer is for."""
    if any(n in RATES and isinstance(v, float) and 0 < v < 1 for n, v in case.sizes.items()) or not case.replays:
        return True
    inputs, y = case.subject.wanted("input"), case.base.outputs[0]
    alike = [n for n in inputs if case.leaves[n].shape == y.shape and bool((case.leaves[n] != 0).all())]
    drawn = case.outputs_at(case.leaves, case.seed + 101)[0].double().flatten()
    if any(
        multiplies(case, n, y / case.leaves[n]) or adds_noise(case, drawn, case.leaves[n].double().flatten())
        for n in alike
    ):
        return True
    other = {**case.leaves, **{n: 1.25 * case.leaves[n] for n in inputs}}
    seeds = range(case.seed + 101, case.seed + 101 + DRAWS)
    with suppress(Refused):
        here, there = (torch.stack([case.outputs_at(at, k)[0].flatten() for k in seeds]) for at in (case.leaves, other))
        return recurs(here.double(), there.double())
    return True
