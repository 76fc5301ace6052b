"""What is wrong at special values alone fails `special_values`; what is right there, kinks included, does not."""

import pytest
from special_layers import RIGHT, WRONG
from subjects import SPEC

from harness import LayerSpec, Outcome, check
from harness.report import Result

SEED = 11
EXAMPLES = 25


def special(spec: LayerSpec, examples: int = EXAMPLES) -> list[Result]:
    return list(check(spec, examples=examples, seed=SEED, only=("special_values",)).results)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_at_special_values_fails(name: str):
    assert [r.outcome for r in special(WRONG[name])] == [Outcome.FAIL]


@pytest.mark.parametrize("name", RIGHT)
def test_right_at_special_values_is_never_failed(name: str):
    assert {r.outcome for r in special(RIGHT[name], 8)} <= {Outcome.PASS, Outcome.INCONCLUSIVE}


@pytest.mark.parametrize("name", SPEC)
def test_layers_are_verified_at_special_values(name: str):
    assert {r.outcome for r in special(SPEC[name], 8)} == {Outcome.PASS}
