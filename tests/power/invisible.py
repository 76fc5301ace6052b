"""Faults that no check sees, so that the page says what a PASS leaves open, and a test holds that it still does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.fault import Fault, Values, recotangent, regraded, rerun
from harness.subject import Evaluation, Gradients, Subject


@dataclass(frozen=True)
class Invisible(Fault):
    """A fault, and why nothing sees it."""

    why: str = ""


LATE = 100_000
"""More forwards than a run of all checks on one layer takes."""


def _late(subject: Subject) -> Subject:
    calls = 0

    def wrap(subject: Subject, leaves: Values, buffers: Values, mode: str | None, seed: int) -> Evaluation:
        nonlocal calls
        calls += 1
        right, late = subject.run(leaves, buffers, mode, seed), calls > LATE

        def pullback(cotangents: Sequence[Tensor]) -> Gradients:
            return {n: None if g is None else (2 * g if late else g) for n, g in right.pullback(cotangents).items()}

        return replace(right, pullback=pullback)

    return rerun(wrap)(subject)


def _inputs(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Subject], Subject]:
    return regraded("input", change)


def _invisible() -> Iterator[Invisible]:
    def named(name: str, apply: Callable[[Subject], Subject], why: str, needs: str = "input") -> Invisible:
        return Invisible(name, "input_gradient", apply, needs, why=why)

    yield named(
        "off_in_its_last_digits",
        _inputs(lambda g, x: (1 + 2.0**-48) * g),
        "16 units of the last place: what right ways to compute a gradient differ by",
    )
    yield named(
        "wrong_in_a_sliver",
        _inputs(lambda g, x: torch.where((x - 3.14159).abs() < 1e-5, 2 * g, g)),
        "an interval of values that no example meets",
    )
    yield named(
        "wrong_beyond_500_columns",
        _inputs(lambda g, x: 2 * g if x.ndim and x.shape[-1] > 500 else g),
        "a size that no example has; `dims` of the spec may name it",
    )
    yield named(
        "wrong_for_97_rows",
        _inputs(lambda g, x: 2 * g if x.ndim and len(x) == 97 else g),
        "one size among many",
    )
    yield named("wrong_after_100_000_forwards", _late, "what only a long life shows")
    yield named(
        "clamped_at_1e40_in_float64",
        recotangent(lambda v: v.clamp(-1e40, 1e40) if v.dtype == torch.float64 else v),
        "beyond the 2⁶⁶ ≈ 7·10¹⁹ that `cotangent_scale` goes to",
        "cotangent",
    )


INVISIBLE = tuple(_invisible())
