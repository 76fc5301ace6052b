"""What the full battery costs at one case: forwards and backwards, counted."""

import pytest
import torch
from counted import BATTERY, OWN, SUITE, battery, cost, counting, plain
from specs import SPECS

from harness import Outcome
from harness.case import Case
from harness.examples.cases import case_of
from harness.examples.sample import layer_name, modes_of
from harness.oracles.budget import Budget, Spent
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


BESIDE = {("MLPWithBatchNormAndDropout", "train"): (0, 24), ("MLPWithBatchNormAndDropout", "eval"): (15,)}
"""Seeds at whose special points small blocks beside large ones, and what saturates, took 49 to 77 forwards."""


@pytest.mark.parametrize(("name", "mode"), BESIDE)
def test_special_points_keep_their_budget_where_autograd_agrees(name, mode):
    spec = next(s for s in SPECS if layer_name(s) == name)
    for seed in BESIDE[name, mode]:
        spent, found = cost(spec, mode, plain(spec, seed))
        assert found["special_values"] is Outcome.PASS
        assert spent["special_values"].forward <= OWN["special_values"]


def budget_of(enough: bool) -> tuple[Budget, Case]:
    spec = next(s for s in SPECS if layer_name(s) == "Tanh")
    case, _ = case_of(spec, plain(spec), "train", torch.device("cpu"), None)
    budget = Budget(3)
    counted = budget.of(case)
    budget.enough = lambda: enough
    return budget, counted


def test_a_budget_ends_where_what_is_known_is_enough():
    _, case = budget_of(True)
    for _ in range(3):
        case.fresh()
    with pytest.raises(Spent):
        case.fresh()


def test_a_budget_does_not_end_where_something_is_open():
    budget, case = budget_of(False)
    for _ in range(5):
        case.fresh()
    assert budget.left == -2
