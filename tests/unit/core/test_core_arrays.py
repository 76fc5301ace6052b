"""What is read off an array at once: sizes without zeros, numbers of float32; and what an object computes once."""

from __future__ import annotations

import math

import pytest
import torch

from harness.draws import range_of, unit_between, unit_of
from harness.once import once
from harness.tensors.arrays import least, narrow, ratio

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_count_neither_as_smallest_nor_as_largest(dtype: torch.dtype) -> None:
    t = torch.tensor([0.0, -0.25, 4.0, 0.0], dtype=dtype)
    assert (least(t), ratio(t)) == (0.25, 16.0)
    assert ratio(-t) == ratio(t[1:3]) == 16.0
    assert (least(0 * t), ratio(0 * t)) == (math.inf, 1.0)


def test_a_number_is_seen_that_is_far_smaller_than_the_others() -> None:
    assert ratio(torch.tensor([0.0, 1.0, -1e-9], dtype=torch.float64)) == pytest.approx(1e9)


def test_numbers_of_float32_are_told_behind_a_zero_and_others_too() -> None:
    t = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t[0] = 0.0
    assert narrow(t.float().double())
    assert not narrow(t)
    assert not narrow(-t.abs())  # the largest of these is that zero


def test_the_unit_of_a_step_is_that_of_the_range() -> None:
    for values in ([-1.0, 3.0], [2.0, 2.0], [], [0.0]):
        t = torch.tensor(values, dtype=torch.float64)
        assert unit_of(t) == unit_between(*range_of(t))


def test_what_is_found_once_is_kept_by_its_own_object() -> None:
    class Thing:
        found = 0

        @once
        def value(self) -> int:
            """It counts."""
            self.found += 1
            return self.found

    one, other = Thing(), Thing()
    assert (one.value, one.value, other.value) == (1, 1, 1)
    assert vars(one) == {"found": 1, "value": 1}
    assert Thing.value.__doc__ == "It counts."
