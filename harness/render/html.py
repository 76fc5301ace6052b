"""A report as HTML: self-contained, readable in dark and light, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from harness.outcome import Outcome
from harness.render.text import count_line, summary, verdict_line
from harness.report import Report, Result

_STYLE = """
:root { color-scheme: light dark; }
.gradient-report { font: 14px/1.45 system-ui, sans-serif; max-width: 70rem; }
.gradient-report table { border-collapse: collapse; margin: .5rem 0 1rem; }
.gradient-report td, .gradient-report th { border-bottom: 1px solid #8886; padding: .2rem .7rem; }
.gradient-report td, .gradient-report th { text-align: left; vertical-align: top; }
.gradient-report pre { overflow-x: auto; border-left: 3px solid #8886; padding-left: .8rem; }
.gradient-report .PASS b { color: #0a7d5a; } .gradient-report .FAIL b, .gradient-report .ERROR b { color: #c8401e; }
.gradient-report .INCONCLUSIVE b { color: #a66f00; } .gradient-report .SKIP { opacity: .65; }
"""


def page(reports: Sequence[Report]) -> str:
    """A whole page over several reports."""
    body = "\n".join(_section(r) for r in reports)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Gradient verification</title>'
        f'<style>{_STYLE}</style></head>\n<body class="gradient-report"><h1>Gradient verification</h1>\n'
        f"<p>{escape(count_line(reports))}</p>\n{body}\n</body></html>\n"
    )


def fragment(report: Report) -> str:
    """One report for a notebook."""
    return f'<div class="gradient-report"><style>{_STYLE}</style>{_section(report)}</div>'


def _section(report: Report) -> str:
    rows = "\n".join(_row(r) for r in report.results)
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    findings = "".join(_finding(r) for r in report.failures)
    return (
        f"<section><h2>{escape(verdict_line(report))}</h2>\n<table><thead><tr><th>check</th><th>mode</th><th>outcome</th>"
        f"<th>what was seen</th></tr></thead><tbody>\n{rows}\n</tbody></table>{findings}{notes}</section>"
    )


def _row(r: Result) -> str:
    said = summary(r) if r.outcome is Outcome.PASS else r.reason
    cells = (escape(r.check), escape(r.mode or ""), f"<b>{r.outcome.value}</b>", escape(said))
    return f'<tr class="{r.outcome.value}">' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"


def _finding(r: Result) -> str:
    if r.finding is None:
        return ""
    script = r.finding.reproduce
    details = f"<details><summary>reproduce</summary><pre>{escape(script)}</pre></details>" if script else ""
    return f"<h3>{escape(r.id)}</h3><pre>{escape(str(r.finding))}</pre>{details}"
