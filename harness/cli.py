"""The command line: `harness check FILE[:NAME]`."""

from __future__ import annotations

import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.options import add_to_parser

if TYPE_CHECKING:
    from harness.report import Report
    from harness.spec import LayerSpec

VERIFIED, FAILED, USAGE, NOT_VERIFIED, ERROR = range(5)

_EPILOG = """exit status: 0 verified, 1 a failure, 2 usage, 3 nothing failed but something was not verified,
4 the harness's own error. The last line counts all five outcomes."""


def parser() -> ArgumentParser:
    """The command line's grammar."""
    top = ArgumentParser(
        "harness", description="Decides whether a hand-written backward pass is right.", epilog=_EPILOG
    )
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="verify the layers of a file, module or package", epilog=_EPILOG)
    check.add_argument("target", help="mylayers.py, mylayers.py:InstanceNorm, or an importable module or package")
    check.add_argument("--build", help='how to make the layer where there is no LayerSpec: "InstanceNorm(D)"')
    check.add_argument("--inputs", nargs="+", default=[], metavar="SHAPE", help="\"B D\", or \"ints('B', below='C')\"")
    check.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="check or group names to run")
    check.add_argument("--skip", nargs="+", default=[], metavar="CHECK", help="check or group names to leave out")
    check.add_argument("--json", metavar="FILE", help="write every result as JSON to this file")
    add_to_parser(check)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working directory, as under `python -m`
    from harness.outcome import SpecError

    try:
        return _check(arguments)
    except SpecError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE
    except (Exception, SystemExit):  # a layer that calls sys.exit(0) has not been verified
        traceback.print_exc()
        return ERROR


def _check(arguments: Namespace) -> int:
    from harness.options import usable_device
    from harness.render.file import ready
    from harness.render.text import count_line

    for path in filter(None, (arguments.json, arguments.html)):
        ready(path)
    usable_device(arguments.device)
    reports = []
    for name, spec in _specs(arguments).items():
        reports.append(_report(name, spec, arguments))
        print(reports[-1], end="\n\n", flush=True)
    _write(arguments, reports)
    print(count_line(reports))
    return status(reports)


def _report(name: str, spec: LayerSpec, arguments: Namespace) -> Report:
    """The layer's report; what is raised instead is the harness's own error, and costs no other layer its result."""
    from harness.api import check
    from harness.outcome import Outcome, SpecError
    from harness.report import Report, Result

    try:
        return check(
            spec, arguments.examples, arguments.seed, arguments.device, only=arguments.only, skip=arguments.skip
        )
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        why = f"check() raised {type(error).__name__}: {error}"
        return Report(name, (Result(name, "check", None, Outcome.ERROR, reason=why),))


def _specs(arguments: Namespace) -> dict[str, LayerSpec]:
    from harness.find import load, spec_from_words, specs_in
    from harness.items import unique_names
    from harness.outcome import SpecError

    module, name = load(arguments.target)
    if arguments.build or arguments.inputs:
        return unique_names([spec_from_words(module, name, arguments.build, arguments.inputs)])
    named = unique_names(specs_in(module))
    if name is not None and name not in named:
        raise SpecError(
            f"{arguments.target}: no LayerSpec named {name!r} (there are {', '.join(named) or 'none'}); to check a "
            f"layer without one write: harness check {arguments.target} --build '{name}(D)' --inputs 'B D'"
        )
    if not named:
        raise SpecError(
            f"{arguments.target} holds no LayerSpec; write: harness check {arguments.target}:MyLayer "
            "--build 'MyLayer(D)' --inputs 'B D'"
        )
    return named if name is None else {name: named[name]}


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
