"""A wrong layer's second point: what the report says of it, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import gradcheck

pytestmark = pytest.mark.usefixtures("diagnosed")

X = np.random.default_rng(0).normal(size=(5, 3, 4))


class Recurrent:
    """h = tanh(x W + h U + b), whose b is constant, so that it is judged at a second point."""

    def __init__(self, fault: str = "") -> None:
        rng = np.random.default_rng(1)
        self.W, self.U, self.b = 0.5 * rng.normal(size=(4, 3)), 0.5 * rng.normal(size=(3, 3)), np.zeros(3)
        self.fault, self.forwards = fault, [0]

    def __deepcopy__(self, memo: Any) -> Recurrent:
        copied = Recurrent(self.fault)
        copied.forwards = self.forwards
        return copied

    def forward(self, x: Any) -> Any:
        self.forwards[0] += 1
        self.x, self.h = x, [np.zeros((x.shape[1], 3))]
        for at in x:
            self.h.append(np.tanh(at @ self.W + self.h[-1] @ self.U + self.b))
        return np.stack(self.h[1:])

    def backward(self, dout: Any) -> Any:
        self.dW, self.dU, self.db = np.zeros_like(self.W), np.zeros_like(self.U), np.zeros_like(self.b)
        dx, dh = np.zeros_like(self.x), 0.0
        for t in reversed(range(len(dout))):
            da = (dout[t] + dh) * (1 - self.h[t + 1] ** 2)
            dx[t], dh = da @ self.W.T, (0.0 if self.fault == "cut" else da @ self.U.T)
            self.dW, self.dU, self.db = self.dW + self.x[t].T @ da, self.dU + self.h[t].T @ da, self.db + da.sum(0)
        if self.fault == "U":
            self.dU = 1.5 * self.dU
        if self.fault == "at the echo":  # where b is not constant
            dx = dx * (1 + (self.b.std() > 0))
        return dx


def reasons(fault: str) -> tuple[dict[str, str], int]:
    layer = Recurrent(fault)
    report = gradcheck(layer, X, raise_exception=False)
    return {r.check: r.reason for r in report.failures}, layer.forwards[0]


def test_both_points_are_counted():
    found, _ = reasons("cut")
    assert found.keys() == {"input_gradient", "parameter_gradient"}
    assert all(why.endswith("(2 of 2 examples)") for why in found.values())
    assert all(f"{n}: " in found["parameter_gradient"] for n in "WUb")


def test_what_shows_at_the_second_point_alone_is_found():
    found, _ = reasons("at the echo")
    assert found.keys() == {"input_gradient"}
    assert found["input_gradient"].endswith("(1 of 2 examples)")


def test_right_tensors_are_judged_at_both_points():
    layer = Recurrent("U")
    report = gradcheck(layer, X, raise_exception=False)
    (failed,) = report.failures
    assert (failed.check, failed.finding.diagnosis) == (
        "parameter_gradient",
        ("every entry is the same multiple of what it should be: 1.5 times (x.shape[1]/(x.shape[1]-1) here)",),
    )
    assert next(r for r in report.results if r.check == "input_gradient").examples == 2


@pytest.mark.parametrize(("fault", "most"), [("cut", 4700), ("U", 5050)])
def test_a_wrong_layer_costs_no_more(fault, most):
    assert reasons(fault)[1] <= most
