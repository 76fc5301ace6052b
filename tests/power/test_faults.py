"""Every fault of the catalogue, in every layer that it can be put into (half of the pairs, the other half at another commit), fails its
check; the right twin passes at the same seed."""

from functools import cache

import pytest
from commit import turn
from subjects import HAS, spec_with

from harness import Outcome, check
from harness.faults import Fault, catalogue

SEED = 3
EXAMPLES = 12
# those that act in one region alone are in test_wrong.py
EVERYWHERE = [f for f in catalogue() if not f.where]
PAIRS = [(fault, layer) for fault in EVERYWHERE for layer, has in HAS.items() if fault.needs in has]
HALF = PAIRS[turn(2) :: 2]


def outcomes(layer: str, fault: Fault | None, name: str) -> list[Outcome]:
    report = check(spec_with(layer, fault), examples=EXAMPLES, seed=SEED, only=(name,))
    return [r.outcome for r in report.results]


@cache
def right_twin(layer: str, name: str) -> list[Outcome]:
    return outcomes(layer, None, name)


@pytest.mark.parametrize(("fault", "layer"), HALF, ids=[f"{f.name}-{layer}" for f, layer in HALF])
def test_fault_fails_and_its_right_twin_passes(fault: Fault, layer: str):
    assert Outcome.FAIL in outcomes(layer, fault, fault.check)
    twin = right_twin(layer, fault.check)
    assert Outcome.PASS in twin
    assert set(twin) <= {Outcome.PASS, Outcome.SKIP}


def test_every_fault_is_put_into_some_layer():
    assert {fault.name for fault in EVERYWHERE} == {fault.name for fault, _ in PAIRS}


def test_every_check_has_a_fault():
    from harness.checks import all_checks

    seen = {fault.check for fault in catalogue()} | {"autograd"}  # `autograd` has its own in test_formulas
    assert {c.name for c in all_checks()} <= seen
