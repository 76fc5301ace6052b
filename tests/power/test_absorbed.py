"""What rounding inside the forward swallows refutes nothing: found by families that were written without a look at the judge."""

from functools import partial

import numpy as np
import pytest
import torch

from harness import Outcome, gradcheck


class Entropy(torch.autograd.Function):
    """−Σ p log p of logits; log(1 + s) inside has no digits below 10⁻¹⁶ where a row is nearly one-hot."""

    @staticmethod
    def forward(ctx, z):
        logp = torch.log_softmax(z, -1)
        h = -(logp.exp() * logp).sum(-1)
        ctx.save_for_backward(logp, h)
        return h

    @staticmethod
    def backward(ctx, g):
        logp, h = ctx.saved_tensors
        return -g[:, None] * logp.exp() * (logp + h[:, None])


class WrongEntropy(Entropy):
    @staticmethod
    def backward(ctx, g):
        logp, _ = ctx.saved_tensors
        return -g[:, None] * logp.exp() * logp


def logits(rows, seed):
    return 20 * torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", [1, 2, 5, 6, 7, 19, 21])
@pytest.mark.parametrize("rows", [1, 4])
def test_entropy_of_nearly_certain_rows_is_not_failed(rows, seed):
    for layer in (Entropy, lambda z: torch.distributions.Categorical(logits=z).entropy()):
        assert not gradcheck(layer, logits(rows, seed), seed=seed, raise_exception=False).failures


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [1, 4])
def test_its_wrong_twin_is_failed(rows, seed):
    assert gradcheck(WrongEntropy, logits(rows, seed), seed=seed, raise_exception=False).failures


def elementwise(f, slope):
    class Layer:
        def forward(self, x):
            self.x = x
            return f(x)

        def backward(self, dy):
            return dy * slope(self.x)

    return Layer()


def first(layer, x, seed=0):
    with np.errstate(all="ignore"):
        return gradcheck(layer, x, seed=seed, raise_exception=False).results[0]


@pytest.mark.parametrize("seed", range(4))
def test_magnitudes_in_one_tensor_each_get_steps_of_their_own(seed):
    x = 10 ** np.random.default_rng(seed).uniform(-9, 2, (4, 5))
    right = elementwise(lambda x: np.log(-np.expm1(-x)), lambda x: 1 / np.expm1(x))
    wrong = elementwise(lambda x: np.log(-np.expm1(-x)), lambda x: 1 / (np.exp(x) + 1))
    assert first(right, x, seed).outcome is Outcome.PASS
    assert first(wrong, x, seed).outcome is Outcome.FAIL


@pytest.mark.parametrize("seed", range(4))
def test_a_plateau_of_rounding_refutes_no_small_slope(seed):
    x = 10 ** np.random.default_rng(seed).uniform(-9, 0, (4, 5))
    assert first(elementwise(lambda x: 1 - np.cos(x), np.sin), x, seed).outcome is not Outcome.FAIL
    assert first(elementwise(lambda x: 1 - np.cos(x), np.cos), x, seed).outcome is Outcome.FAIL


def near(rng, away=1e-9):
    return np.array([-0.5, -0.5, 0.5, 0.5, -0.5]) + away * rng.uniform(1, 3, 5) * np.array([-1, 1, 1, -1, -1])


@pytest.mark.parametrize("seed", range(4))
def test_a_kink_close_by_is_none_at_the_point(seed):
    def shrink(x):
        return np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)

    x = near(np.random.default_rng(seed))
    assert first(elementwise(shrink, lambda x: 1.0 * (abs(x) > 0.5)), x, seed).outcome is not Outcome.FAIL
    found = first(elementwise(shrink, lambda x: 1.0 * (x > 0.5)), x, seed)
    assert found.outcome is Outcome.FAIL
    assert "float32" not in found.reason


def test_a_few_digits_after_a_subtraction_are_no_float32():
    x = 1.0 + 1e-9 * np.random.default_rng(0).standard_normal((3, 4))
    assert "float32" not in first(elementwise(lambda x: x - 1.0, np.ones_like), x).reason


def distance(x, y):
    z = 1.001 + ((x - y) ** 2).sum(1)
    return np.arccosh(z), (x - y, z)


def distance_backward(d, cache, factor=1.0):
    apart, z = cache
    g = 2 * factor * (d / np.sqrt(z * z - 1))[:, None] * apart
    return g, -g


@pytest.mark.parametrize("seed", [66, 101, 382])
def test_digits_lost_in_a_hyperbolic_distance_are_measured_however_they_fall(seed):
    x, y = 1e-3 * np.random.default_rng(seed).standard_normal((2, 1, 6))
    for factor, wrong in ((1.0, False), (1 + 1e-4, True)):
        layer = (distance, partial(distance_backward, factor=factor))
        assert bool(gradcheck(layer, x, y, seed=seed, raise_exception=False).failures) is wrong
