"""Every wrong formula fails its check, and its right twin passes it at the same seed."""

from functools import cache
from typing import Any

import pytest
from formulas import WRONG
from subjects import spec_of
from wrong import found_by_check

from harness import Outcome, check

SEED = 11
EXAMPLES = 12
IDS = [f"{wrong.__name__}-{name}" for wrong, _, name in WRONG]


@cache
def right_twin(layer: type[Any], name: str) -> set[Outcome]:
    return {r.outcome for r in check(spec_of(layer), examples=EXAMPLES, seed=SEED, only=(name,)).results}


@pytest.mark.parametrize(("wrong", "right", "name"), WRONG, ids=IDS)
def test_wrong_formula_fails_and_its_right_twin_passes(wrong: type[Any], right: type[Any], name: str):
    assert found_by_check(spec_of(wrong), name, SEED)
    twin = right_twin(right, name)
    assert Outcome.PASS in twin
    assert twin <= {Outcome.PASS, Outcome.SKIP}


def test_autograd_is_set_aside_where_the_forward_detaches():
    from formulas import NormDetachedMean

    report = check(spec_of(NormDetachedMean), examples=8, seed=SEED, only=("autograd",))
    assert {r.outcome for r in report.results} == {Outcome.SKIP}
    assert "outside its graph" in report.results[0].reason
