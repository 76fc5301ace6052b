"""Random values: inputs over their domain, parameters around their own spread, cotangents and directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.kinds import Floats
from harness.tensors.arrays import rms

STRATA = ("unit", "wide", "small", "shifted")
"""How real inputs are scaled: 𝒩(0,1); spread to ±40, past the saturation of tanh and the 30 at which exp-like code
often branches; 10⁻³; 𝒩(0,1) around ±5."""


def rng_of(*seed: int) -> np.random.Generator:
    """An independent stream for each tuple of integers."""
    # the length first: NumPy pads a seed with zeros; negative numbers count too
    return np.random.default_rng([len(seed), *(s % 2**64 for s in seed)])


def signed(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """sign × U(0.5, 1.5): continuous, so that no error lies in its kernel, and bounded away from zero, so that every
    entry counts; of both signs, so that |g| and relu(g) show."""
    r = rng.uniform(-1.0, 1.0, shape)
    return np.asarray(r + np.copysign(0.5, r))


def signed_like(t: Tensor, rng: np.random.Generator) -> Tensor:
    """`signed` in a tensor's shape, dtype and device."""
    return torch.as_tensor(signed(tuple(t.shape), rng)).to(t)


POOL = 2**17
"""How many numbers the pool holds that directions and cotangents are cut from; two cuts start at the same place with
probability 2⁻¹⁶ at most."""


@cache
def _pool() -> Tensor:
    return torch.as_tensor(signed((POOL,), np.random.default_rng(0)))


@lru_cache(maxsize=1)
def _many(total: int, seed: int) -> Tensor:
    """Numbers of their own, kept until others are asked for: a judge asks for one direction several times."""
    return torch.as_tensor(signed((total,), np.random.default_rng(seed)))


def directions_like(tensors: Sequence[Tensor], *seed: int) -> list[Tensor]:
    """`signed` in each tensor's shape, dtype and device: a cut from one pool of random numbers at a place that the seed
    gives, since seeding a generator takes longer than two forwards of a small layer; numbers of their own where many are
    needed. They are not to be written to: the pool's memory may be under them."""
    total = sum([t.numel() for t in tensors])
    place = hash((len(seed), *seed))  # of integers, and so the same in every process
    if 2 * total > POOL:
        source, start = _many(total, place % 2**64), 0
    else:
        source, start = _pool(), place % (POOL - total)
    found = []
    for t in tensors:
        # one operation where the strides are at hand
        cut = (
            source.as_strided(t.shape, t.stride(), start)
            if t.is_contiguous()
            else source[start:][: t.numel()].view(t.shape)
        )
        found.append(cut.to(t))
        start += t.numel()
    return found


def cotangents_like(outputs: tuple[Tensor, ...], *seed: int, sums: Sequence[float] = ()) -> tuple[Tensor, ...]:
    """One cotangent an output; of several outputs each is scaled so that none drowns the others, and a single one where the
    squares of its last digits would underflow. `sums`: of the outputs' entries, where they are known already."""
    drawn = [_both_signs(d.clone()) for d in directions_like(outputs, *seed)]
    if len(outputs) == 1 and not _squares_vanish(outputs[0], *sums):
        return tuple(drawn)
    return tuple(v / _power_of_two(y) for v, y in zip(drawn, outputs, strict=True))


def _squares_vanish(y: Tensor, total: float | None = None) -> bool:
    """Whether the largest of a float64 output's entries is so small that noise is lost in norms."""
    if y.dtype is not torch.float64 or not y.numel():
        return False
    # settles nearly all at once: the largest is no smaller than the mean
    if abs(float(y.sum()) if total is None else total) > y.numel() * VANISHING:
        return False
    return 0 < float(torch.linalg.vector_norm(y, np.inf)) < VANISHING


VANISHING = 2.0**-450
"""(u · 2⁻⁴⁵⁰)² is about the smallest normal number of float64."""


def _both_signs(v: Tensor) -> Tensor:
    """v with one entry turned where all have one sign; a single one is negative. A backward of |v| or of the number one
    (a loss that ignores what comes after it) would pass at a positive v."""
    if v.numel() == 1:
        return -v.abs()
    if 0 < v.numel() < MANY and float(v.amin()) * float(v.amax()) > 0:
        v.view(-1)[-1] *= -1
    return v


MANY = 64
"""From how many entries on a draw of one sign (probability 2⁻⁶³) is not looked for."""


def _power_of_two(y: Tensor) -> float:
    """2^⌈log₂ rms y⌉, at least 2⁻¹⁰²⁰; 1 for an output of zeros, of no entries, or not finite."""
    size = rms(y)
    if size < VANISHING and y.numel():  # the squares underflow
        size = float(torch.linalg.vector_norm(y.double(), np.inf))
    return float(2.0 ** max(np.ceil(np.log2(size)), -1020)) if 0 < size < np.inf else 1.0


def real_values(kind: Floats, shape: tuple[int, ...], stratum: str, rng: np.random.Generator) -> np.ndarray:
    """An input of the given stratum inside its domain."""
    low, high = kind.low, kind.high
    if low is None and high is None:
        return _unbounded(shape, stratum, rng)
    if low is not None and high is not None:
        values = low + (high - low) * _fractions(shape, stratum, rng)
    elif low is not None:
        values = low + np.abs(_unbounded(shape, stratum, rng))
    else:
        values = (high or 0.0) - np.abs(_unbounded(shape, stratum, rng))
    return _inside(kind, values)


def _unbounded(shape: tuple[int, ...], stratum: str, rng: np.random.Generator) -> np.ndarray:
    normal = rng.standard_normal(shape)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "unit": lambda: normal,
        "wide": lambda: rng.uniform(-40.0, 40.0, shape),
        "small": lambda: 1e-3 * normal,
        "shifted": lambda: normal + rng.choice((-5.0, 5.0)),
    }
    return draw[stratum]()


def _fractions(shape: tuple[int, ...], stratum: str, rng: np.random.Generator) -> np.ndarray:
    """Where in a bounded domain: anywhere, near both ends, near the low end, in the upper half."""
    u = rng.uniform(0.0, 1.0, shape)
    draw = {"unit": u, "wide": np.sin(np.pi * u / 2) ** 2, "small": u**3, "shifted": 0.5 + u / 2}
    return np.asarray(draw[stratum])


def _inside(kind: Floats, values: np.ndarray) -> np.ndarray:
    low = -np.inf if kind.low is None else np.nextafter(kind.low, np.inf) if kind.low_open else kind.low
    high = np.inf if kind.high is None else np.nextafter(kind.high, -np.inf) if kind.high_open else kind.high
    return np.asarray(np.clip(values, low, high))


def parameter_like(t: Tensor, rng: np.random.Generator) -> Tensor:
    """A parameter or buffer drawn anew.

    Varying values are drawn around their own mean and spread. Equal ones are moved: `constant_like`.
    """
    spread = spread_of(t)
    if not spread:
        return constant_like(t, torch.as_tensor(signed(tuple(t.shape), rng)))
    values = float(t.double().mean()) + spread * rng.standard_normal(tuple(t.shape))
    if float(t.min()) > 0:  # what is positive (a scale, a variance) stays so
        values = np.abs(values)
    return torch.as_tensor(np.asarray(values)).to(t)


def constant_like(t: Tensor, d: Tensor) -> Tensor:
    """Equal entries (γ = 1, β = 0, at which a missing γ or β can't be seen) moved along a direction d.

    c + sign·U(0.25, 0.75)·|c|, with 1 for |c| where c = 0: a positive constant stays positive.
    """
    if not t.numel():
        return t.clone()
    centre = float(t.reshape(-1)[0])
    return (centre + 0.5 * (abs(centre) or 1.0) * d).to(t)


def spread_of(t: Tensor) -> float:
    """The standard deviation of the entries; 0 for constant tensors and those of fewer than two entries."""
    if t.numel() < 2:
        return 0.0
    std, mean = map(float, torch.std_mean(t.detach().double(), correction=0))
    # equal entries may leave the rounding of their mean behind
    return std if std > 4 * torch.finfo(torch.float64).eps * abs(mean) else 0.0


def unit_of(t: Tensor) -> float:
    """The unit of a step for a whole tensor: a quarter of the range of its entries, which is about their spread and
    found in a third of the time, or max(|x|, 1) where there is none."""
    return unit_between(*range_of(t))


def range_of(t: Tensor) -> tuple[float, float]:
    """The smallest and the largest entry; zeros of no entries."""
    low, high = torch.aminmax(t.detach()) if t.numel() else (0.0, 0.0)
    return float(low), float(high)


def unit_between(low: float, high: float) -> float:
    """The same of a tensor with entries from `low` to `high`."""
    size = max(abs(low), abs(high))
    # equal entries may differ by their rounding
    return (high - low) / 4 if high - low > max(8 * torch.finfo(torch.float64).eps * size, TINY) else max(size, 1.0)


def scales_of(t: Tensor) -> Tensor:
    """The unit of a step: one for all entries, the spread, or max(|x|, 1) where there is none.

    Entries of very different sizes get a unit each, their distance from the median plus the median distance: beside one
    entry of −10⁹ (a masked logit) the spread is no step for the others.
    """
    x = t.detach().double()
    spread = spread_of(t)
    if spread < TINY:
        return x.new_tensor(max(unit_of(t), TINY))
    away = (x - x.median()).abs()
    typical = float(away.median())
    if t.numel() < FEW or not CLOSE * float(x.abs().median()) < typical < spread / UNEVEN:
        return x.new_tensor(spread)
    return away + typical


TINY = 2.0**-500
"""A spread below it is none: its square is no number."""

FEW = 8
"""Below how many entries a median says nothing about what is typical."""

CLOSE = 2.0**-20
"""From which typical distance on, in units of the typical size, entries are apart; closer ones are the same number nearly."""

UNEVEN = 100
"""From which ratio of spread to median distance on entries count as being of very different sizes; 0.67 for normal ones."""
