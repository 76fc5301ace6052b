"""Whether a condition over sizes is one: where a gradient was right, other values, labels and parameters of the same sizes are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle, islice

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused, forward_may_refuse
from harness.draws import STRATA
from harness.examples.cases import input_of, redrawn
from harness.examples.design import Example
from harness.outcome import Outcome
from harness.session import Observation, Session

DRAWS = 12
"""How many draws are asked: what is wrong of every fourth passes all of them in 3 runs of 100."""

LARGE = 2_000
"""Of how many numbers an example is too large to be asked again and again."""


def right_again(name: str, passed: Sequence[Session], asked: Callable[[Session], Observation]) -> bool:
    """Whether a tensor that was right at some examples is so at others of their sizes, those with the most labels first."""
    small = sorted((s for s in passed if _numbers(s) <= LARGE), key=_numbers, reverse=True)
    draws = enumerate(islice(cycle(small), DRAWS), 1)
    return not any(_wrong(name, session.case, number, asked) for number, session in draws)


def _numbers(session: Session) -> int:
    return sum(t.numel() for t in session.case.leaves.values())


def _wrong(name: str, case: Case, number: int, asked: Callable[[Session], Observation]) -> bool:
    """Whether it is wrong at another draw of a case's sizes; not where the layer refuses that."""
    with suppress(Refused), forward_may_refuse():
        others = frozenset(n for n in case.wanted if n != name)
        seed = case.seed + 7919 * number
        again = case.at(leaves=_drawn_anew(case, seed, STRATA[number % len(STRATA)]), seed=seed, spared=others)
        failed = (seen := asked(Session(again))).failed
        return seen.outcome is Outcome.FAIL and failed is not None and failed[0] == name
    return False


def _drawn_anew(case: Case, seed: int, stratum: str) -> dict[str, Tensor]:
    """Inputs as the spec draws them and parameters, all from another seed."""
    example = Example(case.sizes, {}, stratum, seed)
    drawn = {n: input_of(kind, example, k) for k, (n, kind) in enumerate(case.domains.items())}
    inputs = {n: torch.as_tensor(getattr(x, "value", x)).to(case.leaves[n]) for n, x in drawn.items()}
    return {**redrawn(case.subject, seed), **inputs}
