"""What may be concluded from paired runs: bootstrap intervals, permutation tests, effect sizes, times that are censored.

All from SciPy, with random numbers of fixed seeds: the same values give the same text.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from report.statistics import Value, earlier, paired

RESAMPLES = 9_999


def bootstrap(values: Sequence[Value]) -> tuple[float, float] | None:
    """The 95 % interval of the mean by bias-corrected and accelerated bootstrap; None for less than two values."""
    x = _present(values)
    if len(x) < 2:
        return None
    if np.ptp(x) == 0:  # the acceleration would be 0/0
        return float(x[0]), float(x[0])
    rng = np.random.default_rng(0)
    found = stats.bootstrap((x,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def permutation(differences: Sequence[Value]) -> float | None:
    """The p-value of a mean difference: how often random signs of the pairs would give one as far from 0."""
    x = _present(differences)
    if len(x) < 2:
        return None
    found = stats.permutation_test(
        (x,),
        lambda d, axis: d.mean(axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def effect(differences: Sequence[Value]) -> float | None:
    """Cohen's d of paired differences: their mean over their sample deviation."""
    x = _present(differences)
    return float(x.mean() / x.std(ddof=1)) if len(x) > 1 and np.ptp(x) > 0 else None


def sign(first: Sequence[Value], second: Sequence[Value]) -> float | None:
    """The p-value of which came earlier, pair by pair: a run that never arrives came later than any that did."""
    before, after = earlier(first, second), earlier(second, first)
    return float(stats.binomtest(before, before + after).pvalue) if before + after else None


def holm(p: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's correction over all p-values that there are: the chance of any false claim among them stays below the level."""
    found = sorted((value, name) for name, value in p.items() if value is not None)
    corrected: dict[str, float | None] = dict.fromkeys(p)
    largest = 0.0
    for i, (value, name) in enumerate(found):
        largest = max(largest, min(1.0, value * (len(found) - i)))
        corrected[name] = largest
    return corrected


def censored_median(epochs: Sequence[Value], last: int) -> tuple[float | None, float | None, float | None]:
    """Kaplan and Meier's median with its 95 % limits; runs that did not arrive by the last epoch are censored there.

    A limit is None where even the end of the run does not bound it.
    """
    if not any(v is not None for v in epochs):
        return None, None, None
    data = stats.CensoredData.right_censored([last if v is None else v for v in epochs], [v is None for v in epochs])
    survival = stats.ecdf(data).sf
    with warnings.catch_warnings():  # the formula is 0/0 where all or none have arrived: no limit, as below
        warnings.simplefilter("ignore", RuntimeWarning)
        limits = survival.confidence_interval(method="log-log")
    return tuple(
        _first_half(survival.quantiles, p)
        for p in (survival.probabilities, limits.low.probabilities, limits.high.probabilities)
    )  # type: ignore[return-value]


def _first_half(epochs: NDArray[np.float64], survival: NDArray[np.float64]) -> float | None:
    """The first epoch at which no more than half have yet to arrive."""
    return next((float(e) for e, s in zip(epochs, survival, strict=True) if s <= 0.5), None)


@dataclass(frozen=True)
class Test:
    """One comparison of one measure."""

    differences: Sequence[Value]
    interval: tuple[float, float] | None
    effect: float | None
    p: float | None
    holm: float | None = None


def compare(pairs: Mapping[str, tuple[Sequence[Value], Sequence[Value]]], times: Sequence[str]) -> dict[str, Test]:
    """All comparisons that a report makes, corrected as one family; those in `times` are compared by which came first."""
    found = {name: paired(*pair)["values"] for name, pair in pairs.items()}
    p = {name: sign(*pairs[name]) if name in times else permutation(d) for name, d in found.items()}
    corrected = holm(p)
    return {name: Test(d, bootstrap(d), effect(d), p[name], corrected[name]) for name, d in found.items()}


def _present(values: Sequence[Value]) -> NDArray[np.float64]:
    return np.array([v for v in values if v is not None], dtype=np.float64)
