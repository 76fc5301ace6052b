"""Parameters in objects, in nested layers and in whole networks: every one is verified under a name of its own."""

from __future__ import annotations

import layers_containers as layers
import pytest
from twins import NX, X, pair, verified_in

from harness import NotVerified, gradcheck

LAYERS = "x layers.0.W layers.0.b layers.2.W layers.2.b"
TWINS = {
    "W.grad in torch": pair(layers.TensorGrad, X, tensor="W", verified="x W b"),
    "objects with data and grad": pair(layers.Objects, NX, tensor="W", verified="x W b"),
    "list of layers": pair(layers.Layers, NX, tensor="layers.0.W", verified=LAYERS),
    "params shared with layers": pair(layers.TwoLayerNet, NX, tensor="W1", verified="x W1 b1"),
    "grads copied from layers": pair(layers.CopiedGradients, NX, tensor="W1", verified="x W1 b1"),
    "lists of weights and biases": pair(
        layers.Lists, NX, tensor="weights.0", verified="x weights.0 weights.1 biases.0 biases.1"
    ),
    "dict of dicts": pair(layers.Nested, NX, tensor="fc1.W", verified="x fc1.W fc1.b fc2.W"),
    "dict of dicts, params and grads": pair(
        layers.NestedByUsualNames, NX, tensor="fc1.W", verified="x fc1.W fc1.b fc2.W"
    ),
    "an array of objects": pair(layers.OfObjects, NX, tensor="W.0", verified="x W.0 W.1"),
    "dicts by dW": pair(layers.DictsWithMore, NX, tensor="W", verified="x W b"),
    "nn.Module with backward": pair(layers.ModuleWithBackward, X, tensor="weight", verified="x weight bias"),
}


def test_array_beside_the_dicts_is_not_skipped():
    with pytest.raises(NotVerified) as raised:
        gradcheck(layers.DictsWithMore(scale=True), NX)
    reason = next(r.reason for r in raised.value.report.results if r.check == "parameter_gradient")
    assert reason.startswith("scale: `scale` changes the output and has no gradient: set self.dscale in backward")
    assert {"W", "b"} <= verified_in(raised.value.report)


def test_array_beside_the_dicts_may_be_declared_constant():
    assert gradcheck(layers.DictsWithMore(scale=True), NX, grads={"scale": None}).ok


def test_layers_that_share_a_dict_are_held_to_their_own_parameters():
    wrong = type("Wrong", (layers.OfOneStore,), {"factor": 2.0})(2)
    right = layers.OfOneStore(1)
    report = gradcheck(right, NX)
    assert verified_in(report) == {"x", "W1"}
    assert "params holds W2 too, which the outputs do not depend on: of another layer, and not judged" in report.notes
    right.backward(right.forward(NX))
    failed = gradcheck(wrong, NX, raise_exception=False).failures
    assert [r.finding.where[0] for r in failed] == ["W2"]


@pytest.mark.parametrize("layer", [layers.OfOutputsAtZero, layers.OfOutputsAtZeroOnTheClass])
def test_parameters_before_one_that_begins_at_zero_are_the_layers_own(layer):
    assert verified_in(gradcheck(layer(), NX)) == {"x", "W0", "W1"}
    (failed,) = gradcheck(layer(3.0), NX, raise_exception=False).failures
    assert failed.finding.where[0] == "W0"


def test_gradient_that_is_never_set_before_a_last_layer_at_zero_is_missed():
    failed = gradcheck(layers.OfOutputsAtZero(None), NX, raise_exception=False).failures
    assert "W0: backward gave no gradient of it" in failed[0].reason
