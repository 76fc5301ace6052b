"""Every task is done once, a killed run goes on, what raises is said and not written down, and time is a limit."""

from pathlib import Path

import pytest
from ledger import digest, read, work


def square(x: int) -> int:
    if x < 0:
        raise ValueError(x)
    return x * x


def test_every_task_is_done_once(tmp_path: Path):
    ledger = tmp_path / "book.jsonl"
    tasks = {str(k): (square, k) for k in range(30)}  # more than one portion
    expected = {str(k): k * k for k in range(30)}
    assert work(dict(list(tasks.items())[:7]), 1, ledger) == {str(k): k * k for k in range(7)}
    assert work(tasks, 1, ledger) == expected == read(ledger)
    assert len(ledger.read_text(encoding="utf-8").splitlines()) == 30


def test_what_raises_is_said_and_the_others_are_kept(tmp_path: Path):
    ledger = tmp_path / "book.jsonl"
    with pytest.raises(SystemExit, match="wrong: ValueError: -1"):
        work({"right": (square, 3), "wrong": (square, -1)}, 1, ledger)
    assert read(ledger) == {"right": 9}


def test_no_row_is_begun_after_the_time(tmp_path: Path):
    assert work({"late": (square, 1)}, 1, tmp_path / "book.jsonl", seconds=-1.0) == {}


def test_a_digest_is_of_the_sources():
    assert digest("layers") == digest("layers") != digest("layers", "tests/specs.py")
