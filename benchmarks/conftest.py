"""Benchmarks import `layers` and each other from the checkout; an installed wheel's `harness` stays ahead of it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
