"""Mean, standard deviation, confidence interval and paired differences over the runs of a study."""

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy import stats

Value = float | int | None  # None: the run has no such value (it never reached the threshold, or diverged)


class Statistic(TypedDict):
    """One measure over the seeds; mean, sd and ci95 are over the n values that there are."""

    mean: float | None
    sd: float | None
    ci95: list[float | None]
    n: int
    values: list[Value]


def describe(values: Sequence[Value]) -> Statistic:
    """Sample deviation (n − 1) and the 95 % interval of the mean by Student's t; None where n is too small."""
    kept = finite(values)
    present = np.array([v for v in kept if v is not None], dtype=np.float64)
    n = len(present)
    mean = float(present.mean()) if n else None
    sd = float(present.std(ddof=1)) if n > 1 else None
    return Statistic(mean=mean, sd=sd, ci95=_interval(mean, sd, n), n=n, values=kept)


def finite(values: Sequence[Value]) -> list[Value]:
    """None for a run that has no value, or none that is a number."""
    return [v if v is not None and math.isfinite(v) else None for v in values]


def _interval(mean: float | None, sd: float | None, n: int) -> list[float | None]:
    if mean is None or sd is None:
        return [None, None]
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return [mean - half, mean + half]


def paired(first: Sequence[Value], second: Sequence[Value]) -> Statistic:
    """First minus second, seed by seed; a pair of which either side is missing is left out."""
    pairs = zip(first, second, strict=True)
    return describe([None if a is None or b is None else a - b for a, b in pairs])


def earlier(first: Sequence[Value], second: Sequence[Value]) -> int:
    """In how many pairs the first came strictly before the second, never (None) being later than any epoch."""
    return sum(_rank(a) < _rank(b) for a, b in zip(first, second, strict=True))


def median(values: Sequence[Value]) -> float | None:
    """The median over all runs, those that never arrived counted as latest; None if the middle one never arrived."""
    middle = float(np.median([_rank(v) for v in values])) if values else math.inf
    return middle if math.isfinite(middle) else None


def reached(values: Sequence[Value]) -> int:
    """How many runs have a value."""
    return sum(v is not None for v in values)


def _rank(value: Value) -> float:
    return math.inf if value is None else value
