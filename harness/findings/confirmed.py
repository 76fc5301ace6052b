"""Whether a condition over sizes is one: where a gradient was right, and where it was wrong, other values, labels and parameters of
the same sizes are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused, forward_may_refuse
from harness.draws import STRATA
from harness.examples.cases import drawn, redrawn
from harness.examples.design import Example
from harness.outcome import Outcome
from harness.session import Observation, Session

DRAWS = 12
"""How many draws are asked where it was right: what is wrong of every fourth passes all of them in 3 runs of 100."""

WRONG = 6
"""The same where it was wrong, which takes longer to see."""

LARGE = 2_000
"""Of how many numbers an example is too large to be asked again and again."""


Asked = Callable[[Session], Observation]


def of_sizes(name: str, failed: Sequence[Session], passed: Sequence[Session], asked: Asked) -> bool:
    """Whether a tensor is wrong at other draws of the sizes at which it was, the fewest labels first, and right where it was right,
    the most first: these may be alike, or be the ones that matter, by chance."""
    few = sorted((s for s in failed if _numbers(s) <= LARGE), key=_numbers)[:WRONG]
    many = sorted((s for s in passed if _numbers(s) <= LARGE), key=_numbers, reverse=True)
    right = [_outcome(name, s.case, k, asked) for k, s in enumerate(islice(cycle(many), DRAWS), 1)]
    if Outcome.PASS not in right or Outcome.FAIL in right:
        return False
    wrong = [_outcome(name, s.case, k, asked) for k, s in enumerate(islice(cycle(few), WRONG), 1)]
    return Outcome.FAIL in wrong and Outcome.PASS not in wrong


def _numbers(session: Session) -> int:
    return sum(t.numel() for t in session.case.leaves.values())


def _outcome(name: str, case: Case, number: int, asked: Asked) -> Outcome | None:
    """Whether it is verified, or wrong, at another draw of a case's sizes; None where the layer refuses that, or its inputs can't be
    drawn one by one."""
    others = frozenset(n for n in case.wanted if n != name)
    seed = case.seed + 7919 * number
    leaves = _drawn_anew(case, seed, STRATA[number % len(STRATA)])
    if leaves is None:
        return None
    with suppress(Refused), forward_may_refuse():
        seen = asked(Session(case.at(leaves=leaves, seed=seed, spared=others, known_wrong=True)))
        if seen.failed is not None and seen.failed[0] == name:
            return seen.outcome
        return Outcome.PASS if name in seen.tensors else None
    return None


def _drawn_anew(case: Case, seed: int, stratum: str) -> dict[str, Tensor] | None:
    """Inputs as the spec draws them and parameters, all from another seed; None of inputs that are dicts or lists."""
    example = Example(case.sizes, {}, stratum, seed)
    values = drawn(case.domains, example)
    if not all(isinstance(x, (Tensor, np.ndarray)) and x.shape == case.leaves[n].shape for n, x in values.items()):
        return None
    return {**redrawn(case.subject, seed), **{n: torch.as_tensor(x).to(case.leaves[n]) for n, x in values.items()}}
