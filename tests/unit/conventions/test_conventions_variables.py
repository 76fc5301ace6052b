"""Functions of dezero's kind, given to the harness as they are: right and wrong."""

from __future__ import annotations

import layers_variables as layers
import pytest
from twins import NX, pair

from harness import gradcheck

TWINS = {
    "inputs": pair(layers.Exp, NX, tensor="x", verified="x"),
    "two inputs": pair(layers.Mul, NX, NX + 1, tensor="x1", verified="x0 x1"),
    "outputs": pair(layers.Tanh, NX, tensor="x", verified="x"),
    "backward on variables": pair(layers.Sin, NX, tensor="x", verified="x"),
    "two outputs": pair(layers.Split, NX, tensor="x", verified="x"),
    "input": pair(layers.Square, NX, tensor="x", verified="x"),
    "with a number of its own": pair(layers.Power, NX, tensor="x", verified="x"),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_the_report_has_the_name_of_its_class(twins):
    assert gradcheck(twins.right, *twins.inputs).layer == type(twins.right).__name__
