"""A layer that answers otherwise from call to call at one and the same point: by a count of its calls, or what is left."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from harness.case import Case
from harness.domain import BackwardRaised, Refused
from harness.tensors.arrays import rms

CALLS = 8
"""How often it is called, the same each time: what happens at every fifth call, or seventh, is seen."""


@dataclass(frozen=True)
class Wavering:
    """A call that answered otherwise than the first one."""

    call: int
    name: str
    """The output or the leaf whose gradient it is."""
    found: Tensor
    first: Tensor

    def __str__(self) -> str:
        what = f"outputs ({self.name})" if self.name.startswith("output") else f"gradients of {self.name}"
        return (
            f"of {CALLS} calls at one point with one cotangent, call {self.call} gives other {what} than the first: it goes by a "
            "count of its calls, or by what the one before left"
        )


def wavering(case: Case) -> Wavering | None:
    """The first call that does; None where none does, or where it draws from what no seed replays. Not beside the case's own base:
    what came in between, such as a larger batch, may have spoilt the layer for good."""
    try:
        if not case.replays or case.unreplayable:
            return None
        first = _answers(case)
        for call in range(2, CALLS + 1):
            found = _answers(case)
            for name, there in first.items():
                if name not in found or _apart(case, found[name], there):
                    return Wavering(call, name, found.get(name, 0 * there), there)
    except (Refused, BackwardRaised):
        pass
    return None


def _answers(case: Case) -> dict[str, Tensor]:
    now = case.evaluate(1)
    there = {f"output{k}": y for k, y in enumerate(now.outputs)}
    return there | {n: g for n in case.wanted if (g := now.gradients.get(n)) is not None}


def _apart(case: Case, a: Tensor, b: Tensor) -> bool:
    """Whether by more than must be seen."""
    return a.shape != b.shape or bool(((a - b).abs() > case.tau * rms(b)).any())
