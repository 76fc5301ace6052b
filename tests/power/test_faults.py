"""Every fault of the catalogue, in every layer that it can be put into, fails its check; the right twin passes at the same seed."""

from functools import cache

import pytest
from subjects import HAS, spec_with
from wrong import found_by_check

from harness import Outcome, check
from harness.faults import Fault, catalogue

SEED = 3
EXAMPLES = 12
# those that act in one region alone are in test_wrong.py
EVERYWHERE = [f for f in catalogue() if not f.where]
PAIRS = [(fault, layer) for fault in EVERYWHERE for layer, has in HAS.items() if fault.needs in has]


@cache
def right_twin(layer: str, name: str) -> set[Outcome]:
    return {r.outcome for r in check(spec_with(layer, None), examples=EXAMPLES, seed=SEED, only=(name,)).results}


@pytest.mark.parametrize(("fault", "layer"), PAIRS, ids=[f"{f.name}-{layer}" for f, layer in PAIRS])
def test_fault_fails_and_its_right_twin_passes(fault: Fault, layer: str):
    assert found_by_check(spec_with(layer, fault), fault.check, SEED)
    twin = right_twin(layer, fault.check)
    assert Outcome.PASS in twin
    assert twin <= {Outcome.PASS, Outcome.SKIP}


def test_every_fault_is_put_into_some_layer():
    assert {fault.name for fault in EVERYWHERE} == {fault.name for fault, _ in PAIRS}


def test_every_check_has_a_fault():
    from harness.checks import all_checks

    seen = {fault.check for fault in catalogue()} | {"autograd"}  # `autograd` has its own in test_formulas
    assert {c.name for c in all_checks()} <= seen
