import math

import numpy as np
import pytest

from report.statistics import describe, earlier, median, paired, reached


def test_mean_sd_and_interval_by_hand():
    stat = describe([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert stat["mean"] == 5
    assert stat["sd"] == pytest.approx(math.sqrt(32 / 7))
    half = 2.3646242515927844 * math.sqrt(32 / 7) / math.sqrt(8)  # t for 7 degrees of freedom, from tables: 2.365
    assert stat["ci95"] == pytest.approx([5 - half, 5 + half])
    assert stat["n"] == 8


def test_two_values_have_the_wide_interval_of_one_degree_of_freedom():
    assert describe([0.0, 2.0])["ci95"] == pytest.approx([1 - 12.706204736, 1 + 12.706204736])


def test_what_a_run_does_not_have_is_left_out_and_kept_as_null():
    stat = describe([1.0, None, 3.0, math.nan, math.inf])
    assert stat == describe([1.0, 3.0]) | {"values": [1.0, None, 3.0, None, None]}
    assert stat["n"] == 2


@pytest.mark.parametrize("values", [[], [None, None]])
def test_no_value_has_no_mean(values):
    assert describe(values) == {"mean": None, "sd": None, "ci95": [None, None], "n": 0, "values": values}


def test_one_value_has_no_spread():
    assert describe([3]) == {"mean": 3.0, "sd": None, "ci95": [None, None], "n": 1, "values": [3]}


def test_equal_values_have_an_interval_of_no_width():
    assert describe([4.0, 4.0, 4.0])["ci95"] == [4, 4]


def test_the_interval_covers_its_share():
    rng = np.random.default_rng(0)
    intervals = [describe(rng.normal(1.0, 2.0, 6).tolist())["ci95"] for _ in range(4000)]
    assert sum(low <= 1 <= high for low, high in intervals) / 4000 == pytest.approx(0.95, abs=0.012)


def test_pairs_are_subtracted_seed_by_seed():
    stat = paired([5, None, 7, 9], [1, 2, None, 2])
    assert stat["values"] == [4, None, None, 7]
    assert stat["mean"] == 5.5
    assert stat["n"] == 2


def test_pairs_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        paired([1], [1, 2])


def test_never_is_later_than_any_epoch():
    assert earlier([3, None, 4, None, 5], [4, 9, None, None, 5]) == 2
    assert earlier([4, 9, None, None, 5], [3, None, 4, None, 5]) == 1


def test_median_counts_those_that_never_arrived():
    assert median([1, 2, 3]) == 2
    assert median([1, None, 3]) == 3
    assert median([1, None, None]) is None
    assert median([1, None]) is None
    assert median([1, 2, 3, None]) == 2.5
    assert median([]) is None
    assert reached([1, None, 3]) == 2
