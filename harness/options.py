"""The options that the command line and the pytest plugin share: one list, two builders. Loads no torch."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """One setting of a run."""

    name: str
    kind: type
    default: Any
    help: str
    metavar: str


OPTIONS = (
    Option("examples", int, 25, "examples in each mode", "N"),
    Option("seed", int, 0, "seed of everything that is drawn", "N"),
    Option("device", str, "cpu", "torch device to run on", "DEVICE"),
    Option("html", str, None, "write a page with every result to this file", "FILE"),
)
"""Settings of a run of specs; as `--NAME` on the command line, as `--gradcheck-NAME` and ini `gradcheck_NAME` in pytest."""


def add_to_parser(parser: ArgumentParser) -> None:
    """The options as arguments of the command line."""
    for o in OPTIONS:
        shown = f"{o.help} (default {o.default})" if o.default is not None else o.help
        parser.add_argument(f"--{o.name}", type=o.kind, default=o.default, help=shown, metavar=o.metavar)


def add_to_pytest(parser: Any) -> None:
    """The options as pytest's, each also an ini key."""
    group = parser.getgroup("gradcheck", "gradient verification")
    for o in OPTIONS:
        group.addoption(f"--gradcheck-{o.name}", type=o.kind, default=None, help=o.help, metavar=o.metavar)
        parser.addini(f"gradcheck_{o.name}", o.help, default=None)
    parser.addini("gradcheck_inconclusive", "what an inconclusive result does: fail (default) or skip", default="fail")
