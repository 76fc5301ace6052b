"""Results as data: `Finding`, `Result` and `Report`. Nothing here prints or computes a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.outcome import GradientError, NotVerified, Outcome


@dataclass(frozen=True)
class Finding:
    """The evidence of a failure: what was found where, what was expected, and by how much it is out.

    Example:
        >>> print(Finding(("input x", (0, 1)), 1.0, 2.0, 1e-9, 3, 12, ("half of what it should be",)))
        input x[0, 1]: backward gives 1, expected 2 ± 1.0e-09
        3 of 12 entries are out
        → half of what it should be
    """

    where: tuple[str, tuple[int, ...] | None]
    """The tensor and the index of its worst entry (None where the finding concerns the whole tensor)."""
    analytic: float | str
    """What the layer's backward gave there."""
    expected: float | str
    """What the oracle gives there."""
    allowed: float | str
    """The computed bound on |analytic − expected|, in the same units."""
    wrong: int
    """How many entries are outside their bound."""
    total: int
    """How many entries were compared."""
    diagnosis: tuple[str, ...] = ()
    """Sentences that fit the residual, best first, each tested on fresh draws."""
    reproduce: str = ""
    """A standalone script that shows the fault without the harness."""
    example: str = ""
    """The example that failed, after shrinking: sizes, options, mode, seed."""

    def __str__(self) -> str:
        tensor, index = self.where
        place = tensor if not index else f"{tensor}[{', '.join(map(str, index))}]"
        of_forward = re.fullmatch(r"output\d+", tensor) is not None  # an input may be called `outputs`
        gives = "" if isinstance(self.analytic, str) else "forward gives " if of_forward else "backward gives "
        analytic, expected = told_apart(self.analytic, self.expected)
        lines = [f"{place}: {gives}{analytic}" + (f", expected {expected}" if expected else "")]
        if isinstance(self.allowed, float):
            lines[0] += f" ± {self.allowed:.1e}"
        if self.total > 1:
            lines.append(f"{self.wrong} of {self.total} entries are out")
        lines += [f"→ {sentence}" for sentence in self.diagnosis]
        if self.example:
            lines.append(f"at {self.example}")
        return "\n".join(lines)


def short(value: float | str) -> str:
    """Six significant digits: enough to recognise a factor, few enough to read."""
    return f"{value:.6g}" if isinstance(value, float) else value


def told_apart(a: float | str, b: float | str) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ, six at least."""
    if isinstance(a, float) and isinstance(b, float) and a != b:
        return next(pair for n in range(6, 18) if len(set(pair := (f"{a:.{n}g}", f"{b:.{n}g}"))) > 1)
    return short(a), short(b)


@dataclass(frozen=True)
class Result:
    """One check of one layer in one mode, over all its examples.

    Example:
        >>> Result("MyLayer", "input_gradient", "train", Outcome.PASS, {"x": 1e-12}).id
        'MyLayer-input_gradient-train'
    """

    layer: str
    """Its name: that of its class or function, or as the spec says."""
    check: str
    mode: str | None
    """None where the layer has none."""
    outcome: Outcome
    tensors: Mapping[str, float] = field(default_factory=dict)
    """{verified tensor: resolution}: the worst relative size of an error that would still have been seen."""
    reason: str = ""
    """Why, unless PASS. With PASS: what is worth saying (a kink was accepted, another dtype was used)."""
    finding: Finding | None = None
    examples: int = 0
    """How many examples the outcome rests on (refused ones not counted)."""
    note: str = ""

    @property
    def id(self) -> str:
        """The part of a pytest id between the brackets: `MyLayer-parameter_gradient-train`."""
        return "-".join(part for part in (self.layer, self.check, self.mode) if part)


GRADIENTS = ("input_gradient", "parameter_gradient")
OUTPUTS_ALONE = ("mask", "unbiased", "state")
"""Checks that look at gradients first of all, and those that look at none: what these verify is no gradient."""


COLUMNS = "it takes examples in columns"
"""How a note begins that explains all else."""

RENAMED = "it is called"
"""How a note begins on a layer that its file calls otherwise than the spec does."""


@dataclass(frozen=True, repr=False)
class Report:
    """Every result of one `gradcheck` or `check`.

    True exactly when every result that applies is PASS and at least one tensor was verified.

    Example:
        >>> report = Report("MyLayer", (Result("MyLayer", "input_gradient", None, Outcome.PASS, {"x": 1e-12}),))
        >>> report.ok, report.failures, report.counts()["PASS"]
        (True, [], 1)
    """

    layer: str
    results: tuple[Result, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the run can be repeated with: the seed, the device, the dtype or the number of examples."""
    notes: tuple[str, ...] = ()
    """What is to be said of the layer as a whole: what was taken for what, and what was not judged."""

    @property
    def ok(self) -> bool:
        """Whether every result that applies is PASS, and at least one tensor was verified; a gradient, where those were asked for."""
        applicable = [r for r in self.results if r.outcome is not Outcome.SKIP]
        beside = OUTPUTS_ALONE if any(r.check in GRADIENTS for r in self.results) else ()
        verified = any(r.tensors for r in applicable if r.check not in beside)
        return verified and all(r.outcome is Outcome.PASS for r in applicable)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def failures(self) -> list[Result]:
        """The results whose outcome is FAIL."""
        return [r for r in self.results if r.outcome is Outcome.FAIL]

    def counts(self) -> dict[str, int]:
        """How many results came to each outcome; every outcome has a count."""
        return {o.value: sum(r.outcome is o for r in self.results) for o in Outcome}

    def raise_for_failures(self) -> None:
        """Return if the report is ok.

        Raises:
            GradientError: something failed.
            NotVerified: nothing failed, but something was not verified.
        """
        __tracebackhide__ = True
        if self.ok:
            return
        outcomes = {r.outcome for r in self.results}
        failed = outcomes & {Outcome.FAIL, Outcome.ERROR}
        raise (GradientError if failed else NotVerified)(str(self), self)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, `"schema": 1`; no times, paths or addresses."""
        from harness.render.data import report_to_dict

        return report_to_dict(self)

    def to_json(self) -> str:
        """`to_dict` as JSON; the same seed gives the same bytes. Infinite and undefined numbers are strings."""
        from harness.render.data import to_json

        return to_json(self.to_dict())

    def to_html(self) -> str:
        """A self-contained page."""
        from harness.render.html import page

        return page([self])

    def _repr_html_(self) -> str:
        from harness.render.html import fragment

        return fragment(self)

    def __repr__(self) -> str:
        from harness.render.text import one_line

        return f"<Report {one_line(self)}>"

    def __str__(self) -> str:
        from harness.render.text import report_text

        return report_text(self)


def ended(layer: str, stage: str, why: str) -> Report:
    """The report of a layer that came to no check: it ended before, at this stage."""
    return Report(layer, (Result(layer, stage, None, Outcome.ERROR, reason=why),))
