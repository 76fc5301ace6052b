"""Many equal numbers of which one is taken: the median of a constant row follows one entry on a small part of its way."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from harness import gradcheck


def order_statistic(k, share="one", factor=1.0):
    """The k-th smallest of each row; its gradient goes to one of the equal entries, or is shared by them, or each has all."""

    def run(x):
        order = np.argsort(x, axis=1, kind="stable")[:, k]
        y = np.take_along_axis(x, order[:, None], 1)[:, 0]

        def pullback(d):
            if share == "one":
                g = np.zeros_like(x)
                np.put_along_axis(g, order[:, None], d[:, None], 1)
            else:
                tied = (x == y[:, None]).astype(float)
                g = d[:, None] * (tied / tied.sum(1, keepdims=True) if share == "shared" else tied)
            return factor * g

        return y, pullback

    return run


def constant_rows(n, seed):
    return np.ones((2, n)) * np.array([[1.0], [seed / 3]])


@pytest.mark.parametrize("n", [5, 11])
@pytest.mark.parametrize("share", ["one", "shared"])
def test_the_median_of_equal_numbers_is_no_failure(n, share):
    for seed in range(2):
        report = gradcheck(order_statistic(n // 2, share), constant_rows(n, seed), raise_exception=False, seed=seed)
        assert not report.failures, str(report)


@pytest.mark.parametrize("n", [5, 17])
@pytest.mark.parametrize("wrong", [{"share": "each"}, {"factor": 1.5}, {"factor": -1.0}])
def test_its_wrong_twins_fail(n, wrong):
    for seed in range(2):
        x = constant_rows(n, seed)
        assert gradcheck(order_statistic(n // 2, **wrong), x, raise_exception=False, seed=seed).failures


def quantile(x, factor=1.0):
    """0.3 of the way through each row, between its order statistics; of equal numbers two have these two ranks."""
    order, p = np.argsort(x, axis=1, kind="stable"), 0.3 * (x.shape[1] - 1)
    low, w = int(p), p - int(p)
    parts = [(order[:, low : low + 1], 1 - w), (order[:, low + 1 : low + 2], w)]
    y = sum(weight * np.take_along_axis(x, i, 1)[:, 0] for i, weight in parts)

    def pullback(d):
        g = np.zeros_like(x)
        for i, weight in parts:
            np.put_along_axis(g, i, factor * weight * d[:, None], 1)
        return g

    return y, pullback


@pytest.mark.parametrize("n", [6, 17])
def test_the_quantile_of_equal_numbers_is_no_failure(n):
    for seed in range(2):
        report = gradcheck(quantile, constant_rows(n, seed), raise_exception=False, seed=seed)
        assert not report.failures, str(report)


@pytest.mark.parametrize("factor", [1.5, -1.0])
def test_a_quantile_of_another_size_fails(factor):
    layer = partial(quantile, factor=factor)
    assert gradcheck(layer, constant_rows(6, 0), raise_exception=False).failures


def range_norm(x, factor=1.0):
    """Rows from 0 to nearly 1: those that are constant have a gradient whose entries cancel, up to rounding."""
    rows, low, high = np.arange(len(x)), x.argmin(1), x.argmax(1)
    width = (x[rows, high] - x[rows, low] + 1)[:, None]
    y = (x - x[rows, low][:, None]) / width

    def pullback(d):
        g = d / width
        along = (d * y).sum(1) / width[:, 0]
        g[rows, high] -= along
        g[rows, low] += along - factor * d.sum(1) / width[:, 0]
        return g

    return y, pullback


@pytest.mark.parametrize("n", [4, 17])
def test_what_rounding_leaves_where_the_entries_of_a_constant_row_cancel_is_no_failure(n):
    for seed in range(2):
        for factor, wrong in ((1.0, False), (1 + 1e-9, True)):
            layer = partial(range_norm, factor=factor)
            report = gradcheck(layer, np.zeros((3, n)), raise_exception=False, seed=seed)
            assert bool(report.failures) is wrong


def selu(x, factor=1.0):
    """λx above zero, λα(eˣ − 1) below, which is as coarse as 1 there; at zero the steeper of its two slopes."""
    above, bent = x > 0, 1.0507 * 1.6733
    y = np.where(above, 1.0507 * x, bent * (np.exp(x) - 1))
    return y, lambda d: factor * d * np.where(above, 1.0507, bent * np.exp(x))


@pytest.mark.parametrize("n", [1, 6, 36])
def test_a_side_of_a_kink_that_is_more_coarsely_rounded_than_the_other_is_no_failure(n):
    for seed in range(2):
        x = np.random.default_rng(seed).normal(size=n)
        x[: n // 2 + 1] = 0.0
        for factor, wrong in ((1.0, False), (1.0001, True)):
            report = gradcheck(partial(selu, factor=factor), x, raise_exception=False, seed=seed)
            assert bool(report.failures) is wrong, str(report)


def weighted(x, wrong=False):
    """Each row sorted, then weighed by rank; its wrong twin gives every zero too large a weight."""
    order = np.argsort(x, axis=1, kind="stable")
    w = np.random.default_rng(5).normal(size=x.shape[1])

    def pullback(d):
        weights = np.tile(w, (len(x), 1))
        if wrong:
            rows = np.take_along_axis(x, order, 1)
            for row, tied in zip(weights, rows == 0, strict=True):
                row[tied] += 3.0
        g = np.zeros_like(x)
        np.put_along_axis(g, order, d[:, None] * weights, 1)
        return g

    return np.take_along_axis(x, order, 1) @ w, pullback


def half_zero(seed):
    x = np.random.default_rng(seed).normal(size=(1, 121))
    return x * (np.random.default_rng(seed + 1).random(size=x.shape) < 0.5)


def test_sixty_equal_numbers_are_kept_in_their_order_by_small_enough_steps():
    report = gradcheck(weighted, half_zero(0), raise_exception=False)
    assert not report.failures, str(report)
    assert gradcheck(partial(weighted, wrong=True), half_zero(0), raise_exception=False).failures


def ordered(x, factor=1.0):
    """Each row sorted; its wrong twin gives the second of equal numbers too large a gradient."""
    order = np.argsort(x, axis=1, kind="stable")
    rows = np.take_along_axis(x, order, 1)
    second = np.diff(rows, axis=1, prepend=np.inf) == 0

    def pullback(d):
        g = np.zeros_like(x)
        np.put_along_axis(g, order, np.where(second, factor, 1.0) * d, 1)
        return g

    return rows, pullback


@pytest.mark.parametrize("shape", [(4, 10), (3, 14)])
def test_where_the_worst_suspects_are_right_the_others_are_looked_at(shape):
    x = np.round(np.random.default_rng(0).normal(size=shape) * 2) / 2
    assert gradcheck(ordered, x).results
    assert gradcheck(partial(ordered, factor=3.0), x, raise_exception=False).failures


def deviation(x):
    """The standard deviation of each row; of a constant one the last digits of its mean decide what backward gives."""
    c = x - x.mean(1, keepdims=True)
    s = np.sqrt((c**2).mean(1))
    inverse = np.divide(1.0, s, where=s > 0, out=np.zeros_like(s))
    return s, lambda d: (d * inverse)[:, None] * c / x.shape[1]


def largest(x):
    """The largest entry of each row, whose gradient goes to all that are equal to it."""
    return x.max(1), lambda d: d[:, None] * (x == x.max(1, keepdims=True))


def test_what_the_last_digits_decide_at_a_kink_is_no_fault():
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=(6, 1)).repeat(3, 1)
        assert not gradcheck(deviation, x, raise_exception=False, seed=seed).failures
        assert gradcheck(largest, x, raise_exception=False, seed=seed).failures


class Sorted:
    """The distance of two samples in order, Σ |x₍ᵢ₎ − y₍ᵢ₎|ᵖ; `each` gives all of it to the last entry of y."""

    def __init__(self, p, each=False):
        self.p, self.each = p, each

    def forward(self, x, y):
        self.i, self.j = np.argsort(x, 1, kind="stable"), np.argsort(y, 1, kind="stable")
        self.d = np.take_along_axis(x, self.i, 1) - np.take_along_axis(y, self.j, 1)
        return (np.abs(self.d) ** self.p).sum(1)

    def backward(self, v):
        k = v[:, None] * (np.sign(self.d) if self.p == 1 else 2 * self.d)
        dx, dy = np.zeros_like(k), np.zeros_like(k)
        np.put_along_axis(dx, self.i, k, 1)
        np.put_along_axis(dy, self.j, -k, 1)
        if self.each:
            dy[:, -1] += 2 * v
        return dx, dy


ABOVE_ALL_ZEROS = np.array([[-5.0, -3.5, -5.1, -4.4, -4.0, 0.0]]), np.zeros((1, 6))
AT_FAINT_KINKS = np.zeros((1, 2)), np.array([[3e-4, 7e-4]])


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("given", [ABOVE_ALL_ZEROS, AT_FAINT_KINKS], ids=["narrow", "faint"])
def test_a_distance_of_samples_in_order_is_no_failure_at_ties(p, given):
    """Of six zeros the last is the largest, and below 0, in one piece of 384 around; and kinks of 10⁻⁴ beside a curvature of 1."""
    report = gradcheck(Sorted(p), *given, raise_exception=False)
    assert not report.failures, str(report)
    assert gradcheck(Sorted(p, each=True), *given, raise_exception=False).failures


@pytest.mark.parametrize(
    ("kink", "at_zero"),
    [(1e-4, 0.0), (1e-4, 1.0), (1e-4, 1.5), (1e-4, -0.5), (1e-2, 0.0), (1e-2, 1.01)],
)
def test_a_kink_that_curvature_hides_from_coarse_steps_is_one(kink, at_zero):
    """x² + λ relu(x): at 0 backward may give 0 to λ, and no more than the slopes around, which curvature widens."""

    def run(x):
        slope = np.where(x > 0, kink, np.where(x == 0, at_zero * kink, 0.0))
        return x * x + kink * np.maximum(x, 0), lambda v: v * (2 * x + slope)

    report = gradcheck(run, np.array([[0.0, 0.5, -1.0, 0.0]]), raise_exception=False)
    assert bool(report.failures) == (not 0 <= at_zero <= 1), str(report)


@pytest.mark.parametrize("at_zero", [0.1, 0.5, 1.0, 0.0, 0.09, 1.1])
@pytest.mark.parametrize("odd", [0.0, 1.0])
def test_a_kink_that_curvature_hides_at_all_steps_is_one(at_zero, odd):
    """x² + 3·10⁻⁷ (leaky relu of x + c x²): steps at which 10⁻⁷|t| is more than t² lose it among the last digits."""

    def run(x):
        slope = 3e-7 * np.where(x > 0, 1.0, np.where(x == 0, at_zero, 0.1)) * (1 + 2 * odd * x)
        inside = x + odd * x * x
        return x * x + 3e-7 * np.where(x > 0, inside, 0.1 * inside), lambda v: v * (2 * x + slope)

    report = gradcheck(run, np.zeros((2, 3)), raise_exception=False)
    assert bool(report.failures) == (not 0.1 <= at_zero <= 1), str(report)


class Opacity:
    """What is left of each falling step of a steep sigmoid, as in NeuS: next to saturation a tie is a kink far below the others."""

    def __init__(self, slope=0.0):
        self.slope = slope
        """Which of the slopes at a kink is taken."""

    def forward(self, x):
        self.c = 1 / (1 + np.exp(-10 * x))
        self.a = (self.c[:, :-1] - self.c[:, 1:]) / (self.c[:, :-1] + 1e-5)
        return np.maximum(self.a, 0)

    def backward(self, d):
        c, g = self.c, np.zeros_like(self.c)
        d = d * np.where(self.a == 0, self.slope, self.a > 0)
        g[:, :-1] += d * (c[:, 1:] + 1e-5) / (c[:, :-1] + 1e-5) ** 2
        g[:, 1:] -= d / (c[:, :-1] + 1e-5)
        return g * 10 * c * (1 - c)


STEPS = np.array([[1.6, 1.6, 0.1891, 0.1891, -0.4131, -0.4131, -2.4415]])


def test_the_other_entry_of_a_kink_too_small_to_be_looked_for_is_no_failure():
    for seed in range(4):
        assert not (report := gradcheck(Opacity(), STEPS, raise_exception=False, seed=seed)).failures, str(report)


@pytest.mark.parametrize("slope", [1.5, -0.5])
def test_a_slope_beside_both_sides_of_larger_kinks_fails(slope):
    for seed in range(4):
        assert gradcheck(Opacity(slope), STEPS, raise_exception=False, seed=seed).failures
