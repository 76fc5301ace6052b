"""Every convention's right layers are verified and left as they were, and their wrong twins are failed at the tensor that is wrong.

The twins stand in the table `TWINS` of the file that has the rest of the convention's tests.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from twins import Twins, assert_right_is_verified, assert_wrong_is_named

TABLES: dict[str, dict[str, Twins]] = {
    path.stem.removeprefix("test_conventions_"): getattr(import_module(path.stem), "TWINS", {})
    for path in sorted(Path(__file__).parent.glob("test_conventions_*.py"))
    if path.stem != Path(__file__).stem
}
EVERY = {f"{table}-{name}": twins for table, each in TABLES.items() for name, twins in each.items()}


@pytest.mark.parametrize("twins", EVERY.values(), ids=EVERY)
def test_right_one_is_verified(twins: Twins) -> None:
    assert_right_is_verified(twins)


@pytest.mark.parametrize("twins", EVERY.values(), ids=EVERY)
def test_wrong_twin_is_named(twins: Twins) -> None:
    assert_wrong_is_named(twins)


def test_the_tables_are_found() -> None:
    assert len([table for table in TABLES.values() if table]) >= 10
