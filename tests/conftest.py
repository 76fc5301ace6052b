"""Tests import the installed wheel's `harness`, and `layers` and `report` from the checkout.

The root is appended, not inserted: where a wheel is installed it stays ahead of the checkout's `harness/`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

pytest_plugins = ["pytester"]
