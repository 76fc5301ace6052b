"""What the full battery costs at one case: forwards and backwards, counted."""

import pytest
import torch
from counted import BATTERY, OWN, SUITE, battery, cost, counting, plain
from specs import SPECS

from harness import Outcome
from harness.sample import layer_name, modes_of
from layers import Tanh

POINTS = [pytest.param(spec, mode, id=f"{layer_name(spec)}-{mode}") for spec in SPECS for mode in modes_of(spec)]


@pytest.mark.parametrize(("spec", "mode"), POINTS)
def test_the_battery_keeps_its_budget(spec, mode):
    spent, found = cost(spec, mode, plain(spec))
    assert set(found.values()) <= {Outcome.PASS, Outcome.SKIP}
    whole = battery(spent)
    assert whole.backward <= whole.forward <= BATTERY, spent
    for check, budget in OWN.items():
        assert spent[check].forward <= budget, (check, spent[check])


def test_every_item_of_the_suite_has_a_ceiling():
    assert {f"{layer_name(spec)}-{mode}" for spec in SPECS for mode in modes_of(spec)} == set(SUITE)


def test_calls_are_counted_from_outside():
    with counting() as calls:
        layer = Tanh()
        layer.backward(layer.forward(torch.ones(2, 3)))
        layer.forward(torch.ones(2, 3))
    assert (calls.forward, calls.backward) == (2, 1)
    layer.forward(torch.ones(2, 3))
    assert calls.forward == 2
