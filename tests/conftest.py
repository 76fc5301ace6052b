"""Tests import the installed wheel's `harness`, and `layers` and `report` from the checkout.

The root is appended, not inserted: where a wheel is installed it stays ahead of the checkout's `harness/`.
"""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
for place in (TESTS.parent, TESTS, TESTS / "power"):
    if str(place) not in sys.path:
        sys.path.append(str(place))

pytest_plugins = ["pytester"]
if not any(e.value == "harness.plugin" for e in entry_points(group="pytest11")):
    pytest_plugins.append("harness.plugin")  # a bare checkout: nothing is installed


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "of each test over several cases every PARTS-th case alone, other ones at another commit (default: all)"
    parser.addoption("--parts", type=int, default=1, metavar="PARTS", help=what)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests over several cases are asked in turn: every case has its turn, and each commit asks each test.

    What verifies layers is asked whole.
    """
    from commit import turn
    from turns import left_out

    parts = config.getoption("--parts")
    left = left_out([item.nodeid for item in items if not item.get_closest_marker("gradcheck")], parts, turn(parts))
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
        items[:] = [item for item in items if item.nodeid not in left]
