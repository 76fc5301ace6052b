"""Points of a case that random values do not visit: ties, zeros, equal indices, thresholds, magnitudes, ends of domains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from harness.case import Case
from harness.draws import rng_of
from harness.examples.prepare import is_constant
from harness.examples.values import SIZES, Make, Range, magnitudes, thresholds_or_scale, ties, turned, zeros
from harness.kinds import Drawn, Floats, Ints, size_expression

PARAMETERS = 1 / 2
"""How often a point of the inputs makes room for one of the parameters: over 25 examples each of its three kinds is met with
probability 1 − (5/6)²⁵ = 0.99."""

LARGE = 64
"""Beyond how many numbers in its inputs and parameters a case counts as large. Entries at a kink are differenced one by one,
so that the time of a point grows with their square."""


@dataclass(frozen=True)
class Special:
    """One special point."""

    case: Case
    what: str
    """As in "zeros in x"."""
    bare: bool = False
    """Whether differences may be unknown here whatever the layer: at an end of a domain they leave it, and at saturation
    the outputs' last digit is larger than what they vary by."""
    faint: bool = False
    """Whether values were scaled down: of log cosh x, or 1 − cos x, the forward has few digits left or none."""


def special_points(case: Case) -> Iterator[Special]:
    """Four points a case of its inputs, one of which at times is of the parameters that a layer begins with all equal (γ = 1,
    β = 0).

    Of a large case one of them is looked at, for its entries at kinks are judged one by one. Points at which nothing would
    change are left out.
    """
    points: list[Callable[[], Special | None]] = [
        partial(_of_inputs, case, number, make)
        for number, make in enumerate((ties, zeros, thresholds_or_scale, magnitudes))
    ]
    constant = [n for n in case.subject.wanted("parameter") if is_constant(case.subject.leaves[n].value)]
    large = sum(t.numel() for t in case.leaves.values()) > LARGE
    rng, of_parameters = rng_of(case.seed, 17, 5), partial(_of_parameters, case, constant)
    if constant and large:
        points.append(of_parameters)
    elif constant and rng.random() < PARAMETERS:
        points[rng.integers(len(points))] = of_parameters
    if large:
        points = [points[case.seed % len(points)]]
    yield from (found for point in points if (found := point()) is not None)


def _of_parameters(case: Case, constant: list[str]) -> Special | None:
    """As the layer begins, which no draw is; or one or all of them with zeros, which a scale is where a branch begins shut; or
    with signs that it does not begin with, which no draw has either and no step of training avoids."""
    rng = rng_of(case.seed, 17, 4)
    changed = {n: case.subject.leaves[n].value.clone() for n in constant}
    what = f"{', '.join(constant)} as the layer begins"
    signed = [n for n in constant if bool(changed[n].any())]
    kinds: list[tuple[list[str], Make]] = [(constant, zeros)]
    kinds += [(signed, turned)] if signed else []
    if (kind := rng.integers(len(kinds) + 1)) < len(kinds):
        names, make = kinds[kind]
        names = [str(rng.choice(names))] if rng.random() < 0.5 else names
        made = {n: make(case.leaves[n], Range(), rng) for n in names}
        changed = {n: t for n, (t, _) in made.items()}
        what = made[names[-1]][1].format(", ".join(names))
    if all(_same(t, case.leaves[n]) for n, t in changed.items()):
        return None
    return _special(case, {**case.leaves, **changed}, what)


def _of_inputs(case: Case, number: int, make: Make) -> Special | None:
    """Ties, zeros, thresholds or a scale, or a size or an end of the domain, drawn by its seed.

    Over 25 examples each of the three scales is met with probability 1 − (5/6)²⁵ = 0.99 and each of the four kinds of
    magnitudes with 1 − (3/4)²⁵ = 0.999; ties, zeros and equal indices at every one. Where there are several inputs all of
    them or one alone are special, at equal odds, and one alone is very large: one of two with 1 − (7/8)²⁵ = 0.96. Where two
    have one shape they are equal in place of ties, at equal odds.
    """
    rng = rng_of(case.seed, 17, number)
    reals = [n for n in case.subject.wanted("input") if case.leaves[n].is_floating_point() and _drawn_freely(case, n)]
    pair = _alike(case, reals, rng) if make is ties else None
    reals = [str(rng.choice(reals))] if len(reals) > 1 and rng.random() < 0.5 else reals
    changed, said = dict(case.leaves), []
    if pair is not None:
        first, second = pair
        changed[second], reals = case.leaves[first].clone(), []
        said += [f"{second} equal to {first}"] * (not _same(changed[second], case.leaves[second]))
    made = {n: make(case.leaves[n], range_of(case, n), rng) for n in reals}
    if make is magnitudes and (large := [n for n, (x, _) in made.items() if _saturated(x, case.leaves[n])]):
        reals = [str(rng.choice(large))]
    for n in reals:
        changed[n], words = made[n]
        said += [words.format(n)] * (not _same(changed[n], case.leaves[n]))
    for n in _indices(case):
        changed[n] = indices(case, n, number, rng)
        said += [f"equal indices in {n}"] * (not _same(changed[n], case.leaves[n]))
    if not said:
        return None
    what = ", ".join(dict.fromkeys(said))
    far = any(bool((changed[n].abs() >= SIZES[0][0]).any()) for n in reals)
    bare = far or make is magnitudes or any(range_of(case, n).touched(changed[n]) for n in reals)
    faint = make is thresholds_or_scale and any(_smaller(changed[n], case.leaves[n]) for n in reals)
    return _special(case, changed, what, bare, faint)


def _special(case: Case, leaves: dict[str, Tensor], what: str, bare: bool = False, faint: bool = False) -> Special:
    return Special(case.at(leaves=leaves, label=f"{case.label}, {what}".lstrip(", ")), what, bare, faint)


def _alike(case: Case, names: list[str], rng: np.random.Generator) -> tuple[str, str] | None:
    """At even odds two inputs of one shape whose values may be each other's: queries and keys, a point and its neighbour."""
    pairs = [(a, b) for a, b in combinations(names, 2) if _exchangeable(case, a, b)]
    return pairs[rng.integers(len(pairs))] if pairs and rng.random() < 0.5 else None


def _exchangeable(case: Case, a: str, b: str) -> bool:
    x, y = case.leaves[a], case.leaves[b]
    return (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device) and bool(range_of(case, b).holds(x).all())


def _saturated(new: Tensor, x: Tensor) -> bool:
    """Whether some entries are put beyond the larger size."""
    return bool(((new.abs() >= SIZES[1][0]) & (new != x)).any())


def _smaller(new: Tensor, x: Tensor) -> bool:
    """Whether all of it is 2⁻¹⁰ or less of what it was."""
    return bool((new.abs() <= 2.0**-10 * x.abs()).all())


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal, signs of zeros included."""
    return torch.equal(a, b) and torch.equal(a.signbit(), b.signbit())


def _drawn_freely(case: Case, name: str) -> bool:
    """Whether its entries may be anything in a range: not those of an input that a function of the spec draws, nor a target
    without a gradient, which may have to be one-hot or to sum to one, unless its range is declared."""
    kind = case.domains.get(name)
    free = isinstance(kind, Floats) or name not in case.unreturned
    return case.leaves[name].numel() > 0 and not isinstance(kind, Drawn) and free


def _indices(case: Case) -> list[str]:
    integers = [n for n, t in case.leaves.items() if not t.is_floating_point() and t.dtype != torch.bool]
    return [n for n in integers if case.subject.leaves[n].role == "input" and _drawn_freely(case, n)]


def range_of(case: Case, name: str) -> Range:
    """What the spec declares of an input; without a spec the signs that its values have, and [0, 1] if they lie there."""
    kind = case.domains.get(name)
    if isinstance(kind, Floats):
        low = -math.inf if kind.low is None else kind.low
        high = math.inf if kind.high is None else kind.high
        return Range(low, high, kind.low_open or kind.low is None, kind.high_open or kind.high is None)
    least, most = float(case.leaves[name].min()), float(case.leaves[name].max())
    if least < 0:
        return Range() if most > 0 else Range(high=0.0, high_open=most < 0)
    return Range(0.0, 1.0 if most <= 1 else math.inf, least > 0, most != 1)


def indices(case: Case, name: str, number: int, rng: np.random.Generator) -> Tensor:
    """Integers all equal, equal in pairs, at the ends of their domain, or as drawn."""
    x, kind = case.leaves[name], case.domains.get(name)
    flat = x.reshape(-1)
    if number == 0:
        return flat[rng.integers(len(flat))].expand_as(x).clone()
    if number == 1:
        return flat[torch.arange(len(flat)) // 2 * 2].reshape(x.shape)
    if number == 2 and isinstance(kind, Ints):
        low, below = (size_expression(b, case.sizes) for b in (kind.low, kind.below))
        return torch.as_tensor(rng.choice((low, below - 1), tuple(x.shape))).to(x)
    return x.clone()
