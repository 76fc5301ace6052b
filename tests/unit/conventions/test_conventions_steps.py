"""Backwards in two steps, and those that are handed what forward has returned for them, before the cotangent."""

from __future__ import annotations

import layers_steps as layers
import numpy as np
import pytest
from twins import NX, Twins, pair, remade, shown

from harness import GradientError, LayerSpec, SpecError, check, gradcheck

TWINS = {
    "backward and accumulate": pair(layers.Accumulating, NX, tensor="W", verified="x W"),
    "backward that accumulates": pair(layers.CallingIt, NX, tensor="W", verified="x W"),
    "backward whose base accumulates": pair(layers.CallingByItsBase, NX, tensor="W", verified="x W"),
    "a private step": pair(layers.Private, NX, tensor="W", verified="x W"),
    "backward and compute_gradients": pair(layers.Overwriting, NX, tensor="W", verified="x W"),
    "forward -> (y, y), backward(y, grad)": pair(layers.Memory, NX, tensor="x", verified="x"),
    "forward -> (y, y), backward(grad, mask)": pair(layers.MemoryLast, NX, tensor="x", verified="x"),
    "two outputs": pair(layers.TwoOutputs, NX, tensor="x", verified="x"),
    "(softmax, pullback(y, y_bar))": Twins(
        (layers.softmax, layers.pullback_softmax), (layers.softmax, layers.wrong_pullback_softmax), (NX,), "x", "x"
    ),
    "adelante and atras": pair(layers.Capa, NX, tensor="pesos", verified="x pesos"),
    "vorwärts and rückwärts": pair(layers.Schicht, NX, tensor="gewicht", verified="x gewicht"),
    "propagation and retropropagation": pair(layers.Couche, NX, tensor="W", verified="x W"),
    "activate and back_propagation": pair(layers.Activates, NX, tensor="x", verified="x"),
}


def test_the_second_step_is_said_where_it_is_taken() -> None:
    said = "backward is taken to be backward and accumulate"
    assert said in gradcheck(layers.Accumulating(), NX).notes
    assert said not in gradcheck(layers.CallingIt(), NX).notes


@pytest.mark.parametrize(
    "name", ["backward and accumulate", "forward -> (y, y), backward(y, grad)", "(softmax, pullback(y, y_bar))"]
)
def test_a_script_goes_back_in_the_same_steps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    twins = TWINS[name]
    with pytest.raises(GradientError) as raised:
        gradcheck(twins.wrong, *twins.inputs)
    script = raised.value.report.failures[0].finding.reproduce
    shown(remade(script), twins.tensor, capsys, twice="softmax" not in name, made=type(twins.wrong))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_step_that_is_zero_in_one_mode_is_seen_in_another(factor: float) -> None:
    kind = type("Norm", (layers.StepsOfNorm,), {"factor": factor})
    spec = LayerSpec(build=lambda D, make=kind: make(D), inputs="B D", dims={"B": [1], "D": [2]})
    report = check(spec, examples=2, only=["parameter_gradient", "repeatable", "state"])
    wrong = [(r.check, r.mode) for r in report.results if r.outcome.name not in ("PASS", "SKIP")]
    assert wrong == ([("parameter_gradient", "eval")] if factor == 2.0 else [])


def test_arrays_of_another_library_are_told_to_be_wrapped() -> None:
    with pytest.raises(
        SpecError, match=r"an output of InAnotherLibrary is Foreign, .* check a closure on NumPy's: def run"
    ):
        gradcheck(layers.InAnotherLibrary(), NX)
    layer = layers.InAnotherLibrary()
    assert gradcheck(lambda x: (np.asarray(layer.forward(x)), lambda v: np.asarray(layer.backward(v))), NX).ok
