"""What discovery costs, and what it remembers."""

from __future__ import annotations

from functools import wraps
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import gradcheck
from harness.reading.signatures import parameters_of
from harness.request import Request
from harness.state.stateful import Stateful

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Scaled:
    """y = factor · γ x: parameters in dicts, a list anew at each forward, and an array beside the dicts."""

    factor: Any = 2.0

    def __init__(self) -> None:
        self.params = {"gamma": torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)}
        self.grads = {"gamma": torch.zeros(3, dtype=torch.float64)}
        self.forwards = 0

    def zero_grad(self) -> None:
        self.grads["gamma"].zero_()

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        self.x, self.kept = x, [x.shape, 0]
        return self.factor * self.params["gamma"] * x

    def backward(self, v: Tensor) -> Tensor:
        self.grads["gamma"] += (self.factor * self.x * v).sum(0)
        return self.factor * self.params["gamma"] * v


class Overlooked(Scaled):
    """Its factor is an array that is in no dict."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.full((3,), 2.0, dtype=torch.float64)


def test_discovery_of_dicts_takes_three_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, forward = [0], Scaled.forward

    def counting(self: Scaled, x: Tensor) -> Tensor:
        calls[0] += 1
        return forward(self, x)

    monkeypatch.setattr(Scaled, "forward", counting)
    assert gradcheck(Scaled(), X).ok
    # a decoy, one on the inputs given, one with what it left moved; then base, two of a difference and autograd's own
    assert calls[0] == 3 + 4


def test_what_the_one_look_shows_to_matter_is_named() -> None:
    report = gradcheck(Overlooked(), X, raise_exception=False)
    assert not report.ok
    assert "factor" in str(report)


class Turning:
    """y = 2x, and where `pair` is set 3x beside it, whose cotangent backward takes `factor` times."""

    def __init__(self, pair: bool = False, factor: float = 3.0) -> None:
        self.pair, self.factor = pair, factor

    def forward(self, x: Tensor) -> Any:
        return (2 * x, 3 * x) if self.pair else 2 * x

    def backward(self, v: Tensor, w: Tensor | None = None) -> Tensor:
        return 2 * v if w is None else 2 * v + self.factor * w


def test_a_forward_that_turns_from_one_output_to_two_and_back_is_sorted_anew() -> None:
    state = Stateful.of(Request(Turning(), (X,)))
    for pair in (False, False, True, True, False):
        state.layer.pair = pair
        assert len(state.forward({"x": X}, None)) == state.given == 1 + pair
        torch.testing.assert_close(state.pull([X] * (1 + pair))["x"], (2 + 3 * pair) * X)
    assert gradcheck(Turning(pair=True), X).ok
    assert not gradcheck(Turning(pair=True, factor=2.0), X, raise_exception=False).ok


def _wrapped(function: Any) -> Any:
    @wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


def _plain(function: Any) -> Any:
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


@pytest.mark.parametrize(("wrap", "names"), [(_wrapped, ["x", "y"]), (_plain, ["args"])])
def test_a_wrapped_method_asks_for_what_is_inside(wrap: Any, names: list[str]) -> None:
    class Layer:
        @wrap
        def forward(self, x: Any, y: Any) -> Any: ...

    for _ in range(2):  # found, then remembered
        assert [p.name for p in parameters_of(Layer().forward)] == names


def test_a_kept_normal_deviate_is_given_back_after_a_run_that_was_remembered() -> None:
    np.random.seed(3)  # noqa: NPY002
    assert gradcheck(Scaled(), X).ok
    np.random.standard_normal()  # noqa: NPY002  (keeps a second one)
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    assert gradcheck(Scaled(), X).ok
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert (after["has_gauss"], after["gauss"]) == (state["has_gauss"], state["gauss"])
    assert (after["state"]["key"] == state["state"]["key"]).all()


class Halved:
    """y = x W / 2, W/2 kept under a name that differs from the parameter's by its case alone."""

    def __init__(self, factor: float = 0.5) -> None:
        self.W, self.factor = np.random.default_rng(0).normal(size=(3, 2)), factor

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x, self.w = x, self.W / 2
        return x @ self.w

    def backward(self, d: np.ndarray) -> np.ndarray:
        self.dW = self.factor * self.x.T @ d
        return d @ self.w.T


def test_a_gradient_belongs_to_what_the_output_depends_on() -> None:
    report = gradcheck(Halved(), X.numpy(), raise_exception=False, battery=True)
    assert report.ok
    assert {n for r in report.results if r.check == "parameter_gradient" for n in r.tensors} == {"W"}
    # were it held to be the gradient of w, this would be right
    failed = gradcheck(Halved(1.0), X.numpy(), raise_exception=False).failures
    assert [(r.check, r.finding.where[0]) for r in failed if r.finding] == [("parameter_gradient", "W")]


class Recurrent:
    """Its first hidden state is zeros that each forward makes anew; backward leaves the gradient of it for whoever asks."""

    factor = 1.0

    def __init__(self):
        rng = np.random.default_rng(0)
        self.U, self.W = rng.normal(size=(3, 4)), rng.normal(size=(4, 4))

    def forward(self, x):
        h = np.zeros((len(x), 4))
        self.x, self.h_init, self.h = x, h, [h]
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] @ self.U + h @ self.W)
            self.h.append(h)
        return h

    def backward(self, dh):
        self.dU, self.dW, dx = np.zeros_like(self.U), np.zeros_like(self.W), np.zeros_like(self.x)
        for t in reversed(range(self.x.shape[1])):
            dz = dh * (1 - self.h[t + 1] ** 2)
            self.dU += self.x[:, t].T @ dz
            self.dW += self.factor * self.h[t].T @ dz
            dx[:, t], dh = dz @ self.U.T, dz @ self.W.T
        self.dh_init = dh
        return dx


def test_zeros_that_each_forward_makes_anew_are_no_parameter():
    x = np.random.default_rng(1).normal(size=(2, 3, 3))
    assert gradcheck(Recurrent(), x).results[1].tensors.keys() == {"U", "W"}
    wrong = Recurrent()
    wrong.factor = 0.5
    assert [r.finding.where[0] for r in gradcheck(wrong, x, raise_exception=False).failures] == ["W"]


class Cast:
    """A parameter that each forward binds anew, and reads."""

    factor = 1.0

    def __init__(self):
        self.W = np.random.default_rng(0).normal(size=(3, 4))

    def forward(self, x):
        self.W = self.W.astype(x.dtype)
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.factor * self.x.T @ dy
        return dy @ self.W.T


def test_a_parameter_that_each_forward_binds_anew_is_one():
    x = np.random.default_rng(1).normal(size=(2, 3))
    assert gradcheck(Cast(), x).results[1].tensors.keys() == {"W"}
    wrong = Cast()
    wrong.factor = 0.5
    assert [r.finding.where[0] for r in gradcheck(wrong, x, raise_exception=False).failures] == ["W"]
