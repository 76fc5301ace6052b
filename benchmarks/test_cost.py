"""`pytest benchmarks/test_cost.py --benchmark-only`: the full battery on one case of each layer, with its forwards and backwards.

The counts are held to their budgets by tests/unit/core/test_core_cost.py; here they stand beside the time.
"""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

from counted import OWN, battery, cost, plain
from specs import SPECS

from harness.examples.sample import layer_name, modes_of

POINTS = [pytest.param(spec, mode, id=f"{layer_name(spec)}-{mode}") for spec in SPECS for mode in modes_of(spec)]


@pytest.mark.parametrize(("spec", "mode"), POINTS)
def test_battery(benchmark, spec, mode):
    spent, _ = benchmark(cost, spec, mode, plain(spec))
    whole = battery(spent)
    own = {f"{check} forwards": spent[check].forward for check in OWN}
    benchmark.extra_info |= {"forwards": whole.forward, "backwards": whole.backward, **own}
