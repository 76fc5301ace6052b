"""A layer that takes examples in columns under a spec that has them in rows is told so, and no other is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import LayerSpec, check
from harness.render.text import one_line

COLUMNS = "it takes examples in columns: forward "


class Linear:
    """y = W x + b, examples in columns."""

    factor = 1.0

    def __init__(self, n_in: int, n_out: int) -> None:
        self.W, self.b = np.random.default_rng(0).normal(size=(n_out, n_in)), np.zeros((n_out, 1))

    def forward(self, x: Any) -> Any:
        self.x = x
        return self.W @ x + self.b

    def backward(self, v: Any) -> Any:
        self.dW, self.db = self.factor * v @ self.x.T, v.sum(1, keepdims=True)
        return self.W.T @ v


class InRows(Linear):
    """The same for rows, its gradient of W twice too large."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.T).T

    def backward(self, v: Any) -> Any:
        self.factor = 2.0
        return super().backward(v.T).T


class Other(Linear):
    """Columns, and no linear layer."""

    def forward(self, x: Any) -> Any:
        return super().forward(x) ** 2


class Softmax:
    """Over columns: it goes through for rows too."""

    def forward(self, x: Any) -> Any:
        e = np.exp(x - x.max(0))
        self.y = e / e.sum(0)
        return self.y

    def backward(self, v: Any) -> Any:
        return self.y * (v - (v * self.y).sum(0))


class Raising:
    """Refuses whatever it is given."""

    def forward(self, x: Any) -> Any:
        raise ValueError(x.shape)

    def backward(self, v: Any) -> Any:
        return v


def linear(x: Any, W: Any, b: Any) -> Any:
    return x @ W.T + b.reshape(-1)


def told(build: Any, reference: Any = None, inputs: str = "B n_in") -> list[str]:
    dims = {"n_out": range(1, 6)} if issubclass(build, Linear) else {}
    report = check(LayerSpec(build, inputs, dims=dims, reference=reference), examples=6)
    assert not report.ok
    found = [n for n in report.notes if n.startswith(COLUMNS)]
    assert not found or found[0] in one_line(report)
    return found


def test_one_that_refuses_rows_is_told() -> None:
    (said,) = told(Linear)
    assert said == (
        f"{COLUMNS}refuses the input in rows and takes it transposed; this spec has them in rows, for such a layer write "
        "inputs='n_in B'"
    )


def test_with_a_reference_the_outputs_are_compared() -> None:
    (said,) = told(Linear, linear)
    assert said.startswith(f"{COLUMNS}gives the reference's output transposed for the input transposed")
    assert told(Other, linear) == []


def test_one_that_goes_through_for_rows_too_is_told_by_its_reference() -> None:
    import torch

    assert len(told(Softmax, lambda x: torch.softmax(x, -1))) == 1


@pytest.mark.parametrize("build", [InRows, Raising])
def test_what_fails_otherwise_is_not_told_so(build: Any) -> None:
    assert told(build) == []
    assert told(build, linear if build is InRows else np.exp) == []
