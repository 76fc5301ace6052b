"""What backward returns and takes, how forward is called, inputs without a gradient: right and wrong."""

from __future__ import annotations

import re

import layers_backwards as layers
import numpy as np
import pytest
from twins import NX, Twins, pair, randn

from harness import GradientError, LayerSpec, NotVerified, SpecError, check, const, floats, gradcheck, ints

ALL = "x W b"
LABELS, IDS = np.array([0, 2, 1, 1]), np.array([[0, 3], [3, 1]])
PROBABLE = np.random.default_rng(0).uniform(0.1, 0.9, (4, 3))
H = randn(4, 2, seed=3).numpy()

TWINS: dict[str, Twins] = {
    "target before prediction": pair(layers.TargetFirst, NX, NX[::-1] + 0.25, tensor="y_pred", verified="y_pred"),
    "bare array": pair(layers.Keeps, NX, tensor="W", verified=ALL),
    "tuple": pair(layers.InTuple, NX, tensor="W", verified=ALL),
    "list": pair(layers.InList, NX, tensor="W", verified=ALL),
    "dict": pair(layers.InDict, NX, tensor="W", verified=ALL),
    "dict by another name": pair(layers.InDictByX, NX, tensor="input", verified="input"),
    "all in a tuple": pair(layers.AllInTuple, NX, tensor="W", verified=ALL),
    "all in a dict": pair(layers.AllInDict, NX, tensor="W", verified=ALL),
    "all in a dict by dW": pair(layers.AllInDictByD, NX, tensor="W", verified=ALL),
    "dx and a dict": pair(layers.InputAndGradients, NX, tensor="W", verified=ALL),
    "a dict in the dict": pair(layers.DictInDict, NX, tensor="W", verified=ALL),
    "dx and named gradients": pair(layers.InputAndNamed, NX, tensor="W", verified=ALL),
    "dx and a list": pair(layers.InputAndList, NX, tensor="W", verified=ALL),
    "dx and pairs with the parameters": pair(layers.PairsReturned, NX, tensor="W", verified="x W b U V"),
    "attributes only": pair(layers.AttributesOnly, NX, tensor="weights", verified="inputs weights biases"),
    "__call__": pair(layers.Called, NX, tensor="W", verified=ALL),
    "lazy": pair(layers.Lazy, NX, tensor="W", verified=ALL),
    "loss without argument": pair(layers.MSE, NX, NX + 1, tensor="A", verified="A"),
    "loss with labels": pair(layers.CrossEntropy, NX, LABELS, tensor="x", verified="x"),
    "token ids": pair(layers.Embedding, IDS, tensor="W", verified="W"),
    "token ids with None": pair(layers.EmbeddingNone, IDS, tensor="W", verified="W"),
    "two inputs and outputs": pair(layers.Rnn, NX, H, tensor="Wh", verified="x h Wx Wh"),
    "list of inputs": pair(layers.Sum, [NX, NX + 1], tensor="X.1", verified="X.0 X.1"),
    "backward of the first output alone": pair(layers.Cell, NX, H, tensor="Wh", verified="x h Wx Wh"),
    "cotangents in one tuple": pair(layers.Bundle, NX, tensor="W", verified=ALL),
    "cotangents in one tuple, by position": pair(layers.Indexed, NX, tensor="W", verified=ALL),
    "backward of the first of two alike": pair(layers.First, NX, tensor="W", verified=ALL),
    "learning rate": pair(layers.Updates, NX, tensor="W", verified=ALL),
    "learning rate with a default": pair(layers.UpdatesByDefault, NX, tensor="W", verified=ALL),
    "learning rate, nothing kept": pair(layers.KeepsNothing, NX, tensor="W", verified=ALL),
    "learning rate on the layer": pair(layers.KeepsItsRate, NX, tensor="W", verified=ALL),
    "an optimizer inside": pair(layers.Optimized, NX, tensor="W", verified=ALL),
    "a step with momentum": pair(layers.Remembers, NX, tensor="W", verified=ALL),
    "a step in columns": pair(layers.Column, NX[:1].T, tensor="weights", verified="input weights bias"),
    "inputs again, no cotangent": pair(layers.Again, NX, NX + 1, tensor="y_pred", verified="y_pred"),
    "the actual values first": pair(layers.ActualFirst, NX + 1, NX, tensor="prediction", verified="prediction"),
    "inputs again": pair(layers.InputAndGradient, NX, tensor="x", verified="x"),
    "its output, or none": pair(layers.TanhOfItsOutput, NX, tensor="x", verified="x"),
    "values by other names": pair(layers.OtherwiseCalled, NX, H, tensor="Wx", verified="x h_prev_t Wx Wh"),
    "values by other names, of equal shapes": pair(
        layers.OfEqualShapes, H[::-1] + 0.5, H, tensor="Wx", verified="x h_prev_t Wx Wh"
    ),
    "values by other names, of a mask": pair(
        layers.DrawnByOtherNames, H + 1, H[::-1], tensor="scale", verified="x scale"
    ),
    "values by other names, of a global mask": pair(
        layers.DrawnFromTheGlobal, H + 1, H[::-1], tensor="scale", verified="x scale"
    ),
    "a list by another name": pair(
        layers.OfAListByAnotherName, [H, H + 1], H[::-1], tensor="xs.0", verified="xs.0 xs.1 h"
    ),
    "cache returned": pair(layers.Caching, NX, tensor="W", verified=ALL),
    "cache returned in a dict": pair(layers.CachingDict, NX, tensor="W", verified=ALL),
    "predictions as dvalues": pair(
        layers.CategoricalCrossentropy, PROBABLE, LABELS, tensor="y_pred", verified="y_pred"
    ),
    "predictions as dvalues, one-hot": pair(
        layers.CategoricalCrossentropy, PROBABLE, np.eye(3)[LABELS], tensor="y_pred", verified="y_pred"
    ),
    "predictions as dvalues, a loss an entry": pair(
        layers.BinaryCrossentropy, PROBABLE, np.eye(3)[LABELS], tensor="y_pred", verified="y_pred"
    ),
    "predictions as dvalues, squares": pair(layers.MeanSquaredError, NX, NX + 1, tensor="y_pred", verified="y_pred"),
    "output as dvalues": pair(layers.SoftmaxCategoricalCrossentropy, NX, LABELS, tensor="inputs", verified="inputs"),
    "cotangent as dvalues": pair(layers.Weighted, NX, NX + 1, tensor="x", verified="x w"),
    "labels again, no cotangent": pair(layers.LabelsAgain, NX, LABELS, tensor="x", verified="x"),
    "sub-layer that must be flushed": pair(layers.Outer, NX, tensor="inner.W", verified="x inner.W inner.b"),
}


def test_target_without_gradient_is_said():
    report = gradcheck(layers.MSE(), NX, NX + 1)
    assert "backward returns no gradient of Y; not judged" in str(report)


def test_first_layer_without_gradient_of_its_input_is_an_error_that_says_what_to_write():
    with pytest.raises(GradientError, match=r"x: backward gave no gradient of it.*const\(x\)"):
        gradcheck(layers.ParametersOnly(), NX)


def test_outputs_that_backward_takes_no_cotangent_of_are_said():
    report = gradcheck(layers.Cell(), NX, H)
    assert report.notes == ("backward takes 1 cotangent and the forward gives 2 outputs; the others are not judged",)


@pytest.mark.parametrize("kind", [layers.Bundle, layers.Indexed])
def test_cotangents_in_one_tuple_are_said(kind):
    assert gradcheck(kind(), NX).notes == ("backward is given the cotangents of the 2 outputs as one tuple",)


@pytest.mark.parametrize("kind", [layers.KeepsNothing, layers.KeepsItsRate, layers.Remembers])
def test_a_step_is_read_undone_and_said(kind):
    layer = kind()
    said = "backward takes a step itself: the gradient of W, b is read off it, and the step undone"
    assert gradcheck(layer, NX, battery=True).notes == (said,)
    assert np.array_equal(layer.W, layers.W0)


def test_a_step_beside_gradients_that_are_kept_is_not_spoken_of():
    layer = layers.Updates()
    assert gradcheck(layer, NX).notes == ()
    assert np.array_equal(layer.W, layers.W0)


def test_an_input_gradient_of_parameters_that_are_moved_already_fails_and_says_so():
    with pytest.raises(GradientError, match="the gradient of input changes with the learning rate"):
        gradcheck(layers.MovesFirst(), NX[:1, :].T)


@pytest.mark.parametrize("kind", [layers.Decays, lambda: layers.Remembers(0.5)], ids=["decay", "under way"])
def test_a_step_along_more_than_the_gradient_is_not_verified_and_says_what_to_write(kind):
    with pytest.raises(
        NotVerified, match=r"`W` changes the output and has no gradient: set self\.dW in backward"
    ) as raised:
        gradcheck(kind(), NX)
    assert "backward is called with learning_rate=0" in str(raised.value)


def test_the_step_of_an_optimizer_that_remembers_is_not_read():
    with pytest.raises(NotVerified, match="`W` changes the output and has no gradient"):
        gradcheck(layers.WithMomentum(), NX)


def test_two_functions_side_by_side_are_told_to_be_a_pair():
    def forward(x):
        return x**2, x

    def backward(dy, x):
        return 2 * x * dy

    with pytest.raises(SpecError, match=re.escape("a pair: gradcheck((forward, backward), ...)")):
        gradcheck(forward, backward, NX)
    assert gradcheck((forward, backward), NX).ok


def test_a_step_size_that_moves_no_parameter_is_left_alone():
    assert gradcheck(layers.Euler(), NX).notes == ()


@pytest.mark.parametrize("scale", [1e-9, 1e3])
def test_a_step_is_read_to_the_last_digits_whatever_its_size(scale):
    report = gradcheck(layers.KeepsNothing(), scale * NX)
    resolutions = next(r.tensors for r in report.results if r.check == "parameter_gradient")
    assert max(resolutions.values()) < 1e-6


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_functions_that_take_the_cotangents_in_one_tuple(factor):
    def forward(x):
        return (np.sin(x), x**2), x

    def backward(douts, x):
        return douts[0] * np.cos(x) + factor * 2 * douts[1] * x

    def run(x):
        outputs, cache = forward(x)
        return outputs, lambda douts: backward(douts, cache)

    for layer in ((forward, backward), run):
        report = gradcheck(layer, NX, raise_exception=False)
        assert report.ok if factor == 1.0 else report.failures[0].finding.where[0] == "x"


class AfterFlush(layers.Linear):
    """Loses what backward needs at its own flush, as numpy-ml's RNNCell."""

    def __init__(self):
        super().__init__()
        self.sum = None

    def flush_gradients(self):
        self.sum = []

    def answer(self, dx, dW, db):
        self.dW, self.db = dW, db
        return dx if self.sum is None else dx + np.array(self.sum)


def test_layer_whose_own_reset_breaks_its_backward_is_judged_without_and_says_so():
    report = gradcheck(AfterFlush(), NX)
    assert "its flush_gradients() is not called: after it backward raised ValueError" in str(report)


class WrongAfterFlush(AfterFlush):
    def answer(self, dx, dW, db):
        return super().answer(2 * dx, dW, db)


def test_and_a_wrong_one_is_failed():
    with pytest.raises(GradientError):
        gradcheck(WrongAfterFlush(), NX)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (layers.CategoricalCrossentropy, "the input y_pred as dvalues; the gradient is that of the mean of its losses"),
        (layers.Predictions, "the input y_pred as dvalues; the gradient is that of the sum of its losses"),
        (layers.SoftmaxCategoricalCrossentropy, "layer.output as dvalues"),
    ],
)
def test_what_an_argument_is_given_whose_name_does_not_tell_is_said(kind, said):
    assert f"backward is given {said}" in gradcheck(kind(), PROBABLE, LABELS).notes


@pytest.mark.parametrize(
    ("kind", "x", "said"),
    [
        (layers.OtherwiseCalled, NX, "the output as h_t and the input x as h_prev_l"),
        (layers.OfEqualShapes, H[::-1], "the input x as before and the output as after"),
    ],
)
def test_which_value_a_backward_means_by_another_name_is_said(kind, x, said):
    assert f"backward is given {said}" in gradcheck(kind(), x, H).notes


def test_values_by_other_names_are_told_apart_in_float32():
    right, wrong = layers.OfEqualShapesInFloat32(), layers.OfEqualShapesInFloat32()
    wrong.factor = 2.0
    report = gradcheck(right, H[1::-1] + 0.5, H[:2], raise_exception=False)
    assert not report.failures
    assert (
        "backward is given the input x as prev_l and the input h_prev_t as prev_t and the output as out" in report.notes
    )
    (failed,) = gradcheck(wrong, H[1::-1] + 0.5, H[:2], raise_exception=False).failures
    assert failed.finding.where[0] == "Wx"


@pytest.mark.parametrize(("kind", "outcome"), [(layers.TanhOfItsOutput, "PASS"), (layers.TwiceInFloat16, "FAIL")])
def test_the_sum_that_stands_for_a_cotangent_is_none_of_the_layers_own_operations_in_float16(kind, outcome):
    spec = LayerSpec(build=kind, inputs="B D", dims={"D": [1], "B": [1]})
    report = check(spec, examples=8, seed=5, only=["float16"])
    assert [r.outcome.name for r in report.results] == [outcome]


def test_of_what_loss_the_gradient_is_can_not_be_told_where_it_is_of_a_mean_over_rows_alone():
    with pytest.raises(SpecError, match=r"backward asks for 2 arguments \(dvalues, y_true\)"):
        gradcheck(layers.OverRowsAlone(), PROBABLE, np.eye(3)[LABELS])


@pytest.mark.parametrize(
    ("kind", "over"),
    [
        (layers.CrossentropyOfInputs, "mean"),
        (layers.ColumnOfInputs, "mean"),
        (layers.ColumnOfPredictions, "mean"),
        (layers.CrossentropyOfNothing, "mean"),
        (layers.SumOfNothing, "sum"),
    ],
)
def test_losses_one_an_example_whose_backward_takes_no_cotangent_are_judged_by_their_mean_or_sum(kind, over):
    report = gradcheck(kind(), PROBABLE, LABELS)
    assert f"the gradient is that of the {over} of its losses" in report.notes[0]
    wrong = kind()
    wrong.factor = 2.0
    report = gradcheck(wrong, PROBABLE, LABELS, raise_exception=False)
    assert [r.check for r in report.failures] == ["input_gradient"]
    spec = LayerSpec(
        build=kind,
        inputs=(floats("B D", low=0, high=1, low_open=True, high_open=True), ints("B", below="D")),
    )
    assert check(spec, examples=6, only=["gradient", "contract"]).ok


def test_an_argument_that_may_be_anything_is_asked_for_and_a_closure_serves():
    layer = layers.Probabilities()
    with pytest.raises(SpecError, match=r"a closure that calls it: def run\(\*inputs\)"):
        gradcheck(layer, NX, LABELS)

    def run(inputs, y_true):
        def pullback(v):
            layer.backward(output, y_true)
            return v * layer.dinputs

        output = layer.forward(inputs, y_true)
        return np.mean(-np.log(output[range(len(inputs)), y_true])), pullback

    assert gradcheck(run, NX, LABELS)


class Squares:
    """A loss for each example, or each model; what its reference gives is taken over them as its own outputs are."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, x, y):
        self.d = x - y
        return (self.d**2).sum(1)

    def backward(self):
        return 2 * self.factor * self.d


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "PASS"), (2.0, "FAIL")])
def test_a_reference_gives_a_loss_for_each_example_too(factor, outcome):
    report = gradcheck(
        Squares(factor), NX, const(NX + 1), reference=lambda x, y: ((x - y) ** 2).sum(1), raise_exception=False
    )
    assert next(r.outcome.value for r in report.results if r.check == "reference") == outcome


def test_a_gradient_of_nothing_tells_no_mean_from_a_sum():
    class Single(Squares):
        def forward(self, x, y):
            super().forward(x, y)
            return 0.0 * self.d.sum(1)

        def backward(self):
            return 0.0 * self.d

    report = gradcheck(Single(), NX, const(NX + 1), raise_exception=False)
    assert report.ok
    assert not any("of its losses" in n for n in report.notes)


@pytest.mark.parametrize(
    ("layer", "said"),
    [(layers.Yields, "write return a, b in the place of yield"), (layers.OfObjects, "make it one of numbers")],
)
def test_gradients_that_are_no_arrays_of_numbers_are_told_what_to_write(layer, said):
    with pytest.raises(SpecError, match=said):
        gradcheck(layer(), NX)
