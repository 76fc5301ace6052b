"""Layers that gather what their forwards leave in lists, until a method of theirs starts them anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import gradcheck

X = np.random.default_rng(0).standard_normal((4, 3))


class Lazy:
    """Parameters and gradients in dicts that are filled at the first forward."""

    scale = 1.0

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {"W": None}
        self.gradients: dict[str, Any] = {}

    def start(self, x: np.ndarray) -> None:
        if self.parameters["W"] is None:
            self.parameters["W"] = np.random.default_rng(1).standard_normal((x.shape[1], 2))
            self.gradients["W"] = np.zeros((x.shape[1], 2))

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.start(x)
        self.x = x
        return np.tanh(x) @ self.parameters["W"]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.gradients["W"] += self.scale * np.tanh(self.x).T @ dy
        return dy @ self.parameters["W"].T * (1 - np.tanh(self.x) ** 2)


class WrongLazy(Lazy):
    scale = 0.5


class Queued(Lazy):
    """Backward answers for every forward since the last flush; for one, with an array."""

    def __init__(self) -> None:
        super().__init__()
        self.xs: list[np.ndarray] = []

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.xs.append(x)
        return super().forward(x)

    def backward(self, dy: Any) -> Any:
        dxs = []
        for x, d in zip(self.xs, dy if isinstance(dy, list) else [dy], strict=False):
            self.x = x
            dxs.append(super().backward(d))
        return dxs[0] if len(self.xs) == 1 else dxs

    def flush(self) -> None:
        self.xs = []


class WrongQueued(Queued):
    scale = 0.5


class FirstForEver:
    """Answers with the first input that it has seen, and nothing empties its list."""

    def __init__(self) -> None:
        self.xs: list[np.ndarray] = []

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.xs.append(x)
        return np.tanh(x)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * (1 - np.tanh(self.xs[0]) ** 2)


class Cell:
    """One step of a recurrence: counts its steps, and carries a gradient from backward to backward."""

    def __init__(self) -> None:
        self.W = np.random.default_rng(2).standard_normal((3, 3))
        self.dW = np.zeros((3, 3))
        self.reset()

    def reset(self) -> None:
        self.h: list[np.ndarray] = []
        self.carried: np.ndarray | None = None
        self.step = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        if not self.h:
            self.h.append(np.ones_like(x))
        self.step += 1
        self.h.append(np.tanh(x + self.h[-1] @ self.W))
        return self.h[-1]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        dz = (dy + (0 if self.carried is None else self.carried)) * (1 - self.h[self.step] ** 2)
        self.step -= 1
        self.dW += self.gradient(dz)
        self.carried = dz @ self.W.T
        return dz

    def gradient(self, dz: np.ndarray) -> np.ndarray:
        return self.h[self.step].T @ dz


class WrongCell(Cell):
    def gradient(self, dz: np.ndarray) -> np.ndarray:
        return self.h[self.step + 1].T @ dz


@pytest.mark.parametrize(
    ("right", "wrong", "parameter"),
    [(Lazy, WrongLazy, "W: "), (Queued, WrongQueued, "W: "), (Cell, WrongCell, "W: ")],
)
def test_a_layer_with_a_history_is_judged_by_one_forward(right: type, wrong: type, parameter: str) -> None:
    assert gradcheck(right(), X).ok
    report = gradcheck(wrong(), X, raise_exception=False)
    assert [r.check for r in report.failures] == ["parameter_gradient"]
    assert parameter in str(report)


def test_one_that_was_used_before_is_as_good() -> None:
    layer, cell = Queued(), Cell()
    for _ in range(3):
        layer.forward(X + 1)
        cell.forward(X)
    assert gradcheck(layer, X).ok
    assert gradcheck(cell, X).ok
    assert (len(layer.xs), len(cell.h), cell.step) == (3, 4, 3)  # they are left as they were


def test_the_report_says_what_was_emptied() -> None:
    assert "every forward adds to `xs`: emptied before each" in str(gradcheck(Queued(), X))


def test_a_list_that_nothing_empties_is_the_layers_own_fault() -> None:
    assert gradcheck(FirstForEver(), X, raise_exception=False).failures


def test_the_script_empties_it_too() -> None:
    script = gradcheck(WrongQueued(), X, raise_exception=False).failures[0].finding
    assert script is not None
    assert "del layer.xs[0:]" in script.reproduce


class TwoOutputs:
    """The second output is a state: backward takes no cotangent for it."""

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.x = x
        return np.tanh(x), x**2

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * (1 - np.tanh(self.x) ** 2)


class WrongTwoOutputs(TwoOutputs):
    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * (1 - np.tanh(self.x))


def test_an_output_that_backward_takes_no_cotangent_for_is_named() -> None:
    report = gradcheck(TwoOutputs(), X)
    assert "backward takes 1 cotangent and the forward gives 2 outputs" in str(report)
    wrong = gradcheck(WrongTwoOutputs(), X, raise_exception=False)
    assert [r.check for r in wrong.failures] == ["input_gradient"]
    assert "takes 2 positional arguments" not in str(wrong)
