"""Parameters in one flat vector, gradients in tuples of their own, outputs asked for again, names of other courses."""

from __future__ import annotations

import layers_flat as layers
import numpy as np
import pytest
from twins import NX, pair, remade, shown

from harness import LayerSpec, SpecError, check, gradcheck

NAMES = {
    "_forward": "_backward",
    "forwardPass": "backwardPass",
    "propagate": "backpropagate",
    "compute": "grad",
    "apply": "vjp",
    "call": "gradient",
}
TWINS = {
    "flat": pair(layers.Flat, NX, tensor="theta", verified="x theta"),
    "flat, and its gradient by no name of its own": pair(layers.OneVector, NX, tensor="theta", verified="x theta"),
    "a tuple of their own": pair(layers.InTheirOwnTuple, NX, NX[:, :2], tensor="W", verified="x y W b"),
    "a list of their own": pair(layers.InListsOfTheirOwn, NX, tensor="params.0", verified="x params.0 params.1"),
    "a dataclass": pair(layers.InADataclass, NX, tensor="W", verified="x W b"),
    "a namespace": pair(layers.InANamespace, NX, tensor="W", verified="x W b"),
    "output again": pair(layers.OutputAgain, NX, tensor="w", verified="x w"),
    "properties": pair(layers.Properties, NX, tensor="_theta", verified="x _theta"),
    "set_input_shape": pair(layers.Shaped, NX, tensor="W", verified="x W"),
    "forward(*, x)": pair(layers.ByKeyword, NX, tensor="W", verified="x W b"),
    "forward(x, *, y)": pair(layers.SecondByKeyword, NX, NX[:, :2], tensor="W", verified="x y W b"),
    **{f: pair(layers.renamed(f, b), NX, tensor="W", verified="x W") for f, b in NAMES.items()},
}


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_right_is_verified_and_wrong_fails(name, seed):
    twins = TWINS[name]
    report = gradcheck(twins.right, *twins.inputs, seed=seed)
    seen = {t for r in report.results for t in r.tensors if r.check in ("input_gradient", "parameter_gradient")}
    assert seen == set(twins.verified.split())
    wrong = gradcheck(twins.wrong, *twins.inputs, seed=seed, raise_exception=False)
    assert {r.finding.where[0] for r in wrong.failures} == {twins.tensor}


@pytest.mark.parametrize("name", [n for n in TWINS if n != "call"])
def test_script_shows_the_fault(name, capsys):
    twins = TWINS[name]
    script = gradcheck(twins.wrong, *twins.inputs, raise_exception=False).failures[0].finding.reproduce
    shown(remade(script), twins.tensor, capsys, made=type(twins.wrong))


def test_the_larger_of_two_that_share_memory_is_judged():
    assert gradcheck(layers.Flat(), NX).notes == (
        "W is part of theta, and judged as that",
        "b is part of theta, and judged as that",
    )


def test_two_gradients_of_what_is_one_array_are_told():
    report = gradcheck(layers.FlatApart(), NX, raise_exception=False)
    assert not report.ok
    (result,) = [r for r in report.results if r.check == "parameter_gradient"]
    assert (
        "`W` is part of `theta`, and their gradients are two: `dW` is not what stands for it in `grad_theta`"
        in result.reason
    )
    # by the line to write, the parts are judged
    report = gradcheck(layers.FlatApart(), NX, grads={"theta": None}, raise_exception=False)
    assert {r.finding.where[0] for r in report.failures} <= {"W", "b"}
    assert gradcheck(layers.Flat(), NX, grads={"theta": None}).ok


def test_batches_of_any_size_have_a_tuple_of_their_own():
    report = check(LayerSpec(layers.InTheirOwnTuple, ("B 3", "B 2")), examples=6, only=("contract", "input"))
    assert report.ok


def test_what_was_called_first_is_said():
    assert gradcheck(layers.Shaped(), NX).notes == (
        "Shaped.set_input_shape((3,)), Shaped.initialize() was called first",
    )


def test_a_target_is_no_output():
    class Model:
        def forward(self, x):
            self.x = x
            return x**2

        def backward(self, x, y):
            return 4 * (x**2 - y) * x

    with pytest.raises(SpecError, match="gives the gradient of a loss that is computed nowhere"):
        gradcheck(Model(), NX)


def test_a_loss_that_a_model_has_beside_its_backward_stands_in_the_lines_to_write():
    class Model:
        def __init__(self):
            self.W = np.ones(3)

        def forward(self, X):
            return X @ self.W

        def compute_loss(self, X, y):
            return ((X @ self.W - y) ** 2).sum()

        def backward(self, X, y):
            self.dW = 2 * X.T @ (X @ self.W - y)

    with pytest.raises(SpecError, match=r"return model\.compute_loss\(X, y\), \[model\.dW\]\n"):
        gradcheck(Model(), NX)


def test_a_gradient_of_no_usual_name_is_guessed():
    class Own:
        def __init__(self):
            self._w, self._acc = np.ones((3, 2)), np.zeros((3, 2))

        def forward(self, x):
            self.x = x
            return x @ self._w

        def backward(self, dy):
            self._acc = self.x.T @ dy
            return dy @ self._w.T

    report = gradcheck(Own(), NX, raise_exception=False)
    assert "write grads={'_w': '_acc'}" in str(report)
    assert gradcheck(Own(), NX, grads={"_w": "_acc"}).ok


def test_a_spec_calls_a_forward_by_keyword_too():
    assert check(LayerSpec(layers.ByKeyword, "B 3"), examples=6, only=("gradient", "contract")).ok


def test_what_a_keyword_is_given_stays_with_it():
    assert gradcheck(layers.SecondByKeyword(), NX, kwargs={"y": NX[:, :2]}, raise_exception=False).failures == []


def test_a_layer_that_is_a_tuple_is_told_what_to_be():
    with pytest.raises(
        SpecError, match=r"Pair is a tuple, .*: make it a class or a dataclass, @dataclass instead of NamedTuple"
    ):
        gradcheck(layers.Pair(np.ones((3, 2))), NX)


def test_two_methods_of_no_usual_name_are_named():
    with pytest.raises(SpecError) as raised:
        gradcheck(layers.Cost(), NX)
    assert "before the check write layer.forward, layer.backward = layer.fn, layer.delta if they are these two" in str(
        raised.value
    )
    assert gradcheck(lambda x: (layers.Cost.fn(x), lambda v: v * layers.Cost.delta(x)), NX).ok


def test_the_gradient_of_the_input_is_not_that_of_a_vector_of_its_shape():
    report = gradcheck(layers.ConstantVector(), NX[0], raise_exception=False)
    assert not report.failures
    assert any("`p` changes the output and has no gradient" in r.reason for r in report.results)
