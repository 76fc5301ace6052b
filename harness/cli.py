"""The command line: `harness check FILE[:NAME]` and `harness explain CHECK`."""

from __future__ import annotations

import os
import re
import sys
import traceback
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from harness.options import CHECKING, LISTING, add_to_parser, megabytes, positive, seconds
from harness.spelling import meant

_EPILOG = """exit status: 0 verified, 1 a failure, 2 usage, 3 nothing failed but something was not verified,
4 the harness's own error, or a layer that refuses most examples, hangs, exhausts memory or ends the process.
The last line counts all five outcomes."""

_ISOLATED = """Layers run in a process of their own: one that hangs, exhausts memory or crashes costs no other its result.
This isolates faults; it is no sandbox against hostile code, which may do whatever you may."""


_GREEDY = ("--only", "--skip", "--inputs")
"""Options that take every word that follows."""

_FILE = re.compile(r"\.(py|ipynb)(:\w+)?$")


class _Grammar(ArgumentParser):
    """One that says which option has taken the target for a word of its own, and which one a misspelt one may be."""

    known: Sequence[str] = ()
    """The options of its commands."""

    def error(self, message: str) -> NoReturn:
        """End with what is wrong."""
        stranger = re.match(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message)
        if stranger and (said := meant(stranger[1], self.known)):
            message += f"; {said}"
        if stranger := re.match(r"argument command: invalid choice: '(.*?)'", message):
            said = meant(stranger[1], ("check", "explain")) or f"write: harness check {stranger[1]}"
            message += f"; {said}"
        if message.endswith("required: target"):
            message += f"; {', '.join(_GREEDY)} take every word that follows: the target comes first, harness check FILE --only shapes"
        super().error(message)


def targets_first(argv: Sequence[str]) -> list[str]:
    """The words with files that follow an option which takes all words, and that can be none of its own, moved to the front."""
    taking, files, rest = "", list[str](), list[str]()
    for word in argv:
        if word.startswith("-"):
            taking = word if word in _GREEDY else ""
        (files if taking and _FILE.search(word) else rest).append(word)
    return [*rest[:1], *files, *rest[1:]]


def parser() -> ArgumentParser:
    """The command line's grammar."""
    top = _Grammar("harness", description="Decides whether a hand-written backward pass is right.", epilog=_EPILOG)
    commands = top.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "check", help="verify the layers of a file, module or package", description=_ISOLATED, epilog=_EPILOG
    )
    check.add_argument(
        "target",
        nargs="+",
        help="mylayers.py, mylayers.py:InstanceNorm, notebook.ipynb, or an importable module or package",
    )
    check.add_argument("--build", help='how to make the layer where there is no LayerSpec: "InstanceNorm(D)"')
    check.add_argument("--inputs", nargs="+", default=[], metavar="SHAPE", help="\"B D\", or \"ints('B', below='C')\"")
    check.add_argument(
        "--specs",
        metavar="COURSE",
        help="try the specs of this file on the layers of every target: a row for each file and spec, whose `build` "
        "is looked up in the file first",
    )
    check.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="check or group names to run")
    check.add_argument("--skip", nargs="+", default=[], metavar="CHECK", help="check or group names to leave out")
    check.add_argument("--json", metavar="FILE", help="write every result as JSON to this file")
    check.add_argument("--csv", metavar="FILE", help="write a row for every result to this file")
    check.add_argument("--list", action="store_true", help="list the layers and check none")
    check.add_argument(
        "--run-all",
        action="store_true",
        help="run every cell of a notebook (otherwise imports, definitions and the assignments that they use)",
    )
    check.add_argument(
        "--timeout", type=seconds, metavar="SECONDS",
        help=f"for each layer, and for imports (default {CHECKING}; a layer that is only listed {LISTING})",
    )  # fmt: skip
    check.add_argument(
        "--memory", type=megabytes, default=4096, metavar="MB",
        help="what the process of a layer may take, some 300 of it before any layer (default 4096; held on Linux)",
    )  # fmt: skip
    check.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="how many targets are looked at at once (default 1)"
    )
    add_to_parser(check)
    top.known = re.findall(r"--[\w-]+", check.format_usage())
    explain = commands.add_parser("explain", help="what a check does, a layer it catches, what to do on INCONCLUSIVE")
    explain.add_argument("check", nargs="?", metavar="CHECK", help="left out: a line on each")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args(targets_first(sys.argv[1:] if argv is None else argv))
    from harness import command
    from harness.outcome import SpecError

    try:
        status = command.check(arguments) if arguments.command == "check" else command.explain(arguments)
        sys.stdout.flush()
        return status
    except SpecError as error:
        print(f"harness: {error}", file=sys.stderr)
        return command.USAGE
    except BrokenPipeError:  # whoever read has enough, as `| head` has; what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return command.ERROR
    except Exception:
        traceback.print_exc()
        return command.ERROR
