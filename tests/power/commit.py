"""The tree that a result is of, and which part of a campaign the tests run: another one at each commit."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


def tree() -> str:
    """The commit that is checked out, "-dirty" after it where files differ from it; empty where there is no git."""
    ask = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(ask, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache
def head() -> int:
    """The commit that is checked out as a number, 0 where there is no git."""
    ask = ["git", "rev-parse", "HEAD"]
    try:
        said = subprocess.run(ask, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(said, 16)


def turn(parts: int) -> int:
    """Which of so many parts."""
    return head() % parts
