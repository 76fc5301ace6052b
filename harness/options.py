"""The options that the command line and the pytest plugin share: one list, two builders. Loads no torch."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.outcome import SpecError


@dataclass(frozen=True)
class Option:
    """One setting of a run."""

    name: str
    kind: Callable[[str], Any]
    default: Any
    help: str
    metavar: str


CHECKING, LISTING = 300, 20
"""Seconds that a layer may take where nobody says: to be checked, and to be looked at for a list."""


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no whole number") from None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if (number := whole(text)) < 1:
        raise ArgumentTypeError(f"{text} is less than 1")
    return number


megabytes = positive


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        number = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 < number < float("inf"):
        raise ArgumentTypeError(f"{text} is no time that will pass: write seconds, such as 60")
    return number


OPTIONS = (
    Option("examples", positive, 25, "examples in each mode", "N"),
    Option("seed", whole, 0, "seed of everything that is drawn", "N"),
    Option("device", str, "cpu", "torch device to run on", "DEVICE"),
    Option("html", str, None, "write a page with every result to this file", "FILE"),
)
"""Settings of a run of specs: `--NAME` on the command line, `--gradcheck-NAME` and ini `gradcheck_NAME` in pytest."""


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


def usable_device(name: str) -> str:
    """The device's name, once a tensor was put there. Loads torch: only a run that is certain to come calls this.

    Raises:
        SpecError: there is no such device here.
    """
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        raise SpecError(f"device {name!r} can't be used here: {why}") from None
    return name
