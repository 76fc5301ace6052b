"""Random values: inputs over their domain, parameters around their own spread, cotangents and directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.arrays import rms
from harness.spec import Floats

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
    return np.asarray(rng.choice((-1.0, 1.0), shape) * rng.uniform(0.5, 1.5, shape))


def signed_like(t: Tensor, rng: np.random.Generator) -> Tensor:
    """`signed` in a tensor's shape, dtype and device."""
    return torch.as_tensor(signed(tuple(t.shape), rng)).to(t)


def cotangents_like(outputs: tuple[Tensor, ...], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """One cotangent an output; of several outputs each is scaled so that none drowns the others."""
    return tuple(_both_signs(signed_like(y, rng)) / (1.0 if len(outputs) == 1 else _power_of_two(y)) for y in outputs)


def _both_signs(v: Tensor) -> Tensor:
    """v with one entry turned where all have one sign; a single one is negative. A backward of |v| or of the number one
    (a loss that ignores what comes after it) would pass at a positive v."""
    flat = v.reshape(-1)
    if flat.numel() == 1:
        return -v.abs()
    if flat.numel() and bool((flat.sign() == flat[0].sign()).all()):
        flat[-1] *= -1
    return v


def _power_of_two(y: Tensor) -> float:
    """2^⌈log₂ rms y⌉; 1 for an output of zeros, of no entries, or not finite."""
    size = rms(y)
    return float(2.0 ** np.ceil(np.log2(size))) if 0 < size < np.inf else 1.0


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

    Varying values are drawn around their own mean and spread. Equal ones (γ = 1, β = 0, at which a missing γ or β can't
    be seen) become c + sign·U(0.25, 0.75)·|c|, with 1 for |c| where c = 0: a positive constant stays positive.
    """
    spread = spread_of(t)
    if spread > 0:
        mean = float(t.double().mean())
        values = mean + spread * rng.standard_normal(tuple(t.shape))
        if float(t.min()) > 0:  # what is positive (a scale, a variance) stays so
            values = np.abs(values)
    else:
        centre = float(t.flatten()[0]) if t.numel() else 0.0
        unit = abs(centre) if centre else 1.0
        values = centre + 0.5 * unit * signed(tuple(t.shape), rng)
    return torch.as_tensor(np.asarray(values)).to(t)


def spread_of(t: Tensor) -> float:
    """The standard deviation of the entries; 0 for constant tensors and those of fewer than two entries."""
    if t.numel() < 2:
        return 0.0
    x = t.detach().double()
    spread = float((x - x.mean()).square().mean().sqrt())
    # equal entries may leave the rounding of their mean behind
    return spread if spread > 4 * torch.finfo(torch.float64).eps * float(x.abs().max()) else 0.0


def scales_of(t: Tensor) -> Tensor:
    """The unit of a step: one for all entries, the spread, or max(|x|, 1) where there is none.

    Entries of very different sizes get a unit each, their distance from the median plus the median distance: beside one
    entry of −10⁹ (a masked logit) the spread is no step for the others.
    """
    x = t.detach().double()
    spread = spread_of(t)
    if not spread:
        return x.new_tensor(max(float(x.abs().max()) if x.numel() else 0.0, 1.0))
    away = (x - x.median()).abs()
    typical = float(away.median())
    if t.numel() < FEW or not 0 < typical < spread / UNEVEN:
        return x.new_tensor(spread)
    return away + typical


FEW = 8
"""Below how many entries a median says nothing about what is typical."""

UNEVEN = 100
"""From which ratio of spread to median distance on entries count as being of very different sizes; 0.67 for normal ones."""
