"""Functions of dezero's kind, given to the harness as they are: right and wrong."""

from __future__ import annotations

import layers_variables as layers
import pytest
from twins import NX, assert_right_is_verified, assert_wrong_is_named, pair

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
def test_right_one_is_verified(twins):
    assert assert_right_is_verified(twins).layer == type(twins.right).__name__


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_wrong_twin_is_named(twins):
    assert_wrong_is_named(twins)
