"""Reports as a table for a spreadsheet: a row for every result."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from harness.report import Report, Result

COLUMNS = ("target", "layer", "check", "mode", "outcome", "examples", "tensors", "reason")


def to_csv(reports: Iterable[tuple[str, Report]]) -> str:
    """CSV with a head; of every (target, report) a row for each result."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row(target, r) for target, report in reports for r in report.results)
    return text.getvalue()


def _row(target: str, r: Result) -> tuple[str, ...]:
    tensors = " ".join(f"{name}={resolution:.1e}" for name, resolution in r.tensors.items())
    return (target, r.layer, r.check, r.mode or "", r.outcome.value, str(r.examples), tensors, r.reason)
