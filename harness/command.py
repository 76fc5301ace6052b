"""`harness check`: runs the jobs, prints reports as they come, writes the files that were asked for. Loads no torch."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tabulate import tabulate

from harness.isolate import Limits, ended, results
from harness.job import Done, Job, Listed, Said, Unusable
from harness.outcome import SpecError
from harness.render.data import SCHEMA, report_to_dict, to_json
from harness.render.file import ready, write
from harness.render.html import page
from harness.render.rows import to_csv
from harness.render.text import count_line
from harness.report import Report

VERIFIED, FAILED, USAGE, NOT_VERIFIED, ERROR = range(5)


def check(arguments: Namespace) -> int:
    """Check every target, or list its layers; the exit status."""
    for path in filter(None, (arguments.json, arguments.csv, arguments.html)):
        ready(path)
    if arguments.list:
        return _list(arguments)
    reports: list[tuple[str, Report]] = []
    for target in arguments.target:
        of_target: dict[int, Report] = {}
        for done in _done(arguments, target):
            of_target[done.index] = done.report
            print(_headed(arguments, target, done.report), end="\n\n", flush=True)
        reports += [(target, of_target[k]) for k in sorted(of_target)]
    _write(arguments, reports)
    print(count_line(report for _, report in reports))
    return status([report for _, report in reports])


def _list(arguments: Namespace) -> int:
    found = [(target, m) for target in arguments.target for m in _messages(arguments, target) if isinstance(m, Listed)]
    print(tabulate([(target, m.label, m.how) for target, m in found], tablefmt="plain", disable_numparse=True))
    return VERIFIED


def _done(arguments: Namespace, target: str) -> Iterator[Done]:
    """The reports of a target; of one that can't be used, that."""
    for message in _messages(arguments, target):
        if isinstance(message, Done):
            yield message
        elif isinstance(message, Unusable):
            yield Done(0, ended(target, "import", message.why))


def _messages(arguments: Namespace, target: str) -> Iterator[object]:
    """What the child says of a target; what is for the terminal goes there.

    Raises:
        SpecError: the target can't be checked as it stands.
    """
    for message in results(_job(arguments, target), Limits(arguments.timeout, arguments.memory)):
        if isinstance(message, Unusable) and (message.option or len(arguments.target) == 1):
            raise SpecError(message.why)
        if isinstance(message, Said):
            print(message.text, file=sys.stderr)
        yield message


def _job(arguments: Namespace, target: str) -> Job:
    return Job(
        target,
        arguments.build,
        tuple(arguments.inputs),
        arguments.examples,
        arguments.seed,
        arguments.device,
        tuple(arguments.only),
        tuple(arguments.skip),
        arguments.list,
        arguments.run_all,
    )


def _headed(arguments: Namespace, target: str, report: Report) -> Report:
    """The report; among those of several targets it says whose it is."""
    return replace(report, layer=f"{target}: {report.layer}") if len(arguments.target) > 1 else report


def _write(arguments: Namespace, reports: Sequence[tuple[str, Report]]) -> None:
    if arguments.json:
        several = len(arguments.target) > 1
        data = [{**report_to_dict(r), **({"target": target} if several else {})} for target, r in reports]
        write(arguments.json, to_json({"schema": SCHEMA, "reports": data}))
    if arguments.csv:
        write(arguments.csv, to_csv(reports))
    if arguments.html:
        write(arguments.html, page([_headed(arguments, target, report) for target, report in reports]))


def status(reports: Sequence[Report]) -> int:
    """The exit status that belongs to these reports."""
    totals = [r.counts() for r in reports]
    if any(t["FAIL"] for t in totals):
        return FAILED
    if any(t["ERROR"] for t in totals):
        return ERROR
    return VERIFIED if all(r.ok for r in reports) else NOT_VERIFIED
