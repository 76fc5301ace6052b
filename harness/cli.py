"""The command line: `harness check FILE[:NAME]`."""

from __future__ import annotations

import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.options import add_to_parser, megabytes, seconds

if TYPE_CHECKING:
    from harness.job import Job
    from harness.report import Report

VERIFIED, FAILED, USAGE, NOT_VERIFIED, ERROR = range(5)

_EPILOG = """exit status: 0 verified, 1 a failure, 2 usage, 3 nothing failed but something was not verified,
4 the harness's own error, or a layer that refuses most examples, hangs, exhausts memory or ends the process.
The last line counts all five outcomes."""

_ISOLATED = """Layers run in a process of their own: one that hangs, exhausts memory or crashes costs no other its result.
This isolates faults; it is no sandbox against hostile code, which may do whatever you may."""


def parser() -> ArgumentParser:
    """The command line's grammar."""
    top = ArgumentParser(
        "harness", description="Decides whether a hand-written backward pass is right.", epilog=_EPILOG
    )
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="verify the layers of a file, module or package", description=_ISOLATED, epilog=_EPILOG
    )
    check.add_argument("target", help="mylayers.py, mylayers.py:InstanceNorm, or an importable module or package")
    check.add_argument("--build", help='how to make the layer where there is no LayerSpec: "InstanceNorm(D)"')
    check.add_argument("--inputs", nargs="+", default=[], metavar="SHAPE", help="\"B D\", or \"ints('B', below='C')\"")
    check.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="check or group names to run")
    check.add_argument("--skip", nargs="+", default=[], metavar="CHECK", help="check or group names to leave out")
    check.add_argument("--json", metavar="FILE", help="write every result as JSON to this file")
    check.add_argument(
        "--timeout", type=seconds, default=300, metavar="SECONDS", help="for each layer, and for imports (default 300)"
    )
    check.add_argument(
        "--memory", type=megabytes, default=4096, metavar="MB",
        help="what the process of a layer may take, some 300 of it before any layer (default 4096; held on Linux)",
    )  # fmt: skip
    add_to_parser(check)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    from harness.outcome import SpecError

    try:
        return _check(arguments)
    except SpecError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE
    except Exception:
        traceback.print_exc()
        return ERROR


def _check(arguments: Namespace) -> int:
    from harness.render.file import ready
    from harness.render.text import count_line

    for path in filter(None, (arguments.json, arguments.html)):
        ready(path)
    reports = _reports(arguments)
    _write(arguments, reports)
    print(count_line(reports))
    return status(reports)


def _reports(arguments: Namespace) -> list[Report]:
    """The layers' reports in their order, each printed as it comes."""
    from harness.isolate import Limits, results
    from harness.job import Done, Said, Unusable
    from harness.outcome import SpecError

    reports: dict[int, Report] = {}
    for message in results(_job(arguments), Limits(arguments.timeout, arguments.memory)):
        if isinstance(message, Unusable):
            raise SpecError(message.why)
        if isinstance(message, Said):
            print(message.text, file=sys.stderr)
        elif isinstance(message, Done):
            reports[message.index] = message.report
            print(message.report, end="\n\n", flush=True)
    return [reports[k] for k in sorted(reports)]


def _job(arguments: Namespace) -> Job:
    from harness.job import Job

    return Job(
        arguments.target,
        arguments.build,
        tuple(arguments.inputs),
        arguments.examples,
        arguments.seed,
        arguments.device,
        tuple(arguments.only),
        tuple(arguments.skip),
    )


def _write(arguments: Namespace, reports: list[Report]) -> None:
    from harness.render.data import SCHEMA, to_json
    from harness.render.file import write
    from harness.render.html import page

    if arguments.json:
        write(arguments.json, to_json({"schema": SCHEMA, "reports": [r.to_dict() for r in reports]}))
    if arguments.html:
        write(arguments.html, page(reports))


def status(reports: Sequence[Report]) -> int:
    """The exit status that belongs to these reports."""
    totals = [r.counts() for r in reports]
    if any(t["FAIL"] for t in totals):
        return FAILED
    if any(t["ERROR"] for t in totals):
        return ERROR
    return VERIFIED if all(r.ok for r in reports) else NOT_VERIFIED
