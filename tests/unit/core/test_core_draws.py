"""Random values: each property with a wrong twin that lacks it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import floats
from harness.draws import STRATA, cotangents_like, parameter_like, real_values, rng_of, scales_of, signed, spread_of

DOMAINS = [
    floats("B", low=0.0, high=1.0),
    floats("B", low=0.0, high=1.0, low_open=True, high_open=True),
    floats("B", low=-1.0, high=1.0, low_open=True),
    floats("B", low=2.0),
    floats("B", low=0.0, low_open=True),
    floats("B", high=-3.0),
    floats("B", high=0.0, high_open=True),
    floats("B", low=1.0, high=np.nextafter(1.0, 2.0)),
]


def inside(kind, values: np.ndarray) -> bool:
    above = True if kind.low is None else (values > kind.low if kind.low_open else values >= kind.low)
    below = True if kind.high is None else (values < kind.high if kind.high_open else values <= kind.high)
    return bool(np.all(above & below) and np.isfinite(values).all())


class Ends(np.random.Generator):
    """A generator that draws nothing but the ends of every range."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.where(np.arange(np.prod(size, dtype=int)) % 2 == 0, low, high).reshape(size).astype(float)

    def standard_normal(self, size=None):
        return np.zeros(size)


@pytest.mark.parametrize("kind", DOMAINS, ids=str)
@pytest.mark.parametrize("stratum", STRATA)
def test_domain_is_kept(kind, stratum):
    assert inside(kind, real_values(kind, (2000,), stratum, rng_of(1)))


@pytest.mark.parametrize("kind", DOMAINS, ids=str)
@pytest.mark.parametrize("stratum", STRATA)
def test_open_ends_are_kept_by_a_draw_that_hits_them(kind, stratum):
    assert inside(kind, real_values(kind, (6,), stratum, Ends(np.random.PCG64(0))))


def test_open_end_tells_a_draw_that_hits_it_apart():
    assert not inside(floats("B", low=0.0, low_open=True), np.array([0.0, 0.5]))


def test_bounded_domain_is_filled():
    values = real_values(floats("B", low=-2.0, high=4.0), (2000,), "unit", rng_of(0))
    assert values.min() < -1.9
    assert values.max() > 3.9


def test_strata_differ_in_scale():
    drawn = {s: np.abs(real_values(floats("B"), (2000,), s, rng_of(0))) for s in STRATA}
    assert drawn["small"].max() < 0.01
    assert drawn["wide"].max() > 30
    assert 0.5 < drawn["unit"].mean() < 1.5
    assert 4 < drawn["shifted"].mean() < 6


# Cotangents


def usable_cotangent(v: np.ndarray) -> bool:
    """Bounded away from zero, of both signs, and not of one size."""
    size = np.abs(v)
    return bool(size.min() >= 0.5 and size.max() <= 1.5 and (v < 0).any() and (v > 0).any() and size.std() > 0.1)


def test_cotangents_are_usable():
    assert usable_cotangent(signed((1000,), rng_of(0)))


@pytest.mark.parametrize(
    "draw",
    [lambda r: r.standard_normal(1000), lambda r: r.uniform(0.5, 1.5, 1000), lambda r: r.choice((-1.0, 1.0), 1000)],
    ids=["normal", "positive", "signs"],
)
def test_other_draws_are_not(draw: Callable[[np.random.Generator], np.ndarray]):
    assert not usable_cotangent(draw(rng_of(0)))


def test_no_output_drowns_another():
    outputs = (torch.full((50,), 1e8, dtype=torch.float64), torch.full((50,), 1e-8, dtype=torch.float64))
    parts = [float((v * y).norm()) for v, y in zip(cotangents_like(outputs, rng_of(0)), outputs, strict=True)]
    assert 0.2 < parts[0] / parts[1] < 5


@pytest.mark.parametrize(
    "y", [torch.zeros(3), torch.ones(0), torch.full((2,), float("inf"))], ids=["zero", "no", "inf"]
)
def test_cotangent_of_a_degenerate_output_is_finite(y: Tensor):
    v = cotangents_like((y, torch.ones(3)), rng_of(0))[0]
    assert v.shape == y.shape
    assert v.dtype == y.dtype
    assert bool(torch.isfinite(v).all())


# Parameters


def leaves_behind(start: Tensor, drawn: Tensor) -> bool:
    """Whether every entry has left its constant, and no two are equal."""
    unit = float(start.abs().max()) or 1.0
    return bool(((drawn - start).abs() >= 0.2 * unit).all()) and len(drawn.unique()) == drawn.numel()


@pytest.mark.parametrize("constant", [0.0, 1.0, -2.0, 1e-4, 1e6])
def test_constant_is_left_behind(constant):
    start = torch.full((40,), constant, dtype=torch.float64)
    assert leaves_behind(start, parameter_like(start, rng_of(0)))


def test_constant_that_is_kept_is_told_apart():
    start = torch.ones(40, dtype=torch.float64)
    assert not leaves_behind(start, start + 1e-3 * torch.randn(40, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("constant", [1.0, 0.1, 1e-9, 50.0])
def test_positive_constant_stays_positive(constant):
    assert bool((parameter_like(torch.full((4000,), constant), rng_of(0)) > 0).all())


def test_draw_around_a_constant_by_its_size_would_not_stay_positive():
    values = 1.0 + rng_of(0).standard_normal(4000)
    assert (values <= 0).any()


def test_single_number_is_redrawn():
    start = torch.tensor(1.0, dtype=torch.float64)
    assert 0.2 < abs(float(parameter_like(start, rng_of(0)) - start)) < 0.8


def test_varying_values_keep_their_mean_and_spread():
    start = 3 + 0.01 * torch.randn(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = parameter_like(start, rng_of(0))
    assert not torch.equal(drawn, start)
    assert abs(float(drawn.mean()) - 3) < 1e-3
    assert 0.009 < float(drawn.std()) < 0.011


def test_positive_values_that_vary_stay_positive():
    start = torch.rand(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.05
    assert bool((parameter_like(start, rng_of(0)) > 0).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_and_shape_are_kept(dtype):
    drawn = parameter_like(torch.ones(2, 3, dtype=dtype), rng_of(0))
    assert drawn.dtype == dtype
    assert drawn.shape == (2, 3)


def test_spread_of_equal_entries_is_zero_whatever_their_mean_rounds_to():
    assert spread_of(torch.full((7,), 0.1, dtype=torch.float64)) == 0
    assert spread_of(torch.ones(1)) == 0


@pytest.mark.parametrize(
    ("values", "scale"), [([1000.0, 1002.0], 1.0), ([5.0, 5.0], 5.0), ([0.0], 1.0), ([-0.25], 1.0), ([], 1.0)]
)
def test_step_is_the_spread_or_else_the_size(values, scale):
    assert float(scales_of(torch.tensor(values, dtype=torch.float64))) == pytest.approx(scale)


def test_entry_of_another_size_leaves_the_others_their_step():
    x = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[3] = -1e9
    scales = scales_of(x).expand(9)
    others = torch.arange(9) != 3
    assert bool((scales[others] < 10).all())
    assert float(scales[3]) > 1e8


def test_each_tuple_of_integers_has_a_stream_of_its_own():
    drawn = {float(rng_of(*seed).random()) for seed in [(0,), (1,), (0, 1), (1, 0), (0, 2), (1, 0, 0)]}
    assert len(drawn) == 6


def test_seeds_of_either_sign_have_streams_of_their_own():
    assert rng_of(-1).random() != rng_of(1).random()
