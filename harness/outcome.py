"""What a check can come to, and the exceptions that carry it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.report import Report


class Outcome(Enum):
    """The outcome of one check of one layer in one mode. It has no truth value (TypeError): compare it by `is`.

    Example:
        >>> Outcome("PASS") is Outcome.PASS
        True
    """

    PASS = "PASS"
    """Verified: every tensor agrees with an independent oracle at the stated resolution."""
    FAIL = "FAIL"
    """Wrong: a difference lies outside a computed bound, or an exact promise is broken."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Neither: nothing was found wrong, but something could not be verified; the reason says what."""
    SKIP = "SKIP"
    """Does not apply to this layer, mode or machine; the reason says why."""
    ERROR = "ERROR"
    """Not judged: the harness's own fault, or a layer that refuses most examples, hangs, exhausts memory or crashes."""

    # An outcome has no truth value: `if report.results[0].outcome:` would be true for FAIL too.
    def __bool__(self) -> bool:
        raise TypeError(f"{self} has no truth value: compare it, as in `outcome is Outcome.PASS`, or use report.ok")


def worst(outcomes: list[Outcome]) -> Outcome:
    """The one that decides when several are put together: FAIL, then ERROR, INCONCLUSIVE, PASS, SKIP."""
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PASS):
        if any(o is outcome for o in outcomes):
            return outcome
    return Outcome.SKIP


class GradientError(AssertionError):
    """A backward pass is wrong. `report` holds the evidence.

    Example:
        >>> import torch
        >>> from harness import gradcheck
        >>> class Square:
        ...     def forward(self, x):
        ...         self.x = x
        ...         return x**2
        ...
        ...     def backward(self, dy):
        ...         return self.x * dy  # wrong: half of it
        >>> try:
        ...     gradcheck(Square(), torch.randn(4, 3))
        ... except GradientError as error:
        ...     print(error.report.failures[0].check)
        input_gradient
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


class NotVerified(GradientError):  # noqa: N818  (an established name of the public interface)
    """Nothing was found wrong, but something was not verified. `report` says what.

    Example:
        >>> issubclass(NotVerified, GradientError)
        True
    """


class SpecError(ValueError):
    """What the user wrote can't be checked as it stands; the message says what was found and what to write.

    Example:
        >>> from harness import floats
        >>> floats("B D", low=1, high=0)
        Traceback (most recent call last):
        harness.outcome.SpecError: floats(low=1, high=0): the domain is empty; low must be below high
    """


class ElsewhereError(SpecError):
    """What is wanted is computed elsewhere: what to write instead, whatever the inputs."""
