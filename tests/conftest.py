"""Tests import the installed wheel's `harness`, and `layers` and `report` from the checkout.

The root is appended, not inserted: where a wheel is installed it stays ahead of the checkout's `harness/`.
"""

import sys
from importlib.metadata import entry_points
from pathlib import Path

TESTS = Path(__file__).resolve().parent
for place in (TESTS.parent, TESTS, TESTS / "power"):
    if str(place) not in sys.path:
        sys.path.append(str(place))

pytest_plugins = ["pytester"]
if not any(e.value == "harness.plugin" for e in entry_points(group="pytest11")):
    pytest_plugins.append("harness.plugin")  # a bare checkout: nothing is installed
