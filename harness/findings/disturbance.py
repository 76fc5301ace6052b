"""What a layer does to its inputs by what it draws."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.draws import rng_of, signed_like
from harness.findings.chances import dropped, recurs
from harness.reading.masks import RATES

DRAWS = 21
"""In how many draws a mask is looked for."""

GROWN = 1.25
"""How many times as large other inputs are: another point, near enough for most domains."""


def multiplies(case: Case, name: str, gain: Tensor) -> bool:
    """Whether other inputs under the same seed give the same multiples: one entry alone is a multiple of anything."""
    other = case.leaves[name] * (1 + signed_like(gain, rng_of(case.seed, 17)) / 4)
    y = case.outputs_at({**case.leaves, name: other})[0]
    return bool(((y - gain * other).abs() <= 8 * case.u * (gain * other).abs()).all())


def adds_noise(case: Case, drawn: Tensor, expected: Tensor) -> bool:
    """Whether it adds noise that has nothing to do with its inputs: others under the same seed get the same."""
    noise = drawn - expected
    again = case.outputs_at(_grown(case), case.seed + 101)[0].double().flatten() - GROWN * expected
    return bool(noise.any()) and bool(((noise - again).abs() <= 64 * case.u * (noise.abs() + expected.abs())).all())


def _grown(case: Case) -> dict[str, Tensor]:
    """Other leaves: the same, with larger inputs."""
    return {**case.leaves, **{n: GROWN * case.leaves[n] for n in case.subject.wanted("input")}}


def is_slope(case: Case, rate: float) -> bool:
    """Whether a rate is the slope of a leaky relu: the multiple of an input where that is negative, and 1 where it is not."""
    with suppress(Refused):
        return any(
            all(_is_leaky(x, case.outputs_at({**case.leaves, n: x})[0], rate) for x in (t, -t))
            for n in case.subject.wanted("input")
            if (t := case.leaves[n]).shape == case.base.outputs[0].shape
        )
    return False


def _is_leaky(x: Tensor, y: Tensor, slope: float) -> bool:
    return torch.allclose(y.double(), torch.where(x > 0, x, slope * x).double())


def disturbs(case: Case) -> bool:
    """Whether what evaluation draws is seen to be what disturbs training alone: at a rate that is stated, a mask, or noise that an
    input is multiplied by or that is added to it. A sample (of Gumbel's softmax, of a posterior) is what its layer is for."""
    if any(n in RATES and isinstance(v, float) and 0 < v < 1 for n, v in case.sizes.items()) or not case.replays:
        return True
    return any(_seen(case, how) for how in (_on_an_input, _in_outputs, _in_gradients))


def _seen(case: Case, how: Callable[[Case], bool]) -> bool:
    with suppress(Refused, BackwardRaised):
        return how(case)
    return False


def _on_an_input(case: Case) -> bool:
    inputs, y = case.subject.wanted("input"), case.base.outputs[0]
    alike = [n for n in inputs if case.leaves[n].shape == y.shape and bool((case.leaves[n] != 0).all())]
    drawn = case.outputs_at(case.leaves, case.seed + 101)[0].double().flatten()
    return any(
        multiplies(case, n, y / case.leaves[n]) or adds_noise(case, drawn, case.leaves[n].double().flatten())
        for n in alike
    )


def _in_outputs(case: Case) -> bool:
    """Whether entries of the first output recur, as functions of a mask with few entries do."""
    seeds = range(case.seed + 101, case.seed + 101 + DRAWS)
    points = case.leaves, _grown(case)
    here, there = (torch.stack([case.outputs_at(at, k)[0].flatten() for k in seeds]) for at in points)
    return recurs(here.double(), there.double())


def _in_gradients(case: Case) -> bool:
    """Whether an entry of a gradient is dropped, in these draws and in as many others: of units inside each has one of its own."""
    seeds = range(case.seed + 101, case.seed + 101 + 2 * DRAWS)
    gradients = [case.at(seed=k).pulled(case.base.cotangents) for k in seeds]
    drawn = {n: [g.get(n) for g in gradients] for n in case.wanted}
    return any(_twice_dropped(found) for found in drawn.values())


def _twice_dropped(drawn: list[Tensor | None]) -> bool:
    """Of one tensor's gradients, in two halves."""
    found = [g.flatten() for g in drawn if g is not None]
    if len(found) < len(drawn):
        return False
    return bool((dropped(torch.stack(found[:DRAWS])) & dropped(torch.stack(found[DRAWS:]))).any())
