"""A report as plain data."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.report import Finding, Report, Result

SCHEMA = 1


def report_to_dict(report: Report) -> dict[str, Any]:
    """Everything in the report; no times, paths or addresses."""
    return {
        "schema": SCHEMA,
        "layer": report.layer,
        "ok": report.ok,
        "settings": dict(report.settings),
        "counts": report.counts(),
        "results": [_result(r) for r in report.results],
        "notes": list(report.notes),
    }


def _result(r: Result) -> dict[str, Any]:
    return {
        "layer": r.layer,
        "check": r.check,
        "mode": r.mode,
        "outcome": r.outcome.value,
        "tensors": {n: _number(v) for n, v in r.tensors.items()},
        "reason": r.reason,
        "finding": None if r.finding is None else _finding(r.finding),
        "examples": r.examples,
    }


def _finding(f: Finding) -> dict[str, Any]:
    tensor, index = f.where
    return {
        "tensor": tensor,
        "index": None if index is None else list(index),
        "analytic": _number(f.analytic),
        "expected": _number(f.expected),
        "allowed": _number(f.allowed),
        "wrong": f.wrong,
        "total": f.total,
        "diagnosis": list(f.diagnosis),
        "reproduce": f.reproduce,
        "example": f.example,
    }


def _number(value: float | str) -> float | str:
    """JSON has no infinity and no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_json(data: Any) -> str:
    """JSON with sorted keys; the same data gives the same bytes."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
