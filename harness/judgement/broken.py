"""Points at which outputs jump or have no slope: what is said there of a gradient is no fault of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.case import Case
from harness.domain import Refused
from harness.judgement.edges import Edges
from harness.judgement.judge import Judge
from harness.judgement.surroundings import Surroundings
from harness.subject import Evaluation

STAIRS = (1, 2, 3)
"""Along which directions stairs are looked for: over a step within them the claim may be right along one of them alone."""


def without_slope(case: Case) -> bool:
    """Whether outputs jump at the very point, or a quotient of theirs diverges there: what raises (an inverse of R, of a matrix
    without full rank) keeps back no gradient that there is."""

    def run(leaves: Mapping[str, Tensor], *rest: Any) -> Evaluation:
        return replace(case.subject.run(leaves, *rest), pullback=lambda _: {n: torch.zeros_like(leaves[n]) for n in x})

    x = case.subject.wanted()
    f = Judge(case.at(subject=replace(case.subject, run=run))).differences
    edges = Edges(f)
    return any(edges.begins(f.direction(1, [n])) or edges.singular(n) is not None for n in f.case.wanted)


def in_stairs(case: Case, name: str) -> bool:
    """Whether the outputs jump where digits run out, as log(1 − σ(z)) does at z = 35, and the claim is right over the jumps. What is
    rounded on purpose is failed at the values as drawn."""
    judge = Judge(case)
    f = judge.differences
    with suppress(Refused):
        drawn = (f.direction(number, [name]) for number in STAIRS)
        return any(Surroundings(f).stairs(judge.claim.gradients, d) for d in drawn)
    return False
