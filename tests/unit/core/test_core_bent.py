"""Functions whose slope has a kink and which have none themselves: relu² at 0, and what is smooth on one side only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import LayerSpec, Outcome, check, gradcheck
from harness.oracles.stencil import Stencil


class Elementwise:
    """f of NumPy, which no autograd follows, and its slope; `at_zero` is added to that where x is 0."""

    def __init__(self, f: Callable[[Any], Any], slope: Callable[[Any], Any], at_zero: float = 0.0) -> None:
        self.f, self.slope, self.at_zero = f, slope, at_zero

    def forward(self, x: Any) -> Any:
        self.x = x
        return self.f(x)

    def backward(self, d: Any) -> Any:
        return d * (self.slope(self.x) + self.at_zero * (self.x == 0))


BENT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "relu squared": (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "x |x|": (lambda x: x * np.abs(x), lambda x: 2 * np.abs(x)),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    ),
    "huber": (lambda x: np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5), lambda x: np.clip(x, -1, 1)),
}


@pytest.mark.parametrize(("f", "slope"), BENT.values(), ids=BENT)
@pytest.mark.parametrize("seed", [0, 1])
def test_right_ones_are_verified_at_special_values(f, slope, seed):
    spec = LayerSpec(lambda: Elementwise(f, slope), inputs="B D", name="Bent")
    report = check(spec, seed=seed, only=("input_gradient", "special_values"))
    assert {r.check: r.outcome for r in report.results} == {
        "input_gradient": Outcome.PASS,
        "special_values": Outcome.PASS,
    }


@pytest.mark.parametrize(("f", "slope"), list(BENT.values())[:3], ids=list(BENT)[:3])
def test_wrong_ones_are_failed_where_the_slope_has_its_kink(f, slope):
    at = np.array([[0.0, 1.3, -0.7], [2.1, 0.0, -0.4]])
    assert gradcheck(Elementwise(f, slope), at).ok
    report = gradcheck(Elementwise(f, slope, at_zero=1e-3), at, raise_exception=False)
    (failed,) = report.failures
    assert failed.finding is not None
    assert failed.finding.where[1] in ((0, 0), (1, 1))
    spec = LayerSpec(lambda: Elementwise(f, slope, at_zero=1e-3), inputs="B D", name="Bent")
    assert [r.check for r in check(spec, examples=6, only=("special_values",)).failures] == ["special_values"]


def stencil(f: Callable[[Tensor], Tensor], t: float) -> Stencil:
    return Stencil(lambda k: f(torch.tensor([k * t], dtype=torch.float64)), torch.zeros(1).double(), torch.ones(1).double(),
                   torch.zeros(1).double(), 2.0**-53, t)  # fmt: skip


@pytest.mark.parametrize("p", [1.7, 1.8, 2.0, 2.2, 2.3])
@pytest.mark.parametrize("left", [0.0, -1.0, -0.5])
def test_the_bound_holds_for_slopes_like_powers(p, left):
    """The derivative of x^p at 0, another multiple of it to the left, is 0."""
    for t in (1.0, 1e-3, 1e-6):
        seen = stencil(lambda x: torch.where(x > 0, 1.0, left) * x.abs() ** p, t)
        assert 0 < abs(float(seen.value)) <= float(seen.error) < 10 * t ** (p - 1)


def test_a_kink_and_a_root_have_no_slope():
    assert float(stencil(torch.relu, 1e-3).error) == float("inf")
    assert float(stencil(lambda x: x.sign() * x.abs().sqrt(), 1e-3).error) == float("inf")
