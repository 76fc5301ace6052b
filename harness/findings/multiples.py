"""What a wrong gradient is a multiple of, entry by entry: one or two numbers, a function of the input or output, nearly 1."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.case import Case
from harness.findings.likeness import ENOUGH, FIT, explains, output_beside, wrong_entries

NEARLY = 1e-3
"""By what share of the largest entry all may be off that are right but for their last digits."""


def powers(n: str, t: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The factors that people forget or write once too often."""
    yield from {n: t, f"{n}²": t**2, f"(1-{n})": 1 - t, f"(1+{n})": 1 + t}.items()
    yield from {f"(1-{n}²)": 1 - t**2, f"(1+{n}²)": 1 + t**2, f"√(1-{n}²)": (1 - t**2).sqrt()}.items()


def derivative(case: Case, g: Tensor, r: Tensor) -> Iterator[str]:
    """The cotangent times a simple function of the input or of the output, which is another derivative than the forward's."""
    given, y = case.base.cotangents, output_beside(case, g.shape)
    if not case.subject.takes_cotangent or len(given) != 1 or y is None or g.numel() < ENOUGH:
        return
    v = given[0].double()
    stands = {n: t.double() for n, t in case.leaves.items() if t.shape == g.shape} | {"y": y.double()}
    for n, t in stands.items():
        products = {f"{n}·(1-{n})": t * (1 - t), f"(1-{n})²": (1 - t) ** 2, f"2·{n}": 2 * t}
        for text, factor in {**dict(powers(n, t)), **products}.items():
            if explains(factor * v, g, r):
                named = ", y the output" if n == "y" else ""
                yield f"it is the cotangent times {text}{named}: the derivative of another function"
                return


def few(g: Tensor, r: Tensor, fewest: int) -> Iterator[str]:
    """One multiple of what is right wherever it is out, or two: a sign or a factor that goes by a condition."""
    out = wrong_entries(g, r, FIT)
    if not bool((r[out] != 0).all()) or not bool(out.any()):
        return
    factors = torch.unique((g[out] / r[out]).mul(1 / FIT).round()) * FIT
    if len(factors) > 2:
        return
    counts = [int(((g - float(c) * r).abs() <= 2 * FIT * r.abs())[out].sum()) for c in factors]
    if min(counts) < fewest or sum(counts) != int(out.sum()):
        return
    said = [f"{round(float(c), 4):g}" for c in factors]
    if len(said) == 1 and not bool(out.all()):
        yield f"what is out is {said[0]} times what it should be, the rest is right: a sign or factor that goes by a condition"
    elif len(said) == 2 and bool(out.all()):
        yield f"some entries are {said[0]} times what they should be, the others {said[1]} times: a factor that goes by a condition"


def nearly(g: Tensor, r: Tensor) -> Iterator[str]:
    """Right but for the last digits, everywhere."""
    off, size = (g - r).abs(), float(r.abs().max())
    if (
        g.numel() >= ENOUGH
        and float(off.max()) <= NEARLY * size
        and int((off > FIT * float(off.max())).sum()) > g.numel() / 2
    ):
        yield (
            "every entry is right but for a thousandth of the largest: a constant with few digits, an ε in another place, an "
            "approximation, or a part in lower precision"
        )
