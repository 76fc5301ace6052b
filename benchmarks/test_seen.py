"""The table of who sees what: its page is of its file, its faults are the catalogue's, and its sharpest rows hold today."""

import json
from pathlib import Path

import pytest

from benchmarks.checkers_seen import ROOT, row
from benchmarks.seen_page import page, summary
from harness.faults import catalogue

RESULTS = Path(__file__).parent / "results"
FOUND = json.loads((RESULTS / "seen.json").read_text(encoding="utf-8"))


def test_pages_are_of_the_file():
    assert (RESULTS / "seen.md").read_text(encoding="utf-8") == page(FOUND)
    assert summary(FOUND) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_file_is_of_this_catalogue():
    assert FOUND["faults"].keys() == {f.name for f in catalogue()}


@pytest.mark.parametrize("fault", ["cotangent_absolute", "cotangent_clamped_beyond_2", "reads_unwritten_memory"])
def test_what_the_peers_pass_and_the_battery_does_not(fault):
    by = row(fault, "Tanh")["by"]
    assert by["slow"] == by["fast"] == "passed"
    assert by["battery"] == "seen"


def test_what_everyone_sees():
    assert set(row("input_zero", "Tanh")["by"].values()) == {"seen"}
