"""Intervals, tests and censored times, each beside what is known of it."""

import numpy as np
import pytest
from scipy import stats

from report.inference import bootstrap, censored_median, compare, effect, holm, permutation, sign


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = [low <= 2 <= high for low, high in (bootstrap(rng.exponential(2, 30).tolist()) for _ in range(60))]
    assert 50 <= sum(inside) <= 60
    assert bootstrap([0.5, 0.5, None, 0.5]) == (0.5, 0.5)
    assert bootstrap([0.5, None]) is None


def test_permutation_counts_all_signs_where_there_are_few():
    assert permutation([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)  # only all of one sign are as far from 0
    assert permutation([1.0, -1.0, None]) == 1
    assert permutation([1.0]) is None
    assert permutation(list(np.linspace(0.9, 1.1, 30))) < 0.001


def test_permutation_rejects_as_seldom_as_it_says_where_there_is_nothing():
    rng = np.random.default_rng(2)
    p = [permutation(rng.normal(size=8).tolist()) for _ in range(100)]
    assert 0 < sum(x <= 0.05 for x in p) < 12


def test_holm_is_the_textbooks():
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": None}
    assert holm(p) == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": None}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_effect_is_the_mean_over_the_deviation():
    assert effect([1.0, 2.0, 3.0]) == pytest.approx(2.0)
    assert effect([1.0, 1.0]) is None


def test_a_run_that_never_arrives_came_last():
    assert sign([10, 20, None], [None, 30, None]) == pytest.approx(0.5)
    assert sign([None], [None]) is None
    assert sign(list(range(30)), [None] * 30) == pytest.approx(2 * 0.5**30)


def test_the_censored_median_is_kaplan_and_meiers():
    assert censored_median([10, 20, 30, None], 100)[0] == 20
    assert censored_median([10, None, None, None], 100)[0] is None
    assert censored_median([None, None], 100) == (None, None, None)
    low, middle, high = sorted(v for v in censored_median([*range(10, 40)], 100))
    assert low < middle == 24 < high


def test_dropping_what_is_censored_would_flatter():
    epochs = [10, 20, 30, None, None, None]
    assert censored_median(epochs, 100)[0] == 30 > np.median([10, 20, 30])


def test_the_same_values_give_the_same_numbers_and_times_are_told_by_sign():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 12)).tolist()
    pairs = {"x": (a, b), "t": ([1] * 12, [None] * 12)}
    first, second = (compare(pairs, times=["t"]) for _ in range(2))
    assert first == second
    assert first["t"].p == pytest.approx(2 * 0.5**12)
    assert first["t"].holm == pytest.approx(2 * first["t"].p)
    assert first["x"].p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.05)
