"""The matrix fault × check as it is committed: enough faults that count, none that escapes, and the same catalogue as now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from invisible import INVISIBLE
from matrix import failing
from matrix_page import page, summary
from rows import GROUPS, RESCALING, by_check, counted, differ, layers_failing, missed
from subjects import HAS

from harness.faults import catalogue

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MATRIX = json.loads((HERE / "results" / "matrix.json").read_text(encoding="utf-8"))
ROWS, SEEDS = MATRIX["faults"], MATRIX["seeds"]
COUNTED = counted(ROWS, SEEDS)


def test_at_least_eighty_faults_count():
    assert len(COUNTED) >= 80


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_at_least_eight_that_count(group: str):
    assert sum(row["group"] == group for row in COUNTED) >= 8


def test_at_most_three_of_them_only_rescale():
    assert sum(row["rescales"] for row in COUNTED) <= RESCALING


def test_the_file_is_of_this_catalogue():
    now = {(f.name, f.group, f.check, f.rescales) for f in catalogue()}
    assert {(r["fault"], r["group"], r["check"], r["rescales"]) for r in ROWS} == now
    assert {r["fault"] for r in MATRIX["invisible"]} == {f.name for f in INVISIBLE}


def test_right_twins_were_not_failed():
    assert MATRIX["right"] == {layer: {} for layer in HAS}


def test_no_fault_escapes_the_check_that_must_see_it():
    assert missed(ROWS, SEEDS) == []


def test_what_no_check_sees_was_seen_by_none():
    assert [r["fault"] for r in MATRIX["invisible"] if any(r["failed"].values())] == []


@pytest.mark.parametrize("fault", INVISIBLE, ids=lambda f: f.name)
def test_and_is_not_seen_now(fault: Any):
    assert failing("Tanh", fault.name, 0) == []


def test_the_pages_are_of_the_file():
    assert (ROOT / "docs" / "power.md").read_text(encoding="utf-8") == page(MATRIX)
    assert summary(MATRIX) in (ROOT / "README.md").read_text(encoding="utf-8")


# What the counting does with rows that are the same, and with mere factors


def fault(name: str, rescales: bool = False, **failed: dict[str, int]) -> dict[str, Any]:
    return {"fault": name, "group": "gradient", "check": "a", "rescales": rescales, "failed": failed}


def test_rows_that_chance_alone_tells_apart_are_one():
    steady, chance = fault("steady", L={"a:train": 2}), fault("chance", L={"a:train": 2, "b:train": 1})
    assert not differ(steady, chance, 2)
    assert [r["fault"] for r in counted([steady, chance], 2)] == ["steady"]
    assert differ(steady, fault("other", L={"a:train": 2, "b:train": 2}), 2)
    assert differ(steady, fault("elsewhere", M={"a:train": 2}), 2)


def test_factors_beyond_three_do_not_count():
    factors = [fault(str(k), rescales=True, L={f"{k}:train": 1}) for k in range(5)]
    assert [r["fault"] for r in counted(factors, 1)] == ["0", "1", "2"]


def test_a_fault_that_one_seed_misses_is_missed():
    row = fault("chance", L={"a:train": 1, "a:eval": 1}, M={"a:train": 2})
    assert missed([row], 2) == [("chance", "L", "a")]
    assert layers_failing(row, "a", 2) == ["M"]
    assert by_check(row, 2) == {"a"}
