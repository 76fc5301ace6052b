"""What is known of one tensor's gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from harness.case import Case
from harness.outcome import Outcome

ROUNDINGS = 16
"""How many times its own response to changes in the last digits of the leaves a gradient may be off by rounding."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one tensor's gradient."""

    outcome: Outcome
    resolution: float = float("inf")
    """The relative size of an error that would have been seen."""
    reason: str = ""
    expected: Tensor | None = field(default=None, repr=False)
    """The oracle's gradient where the claim fails; NaN where it was not evaluated."""
    allowed: Tensor | None = field(default=None, repr=False)
    """The bound on each entry's error."""
    case: Case | None = field(default=None, repr=False)
    """Where it was found, if not with the base cotangents."""
