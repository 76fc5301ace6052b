"""What is wrong at special values alone fails `special_values`; what is right there, kinks included, does not."""

import numpy as np
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


class LogCosh:
    """log cosh x, whose forward has few digits left near 0; its wrong twin is off there alone."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, x):
        self.x = x
        return np.log(np.cosh(x))

    def backward(self, d):
        return d * np.tanh(self.x) * np.where(np.abs(self.x) < 1e-4, self.factor, 1.0)


def scaled_down(factor: float, seed: int) -> Outcome:
    spec = LayerSpec(build=lambda: LogCosh(factor), inputs="B D", name="LogCosh")
    return check(spec, examples=8, seed=seed, only=("special_values",)).results[0].outcome


def test_what_a_forward_can_not_express_of_values_scaled_down_does_not_count():
    assert [scaled_down(1.0, seed) for seed in (1, 3)] == [Outcome.PASS] * 2
    assert scaled_down(1.5, 3) is Outcome.FAIL
