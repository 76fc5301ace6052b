"""Values that random ones do not visit, of one input and its range: ties, zeros, thresholds, scales, magnitudes, ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5, 3.0, -3.0, 6.0, -6.0)
"""Where piecewise functions have their joints: halves are where rounding turns, ±1 belongs to hard tanh and clamps, ±2.5 and
±3 to hard sigmoids, 6 to relu6."""

SIZES = ((8.0, 12.0), (30.0, 50.0))
"""Saturation: from 8 on GELU and sigmoid are flat to seven digits; from 30 on 1 + e⁻ˣ is 1 to thirteen, and exp-like code
often branches. One sign and one size a point: beside e⁵⁰ nothing is seen of e⁸. Of several inputs one alone is as large as
that: their products, of some thousands, leave exp(q·k − log Σ exp(q·k)) few digits, and its derivative fewer."""

OCTAVES = (-20, -10, 10)
"""Scales 2ᵏ of the values: 10⁻⁶, 10⁻³, 10³."""

NEAR = (2.0**-10, 2.0**-20)
"""How near to an end of a domain, in units of its length, or of one where it has none."""


@dataclass(frozen=True)
class Range:
    """Where the values of an input may lie."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True

    def holds(self, x: Tensor) -> Tensor:
        """Which entries lie inside."""
        above = x > self.low if self.low_open else x >= self.low
        return above & (x < self.high if self.high_open else x <= self.high)

    def has(self, value: float) -> bool:
        """Whether it lies inside."""
        return bool(self.holds(torch.tensor(value, dtype=torch.float64)))

    def touched(self, x: Tensor) -> bool:
        """Whether some entry is an end: differences around it leave the domain."""
        return bool(((x == self.low) | (x == self.high)).any())

    @property
    def free(self) -> bool:
        """Whether it has no end at all."""
        return math.isinf(self.low) and math.isinf(self.high)


Make = Callable[[Tensor, Range, np.random.Generator], tuple[Tensor, str]]
"""An input's values, its range and a generator → special values, and what they are called; `{}` stands for the input."""


def _unsaturated(x: Tensor, within: Range) -> Tensor:
    """The values an eighth as large where they reach into saturation: ties and zeros are judged where there are slopes."""
    return x / 8 if within.free and bool((x.abs() > SIZES[0][0]).any()) else x


def ties(x: Tensor, within: Range, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Each row, or each column, is constant, zero, has its largest or smallest entry several times, or equal pairs."""
    new = _unsaturated(x, within).clone(memory_format=torch.contiguous_format)
    across = new.transpose(0, -1) if new.ndim > 1 and rng.random() < 0.5 else new
    lines = across.reshape(-1, across.shape[-1]) if new.ndim else new.reshape(1, 1)
    tied = torch.stack([_tied(line, within, rng) for line in lines])
    return tied.reshape(across.shape).transpose(0, -1).contiguous() if across is not new else tied.reshape(x.shape), (
        "ties and constant rows in {}"
    )


def _tied(line: Tensor, within: Range, rng: np.random.Generator) -> Tensor:
    kind = rng.choice(("constant", "zero", "largest", "smallest", "pairs"))
    if kind == "zero" and within.has(0.0):
        return torch.zeros_like(line)
    if kind == "pairs":
        return line[torch.arange(len(line)) // 2 * 2]
    if kind in ("largest", "smallest"):
        some = _some(line, rng)
        return torch.where(some, line.max() if kind == "largest" else line.min(), line)
    return line[:1].expand_as(line)


def zeros(x: Tensor, within: Range, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Some entries, at every fourth example all, are 0 or −0; where the domain has no zero, an end that belongs to it."""
    ends = [e for e, open_ in ((within.low, within.low_open), (within.high, within.high_open)) if not open_]
    if not within.has(0.0) and not ends:
        return x, "{}"
    value = 0.0 if within.has(0.0) else float(rng.choice(ends))
    chosen = torch.ones_like(x, dtype=torch.bool) if rng.random() < 0.25 else _some(x, rng)
    filled = torch.full_like(x, value)
    if value == 0.0 and within.low < 0 < within.high:
        filled = torch.where(_some(x, rng), -filled, filled)
    return torch.where(chosen, filled, _unsaturated(x, within)), "zeros in {}" if value == 0.0 else f"{value:g} in {{}}"


def turned(x: Tensor, within: Range, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Some entries with the other sign."""
    return torch.where(_some(x, rng) & within.holds(-x), -x, x), "other signs in {}"


def thresholds_or_scale(x: Tensor, within: Range, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Integers and halves, or the values times 2ᵏ."""
    scaled = rng.random() < 0.5
    factor = 2.0 ** float(rng.choice(OCTAVES))
    new = x * factor if scaled else torch.as_tensor(rng.choice(THRESHOLDS, tuple(x.shape))).to(x)
    what = f"{{}} times {factor:.3g}" if scaled else "integers and halves in {}"
    return torch.where(within.holds(new), new, x), what


def magnitudes(x: Tensor, within: Range, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Beyond saturation on one side, or at an end of the domain."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    bounded = math.isfinite(within.high if sign > 0 else within.low)
    if bounded:
        return _at_end(x, within, sign, rng)
    low, high = SIZES[rng.integers(len(SIZES))]
    new = torch.as_tensor(sign * rng.uniform(low, high, tuple(x.shape))).to(x)
    kept = torch.where(within.holds(new), new, x)
    return kept, f"{sign * low:g} to {sign * high:g} in {{}}"


def _at_end(x: Tensor, within: Range, side: float, rng: np.random.Generator) -> tuple[Tensor, str]:
    """Near an end all entries; where it belongs to the domain, some of the entries at it."""
    end, is_open = (within.high, within.high_open) if side > 0 else (within.low, within.low_open)
    length = within.high - within.low if math.isfinite(within.high - within.low) else max(abs(end), 1.0)
    if not is_open and rng.random() < 0.5:
        return torch.where(_some(x, rng), torch.full_like(x, end), x), f"{{}} at {end:g}, an end of its domain"
    near = length * float(rng.choice(NEAR))
    new = torch.as_tensor(end - side * near * rng.uniform(0.5, 1.5, tuple(x.shape))).to(x)
    return torch.where(within.holds(new), new, x), f"{{}} {near:.1g} from {end:g}, an end of its domain"


def _some(x: Tensor, rng: np.random.Generator) -> Tensor:
    """About half of the entries, at least one."""
    chosen = torch.as_tensor(rng.random(tuple(x.shape)) < 0.5, device=x.device)
    if x.numel():
        chosen.reshape(-1)[int(rng.integers(x.numel()))] = True
    return chosen
