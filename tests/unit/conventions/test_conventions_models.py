"""Whole models, nodes of graphs and the like: an error that says what to write, which then decides."""

from __future__ import annotations

import layers_models as layers
import numpy as np
import pytest
from twins import NX, assert_right_is_verified, assert_wrong_is_named, pair

from harness import SpecError, gradcheck, value_and_grad

Y = np.array([[0.0], [1.0], [1.0], [0.0]])
COLUMN, TARGET = NX[:1].T, np.array([[0.0], [1.0]])

TWINS = {
    "keyword": pair(layers.Keyword, NX, tensor="W", verified="x W"),
    "keyword, input again": pair(layers.KeywordAgain, NX, tensor="W", verified="x W"),
    "a cotangent named y": pair(layers.Linear, NX, tensor="x", verified="x"),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_right_one_is_verified(twins):
    assert_right_is_verified(twins)


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_wrong_twin_is_named(twins):
    assert_wrong_is_named(twins)


def test_a_pair_may_ask_for_keywords():
    assert gradcheck((layers.tanh_forward, layers.tanh_backward), NX).ok
    assert gradcheck((layers.tanh_forward, layers.tanh_wrong), NX, raise_exception=False).failures


def written(layer, *inputs):
    with pytest.raises(SpecError) as error:
        gradcheck(layer, *inputs)
    return str(error.value)


def run(said, **names):
    """The lines of a message, run; what their `gradcheck` returns."""
    *lines, last = [line[4:] for line in said.splitlines()[1:]]
    space = {"np": np, "value_and_grad": value_and_grad, **names}
    exec("\n".join(lines), space)
    called = last.replace("gradcheck(", "gradcheck_(", 1)
    return eval(called, {**space, "gradcheck_": lambda *given: gradcheck(*given, raise_exception=False)})


MODELS = {
    "keeps": (layers.KeepsGradients, (NX,), "-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()", Y),
    "keeps, given targets": (layers.KeepsGradients, (NX, Y), "-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()", Y),
    "returns": (layers.ReturnsGradients, (NX,), "-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()", Y),
    "lists": (layers.Network, (COLUMN,), "((p - y) ** 2).sum() / 2", TARGET),
    "lists, given targets": (layers.Network, (COLUMN, TARGET), "((p - y) ** 2).sum() / 2", TARGET),
}


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize(("kind", "inputs", "loss", "y"), MODELS.values(), ids=MODELS)
def test_a_whole_model_is_told_the_loss_to_write(kind, inputs, loss, y, factor):
    model = type("Model", (kind,), {"factor": factor})()
    said = written(model, *inputs)
    assert "asks for y, which" in said
    report = run(said.replace("...,", f"{loss},", 1), model=model, X=inputs[0], x=inputs[0], y=y)
    assert report.ok is (factor == 1.0)
    assert bool(report.failures) is (factor == 2.0)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_methods_of_one_gradient_each_are_told_the_closure(factor):
    layer = type("Layer", (layers.OneByOne,), {"factor": factor})()
    said = written(layer, NX, NX + 1)
    closure = eval(said.partition("check a closure, ")[2], {"layer": layer})
    assert gradcheck(closure, NX, NX + 1, raise_exception=False).ok is (factor == 1.0)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_nodes_of_a_graph_are_told_the_closure(factor):
    kind = type("Value", (layers.Value,), {"factor": factor})
    for said in (written(kind(2.0), NX), written(layers.mul, kind(2.0), kind(3.0), kind(1.0))):
        assert "Value is a number in a graph of its own" in said
        assert run(said, Value=kind, f=layers.mul, mul=layers.mul).ok is (factor == 1.0)
    whole = type("Tensor", (layers.Tensor,), {"factor": factor})
    for said in (written(layers.square, layers.Tensor(NX)), written(layers.square, NX)):
        space = {"Tensor": whole, "square": lambda t: whole(t.data**2, t)}
        assert run(said, **space).ok is (factor == 1.0)


def test_a_model_that_fits_itself_is_told_to_write_its_loss():
    class Fits:
        def fit(self, X, y): ...

        def predict(self, X): ...

    assert "check value_and_grad(loss, params=" in written(Fits(), NX)
    assert "value_and_grad" not in written(type("Predicts", (), {"predict": Fits.predict})(), NX)
