"""A report within one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from textwrap import indent, shorten

from tabulate import tabulate

from harness.outcome import Outcome
from harness.report import COLUMNS, GRADIENTS, RENAMED, Report, Result

ROWS = 18
"""How many results a report shows before it leaves the verified ones to a count."""

EVIDENCE = 6
"""How many lines of a finding it shows; two findings, the rows and the notes then fit into 40 lines."""

REASON = 150
"""How many characters of a reason stand in its row."""


def verdict_line(report: Report) -> str:
    """One sentence that can't be read the wrong way."""
    counts = report.counts()
    if report.ok:
        return f"{report.layer}: verified, {_count(counts['PASS'], 'check')} passed" + _skips(counts)
    if counts["FAIL"]:
        return f"{report.layer}: WRONG, {counts['FAIL']} of {len(report.results)} checks failed"
    if counts["ERROR"] and len({(r.outcome, r.reason) for r in report.results}) == 1:  # it came to no check
        return f"{report.layer}: not judged, {shorten(report.results[0].reason, 150)}"
    if counts["ERROR"]:
        return f"{report.layer}: not judged, {_count(counts['ERROR'], 'check')} ended in an error of the harness or the spec"
    if counts["INCONCLUSIVE"]:
        return f"{report.layer}: NOT VERIFIED, nothing failed, {_count(counts['INCONCLUSIVE'], 'check')} inconclusive"
    return f"{report.layer}: NOT VERIFIED, no check verified a tensor"


def one_line(report: Report) -> str:
    """The verdict, and why it is no better."""
    line = verdict_line(report) + "".join(f" ({n})" for n in report.notes if n.startswith(RENAMED))
    if told := [n for n in report.notes if n.startswith(COLUMNS)]:
        return f"{line} ({told[0]})"
    if len({(r.outcome, r.reason) for r in report.results}) == 1 and report.results[0].outcome is Outcome.ERROR:
        return line
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.INCONCLUSIVE):
        for r in _explaining_first(report.results):
            if r.outcome is outcome:
                why = f" → {r.finding.diagnosis[0]}" if r.finding and r.finding.diagnosis else ""
                return f"{line} ({r.check}: {shorten(r.reason, 110)}{why})"
    return line


EXPLAINING = (*GRADIENTS, "autograd", "reference", "mask")
"""The checks that explain what the others fail: of a mask that is no draw memory, batches and means are others too."""


def _explaining_first(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda r: EXPLAINING.index(r.check) if r.check in EXPLAINING else len(EXPLAINING))


def _skips(counts: dict[str, int]) -> str:
    return f", {counts['SKIP']} not applicable" if counts["SKIP"] else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def report_text(report: Report, files: str = "") -> str:
    """The verdict, a row a result, and the evidence of the first failures; the rest is in `files`, or on the report itself."""
    rows = _as_one(report.results)
    shown = _told_first(rows)
    parts = [verdict_line(report), indent(table(shown), "  ")]
    if len(shown) < len(rows):
        parts.append(f"  … and {len(rows) - len(shown)} more results; in all {count_line([report])}")
    parts += _evidence(report, files) or _open(report)
    parts += [f"  note: {shorten(note, 200)}" for note in report.notes[:3]]
    return "\n".join(parts)


def _told_first(rows: list[Result]) -> list[Result]:
    """All rows, or as many as a screen takes: those that did not pass, and which gradients are right beside them."""
    bad = [k for k, r in enumerate(rows) if r.outcome not in (Outcome.PASS, Outcome.SKIP)]
    if len(rows) <= ROWS or not bad:
        return rows[:ROWS]
    right = [k for k, r in enumerate(rows) if r.outcome is Outcome.PASS and r.check in GRADIENTS]
    return [rows[k] for k in sorted([*bad, *right][:ROWS])]


def _as_one(results: Sequence[Result]) -> list[Result]:
    """The results; in one row those that have one word and no evidence, as where the forward refuses everything."""
    bad = [r for r in results if r.outcome in (Outcome.FAIL, Outcome.ERROR) and r.finding is None]
    times = Counter((r.outcome, r.reason) for r in bad)
    rows: list[Result] = []
    done: set[tuple[Outcome, str]] = set()
    for r in results:
        key = (r.outcome, r.reason)
        if r.finding is not None or times[key] <= 2:
            rows.append(r)
        elif key not in done:
            done.add(key)
            mode = r.mode if {x.mode for x in bad if (x.outcome, x.reason) == key} == {r.mode} else None
            every = "all " if times[key] == len(results) else ""
            rows.append(replace(r, check=f"{every}{times[key]} checks", mode=mode))
    return rows


def _evidence(report: Report, files: str) -> list[str]:
    """Of the first two failures that say something of their own, and how many there are beside them."""
    told: dict[str, Result] = {}
    for r in _explaining_first(report.failures):
        told.setdefault(f"{r.mode} {r.finding}" if r.finding else r.reason, r)
    parts = [evidence(r, EVIDENCE) for r in list(told.values())[:2]]
    if len(told) > 2:
        parts.append(f"\n  … and {len(told) - 2} more: {files or 'report.failures'}")
    scripts = [k for k, r in enumerate(report.failures) if r.finding and r.finding.reproduce]
    if scripts:
        parts.append(
            f"\n  a script that shows it: {files or f'print(report.failures[{scripts[0]}].finding.reproduce)'}"
        )
    return parts


def _open(report: Report) -> list[str]:
    """Where nothing failed: in full what the table cuts short, since it may say what to write."""
    open_ = (Outcome.INCONCLUSIVE, Outcome.ERROR)
    cut = [r for r in _as_one(report.results) if r.outcome in open_ and len(r.reason) > REASON]
    told = {r.reason: evidence(replace(r, reason=r.reason.replace("; ", "\n")), EVIDENCE) for r in reversed(cut)}
    return list(told.values())[::-1][:2]


def table(results: Iterable[Result]) -> str:
    """A row a result."""
    rows = [(r.check, r.mode or "", r.outcome.value, summary(r)) for r in results]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def summary(result: Result) -> str:
    """What was verified at which resolution, or why not, and what was beside it."""
    said = ", ".join(f"{n} {r:.0e}" if r else n for n, r in result.tensors.items())
    if result.outcome is Outcome.PASS:
        return shorten(said + (f" ({result.reason})" if result.reason else ""), 110)
    beside = shorten(said, 50) if result.outcome is Outcome.INCONCLUSIVE else ""
    return shorten(result.reason, REASON) + (f" (verified: {beside})" if beside else "")


def evidence(result: Result, most: int | None = None) -> str:
    """The finding of a failed result, indented under its name; at most so many lines of it."""
    where = f" [{result.mode}]" if result.mode else ""
    lines = (str(result.finding) if result.finding else result.reason).splitlines()
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], f"… and {len(lines) - most + 1} more lines"]
    return "\n".join(["", f"  {result.check}{where}", *(f"    {line}" for line in lines)])


def count_line(reports: Iterable[Report]) -> str:
    """All five outcomes, counted over reports."""
    totals = dict.fromkeys((o.value for o in Outcome), 0)
    for report in reports:
        for name, count in report.counts().items():
            totals[name] += count
    return ", ".join(f"{count} {name}" for name, count in totals.items())
