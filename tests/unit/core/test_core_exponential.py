"""Outputs that grow by powers of ten within the spread say nothing of how large numbers are at the point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness import Outcome, gradcheck

X = np.array([[-72.3, -61.7, 59.4, -44.7, -36.8, -43.9, -85.2, 30.7]])


def times(factor: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = np.expm1(x)
        return y, y

    return forward, lambda g, y: factor * g * (y + 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_slope_of_an_exponential_is_refuted_far_from_zero(seed: int):
    right, wrong = (gradcheck(times(k), X, seed=seed, raise_exception=False).results[0] for k in (1.0, 2.0))
    assert right.outcome is not Outcome.FAIL
    assert wrong.outcome is Outcome.FAIL
