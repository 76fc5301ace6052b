"""Rounding that can't be measured is infinite, and counts where it is looked at alone."""

import math

import pytest
import torch

from harness.case import Case
from harness.conventions import subject_of
from harness.judgement.surroundings import Surroundings
from harness.oracles.differences import Differences
from harness.oracles.noise import rounding_of
from harness.oracles.stencil import Stencil
from harness.request import Request

F64 = torch.float64
U = 2.0**-53


def stairs(x: torch.Tensor) -> torch.Tensor:
    """The second of two outputs is rounded on purpose, to sixteenths."""
    return torch.stack([x, torch.round(16 * x) / 16])


def test_what_is_rounded_on_purpose_is_infinite_and_no_large_number() -> None:
    x = torch.tensor(0.3, dtype=F64)
    noise = rounding_of(lambda k: stairs(x + 2.0**-6 * k) - stairs(x), stairs(x), U)
    assert 0 < float(noise[0]) < 1e-14
    assert float(noise[1]) == math.inf


def stencil(v: tuple[float, float], noise: tuple[float, float]) -> Stencil:
    x, given = torch.tensor(0.3, dtype=F64), (torch.tensor(t, dtype=F64) for t in (v, noise))
    return Stencil(lambda k: stairs(x + 2.0**-10 * k), stairs(x), *given, U, 2.0**-10)


@pytest.mark.parametrize(("weight", "known"), [(0.0, True), (1.0, False)])
def test_infinite_rounding_of_an_output_counts_where_the_output_does(weight: float, known: bool) -> None:
    found = stencil((1.0, weight), (1e-16, math.inf))
    assert bool(found.error.isfinite()) is known
    assert not bool((found.noise.isnan() | found.shared.isnan()).any())


def test_infinite_rounding_that_moves_makes_the_worst_case_infinite() -> None:
    # both outputs move, and ∞ − ∞ would be no number
    found = stencil((1.0, 1.0), (math.inf, math.inf))
    assert float(found.shared) == float(found.noise) == math.inf


def test_what_is_left_of_the_outputs_has_their_rounding_alone() -> None:
    x = torch.tensor([0.3], dtype=F64)
    subject = subject_of(Request(lambda x: stairs(x[0]), (x,)))
    f = Differences(Case(subject, subject.values(), subject.buffers))
    f.__dict__["noise"] = torch.tensor([1e-16, math.inf], dtype=F64)
    assert f.rounding == math.inf
    part = f.within(torch.tensor([1.0, 0.0]))
    assert 0 < part.rounding < 1e-15
    d = part.direction(0, ["x"])
    r = part.residual({"x": part.v[:1]}, d, 10)
    assert r is not None
    # over steps at which only what is left moves, a slope lasts; without one nothing does
    assert Surroundings(part)._lasts({"x": part.v[:1]}, d, r)
