"""What is said of layers with a parameter that is one number, and of rows that indices name more than once."""

from __future__ import annotations

import numpy as np
import pytest

from harness import LayerSpec, check, gradcheck, ints

pytestmark = pytest.mark.usefixtures("diagnosed")

NX = np.random.default_rng(0).standard_normal((3, 4))


class Tempered:
    """A softmax with a learned temperature."""

    def __init__(self) -> None:
        self.tau = np.array(1.3)

    def forward(self, x):
        self.x = x
        e = np.exp((x - x.max(1, keepdims=True)) / self.tau)
        self.p = e / e.sum(1, keepdims=True)
        return self.p

    def scaled(self, dz):
        return dz / self.tau

    def summed(self, dz):
        return -np.sum(dz * self.x) / self.tau**2

    def backward(self, d):
        dz = self.p * (d - (d * self.p).sum(1, keepdims=True))
        self.dtau = self.summed(dz)
        return self.scaled(dz)


class Forgotten(Tempered):
    def scaled(self, dz):
        return dz


class Inverted(Tempered):
    def scaled(self, dz):
        return dz * self.tau


class Averaged(Tempered):
    def summed(self, dz):
        return super().summed(dz) / dz.size


def words(report):
    return {s for r in report.failures if r.finding for s in r.finding.diagnosis}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgotten, "every entry is tau times what it should be"),
        (Inverted, "every entry is tau² times what it should be"),
    ],
)
def test_a_factor_that_is_another_parameter_is_named(kind, said):
    """It was "the same multiple, another one in each example"."""
    assert words(gradcheck(kind(), NX, raise_exception=False)) == {said}
    assert words(check(LayerSpec(build=kind, inputs="B D"), examples=8, only=["input_gradient"])) == {said}


def test_what_the_gradient_of_one_number_is_off_by_is_told_where_the_inputs_are_large_enough():
    """It was "wrong in the examples where D > 1"."""
    report = check(LayerSpec(build=Averaged, inputs="B D"), examples=25, only=["parameter_gradient"])
    assert words(report) == {"every entry is 1/(B·D) times what it should be"}
    assert check(LayerSpec(build=Tempered, inputs="B D"), examples=4, only=["gradient"]).ok


class Rows:
    """The rows of a table, times the root of their length."""

    def __init__(self) -> None:
        self.W = np.random.default_rng(0).normal(size=(7, 3))

    def forward(self, ids):
        self.ids = ids
        return self.W[ids] * np.sqrt(3)

    def backward(self, g):
        self.dW = np.zeros_like(self.W)
        self.add(g * np.sqrt(3))

    def add(self, g):
        np.add.at(self.dW, self.ids, g)


class Lost(Rows):
    def add(self, g):
        self.dW[self.ids] += g


class Unscaled(Rows):
    def add(self, g):
        super().add(g / np.sqrt(3))


IDS = np.array([[1, 2, 2], [0, 6, 5]])


def test_one_row_that_is_named_twice_is_said_to_be():
    """It was "only index 2 along axis 0 is out"."""
    (said,) = words(gradcheck(Lost(), IDS, raise_exception=False))
    assert said.startswith("out exactly where ids names an index along axis 0 more than once")
    assert gradcheck(Rows(), IDS).ok
    assert check(LayerSpec(build=Rows, inputs=(ints("B T", low=0, below=7),)), examples=4, only=["gradient"]).ok


def test_a_size_of_a_parameter_may_be_the_factor():
    """It was 1/√ids.shape[1] alone."""
    (said,) = words(gradcheck(Unscaled(), IDS, raise_exception=False))
    assert said.endswith("(1/√W.shape[1] or 1/√ids.shape[1] here)")
