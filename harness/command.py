"""`harness check` and `harness explain`: runs jobs, prints reports as they come, writes what was asked for. Loads no torch."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace
from textwrap import shorten

from tabulate import tabulate

from harness.explain import explained, explanation, summary
from harness.options import CHECKING, LISTING
from harness.outcome import SpecError
from harness.processes.isolate import Limits, several
from harness.processes.job import Done, Job, Left, LeftOut, Listed, Message, Said, Unusable, files_of
from harness.render.data import SCHEMA, report_to_dict, to_json
from harness.render.file import ready, write
from harness.render.html import page
from harness.render.rows import to_csv
from harness.render.text import count_line, one_line, report_text
from harness.report import Report, ended

VERIFIED, FAILED, USAGE, NOT_VERIFIED, ERROR = range(5)


def check(arguments: Namespace) -> int:
    """Check every target, or list its layers; the exit status."""
    for path in filter(None, (arguments.json, arguments.csv, arguments.html)):
        ready(path)
    arguments.target = [file for target in arguments.target for file in files_of(target)]
    if arguments.specs and (arguments.build or arguments.inputs):
        raise SpecError("--specs says how layers are made and called: leave out --build and --inputs")
    if arguments.run_all and not any(".ipynb" in target for target in arguments.target):
        raise SpecError("--run-all is for notebooks: there is no .ipynb among the targets")
    if arguments.list:
        return _list(arguments)
    reports: list[tuple[str, Report]] = []
    left: list[tuple[str, Left]] = []
    out: list[tuple[str, LeftOut]] = []
    for target, rows in _rows(arguments):
        of_target: dict[int, Report] = {}
        for row in rows:
            if isinstance(row, Left):
                left.append((target, row))
            elif isinstance(row, LeftOut):
                out.append((target, row))
            else:
                of_target[row.index] = row.report
                _show(arguments, target, row.report)
        reports += [(target, of_target[k]) for k in sorted(of_target)]
    _tell([row for _, row in left])
    _write(arguments, reports, left, out)
    print(count_line(report for _, report in reports))
    in_part = any(_job(arguments, target).is_script for target, _ in out)
    return status([report for _, report in reports], bool(left) or in_part)


def _show(arguments: Namespace, target: str, report: Report) -> None:
    """The report; of specs tried on many files a line."""
    if arguments.specs:
        width = max(map(len, arguments.target))
        print(f"{target:<{width}}  {one_line(report)}", flush=True)
    else:
        files = ", ".join(filter(None, (arguments.html, arguments.json))) or "--html FILE or --json FILE"
        print(report_text(_headed(arguments, target, report), files), end="\n\n", flush=True)


def _tell(left: Sequence[Left]) -> None:
    """The layers that were found and not checked, each with the command that checks it."""
    for row in left:
        if "\n" in row.why:  # what to write instead
            print(f"{row.label}: NOT CHECKED, {row.why}", end="\n\n")
            continue
        print(
            f"{row.label}: NOT CHECKED, it has no LayerSpec and can't be tried out ({shorten(row.why, 160)}); write, say"
        )
        print(f"  {row.command}", end="\n\n")


def explain(arguments: Namespace) -> int:
    """Tell what a check does, or a line on each of a group or of all; the exit status."""
    check = arguments.check
    print(explanation(check, {} if check in explained() else _groups()) if check else summary())
    return VERIFIED


def _groups() -> dict[str, list[str]]:
    """{group: its checks}, as the checks themselves say, which load torch."""
    from harness.checks import all_checks

    groups: dict[str, list[str]] = {}
    for check in all_checks():
        groups.setdefault(check.group, []).append(check.name)
    return dict(sorted(groups.items()))


def _list(arguments: Namespace) -> int:
    rows: list[tuple[str, str, str]] = []
    for target, messages in _messages(arguments):
        for m in messages:
            if isinstance(m, Listed):
                rows.append((target, m.label, m.how))
            elif isinstance(m, Left):
                rows.append((target, m.label, f"not without words of yours: {_first_line(m.why) or m.command}"))
            elif isinstance(m, Done):
                rows.append((target, m.report.layer, m.report.results[0].reason))
            elif isinstance(m, Unusable):
                rows.append((target, "", m.why))
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    return VERIFIED


def _first_line(why: str) -> str:
    """Of what is said in several lines."""
    return why.partition(". Write")[0] if "\n" in why else ""


def _rows(arguments: Namespace) -> Iterator[tuple[str, Iterator[Done | Left | LeftOut]]]:
    """Each target with the reports of its layers; of one that can't be used, that."""
    for target, messages in _messages(arguments):
        yield target, _reported(target, messages)


def _reported(target: str, messages: Iterator[Message]) -> Iterator[Done | Left | LeftOut]:
    for message in messages:
        if isinstance(message, (Done, Left, LeftOut)):
            yield message
        elif isinstance(message, Unusable):
            yield Done(0, ended(target, "import", message.why))


def _messages(arguments: Namespace) -> Iterator[tuple[str, Iterator[Message]]]:
    """Each target with what its children say of it."""
    jobs = [_job(arguments, target) for target in arguments.target]
    said = several(jobs, _limits(arguments), arguments.jobs)
    for target, messages in zip(arguments.target, said, strict=True):
        yield target, _told(arguments, messages)


def _told(arguments: Namespace, messages: Iterator[Message]) -> Iterator[Message]:
    """What the children say of one target; what is for the terminal goes there.

    Raises:
        SpecError: the target can't be checked as it stands.
    """
    told: set[object] = set()
    for message in messages:
        if isinstance(message, LeftOut):  # each child of the target says it anew
            if message in told:
                continue
            told.add(message)
            print(f"harness: {message.why}", file=sys.stderr)
        if isinstance(message, Unusable) and (message.option or not _several(arguments)):
            raise SpecError(message.why)
        if isinstance(message, Said):
            print(message.text, file=sys.stderr)
        yield message


def _limits(arguments: Namespace) -> Limits:
    usual = LISTING if arguments.list else CHECKING
    return Limits(arguments.timeout or usual, arguments.memory, arguments.timeout or CHECKING)


def _job(arguments: Namespace, target: str) -> Job:
    return Job(
        target,
        arguments.build,
        tuple(arguments.inputs),
        arguments.examples,
        arguments.seed,
        arguments.device,
        _words(arguments.only),
        _words(arguments.skip),
        arguments.list,
        arguments.run_all,
        arguments.specs,
    )


def _words(given: Sequence[str]) -> tuple[str, ...]:
    """Names, also where commas part them."""
    return tuple(word for words in given for word in words.split(",") if word)


def _headed(arguments: Namespace, target: str, report: Report) -> Report:
    """The report; among those of several targets it says whose it is."""
    return replace(report, layer=f"{target}: {report.layer}") if _several(arguments) else report


def _several(arguments: Namespace) -> bool:
    """Whether a report must say which target it is of."""
    return len(arguments.target) > 1 or arguments.specs is not None


def _write(
    arguments: Namespace,
    reports: Sequence[tuple[str, Report]],
    left: Sequence[tuple[str, Left]],
    out: Sequence[tuple[str, LeftOut]],
) -> None:
    if arguments.json:
        data = [{**report_to_dict(r), **({"target": target} if _several(arguments) else {})} for target, r in reports]
        unchecked = [{"target": t, "layer": row.label, "why": row.why, "command": row.command} for t, row in left]
        missing = [{"target": t, "why": row.why} for t, row in out]
        beside = {"not_checked": unchecked, "left_out": missing}
        write(arguments.json, to_json({"schema": SCHEMA, "reports": data, **{k: v for k, v in beside.items() if v}}))
    if arguments.csv:
        write(arguments.csv, to_csv(reports))
    if arguments.html:
        write(arguments.html, page([_headed(arguments, target, report) for target, report in reports]))


def status(reports: Sequence[Report], left: bool = False) -> int:
    """The exit status that belongs to these reports; `left`: there is what was not checked."""
    totals = [r.counts() for r in reports]
    if any(t["FAIL"] for t in totals):
        return FAILED
    if any(t["ERROR"] for t in totals):
        return ERROR
    return VERIFIED if reports and not left and all(r.ok for r in reports) else NOT_VERIFIED
