"""Styles of lessons: each right and wrong, their scripts, and what is said where a step can't be read."""

from __future__ import annotations

import layers_lessons as layers
import numpy as np
import pytest
from twins import NX, X, pair, remade, shown

from harness import GradientError, LayerSpec, NotVerified, SpecError, check, gradcheck

STEPS = (layers.AlphaAsked, layers.ShortAsked, layers.AlphaKept, layers.OfTheClass, layers.OfTheModule)
STEPS = (*STEPS, layers.RateAndSlope)
WRITTEN = (layers.Handed, layers.InPlace, layers.Anew, layers.Local, layers.InLoop, layers.InDict)
LINEAR = (*STEPS, *WRITTEN, layers.SlopeKept, layers.ErrorNamed)
TWINS = {kind.__name__: pair(kind, NX, tensor="W", verified="x W b") for kind in LINEAR} | {
    "alpha that does nothing": pair(layers.IgnoresAlpha, NX, tensor="x", verified="x"),
    "g on tensors": pair(layers.Marked, X, tensor="w", verified="inp w b"),
    "g on an input": pair(layers.MarkedRelu, X, tensor="inp", verified="inp"),
    "g of a loss": pair(layers.MarkedMse, X[:, :1].clone(), X[:, 1].clone(), tensor="inp", verified="inp"),
    "g in bwd(out, inp)": pair(layers.MarkedModule, X, tensor="w", verified="inp w"),
    "updateOutput": pair(layers.Torch7, NX, tensor="weight", verified="input weight bias"),
    "update_output": pair(layers.Snake, NX, tensor="x", verified="x"),
    "build and call": pair(layers.Keras, NX, tensor="kernel", verified="inputs kernel"),
}


@pytest.mark.parametrize("name", [n for n in TWINS if n != "build and call"])
def test_script_shows_the_fault(name, capsys):
    twins = TWINS[name]
    script = gradcheck(twins.wrong, *twins.inputs, raise_exception=False).failures[0].finding.reproduce
    shown(remade(script), twins.tensor, capsys, made=type(twins.wrong))


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_is_read_wherever_its_length_is_and_undone(kind):
    layer, before = kind(), layers.eta
    said = "backward takes a step itself: the gradient of W, b is read off it, and the step undone"
    assert gradcheck(layer, NX, battery=True).notes == (said,)
    assert np.array_equal(layer.W, layers.W0)
    assert layers.eta == before


def test_a_step_whose_length_is_not_known_is_undone_and_told():
    layer = layers.Unwritten()
    with pytest.raises(NotVerified) as raised:
        gradcheck(layer, NX, battery=True)
    assert np.array_equal(layer.W, layers.W0)
    assert "`W` changes the output and has no gradient: set self.dW in backward, which moves it" in str(raised.value)
    assert "a length that has a name, backward(self, ..., lr) or self.lr" in str(raised.value)
    assert "backward moves W, b by steps whose length is not known; they are undone" in raised.value.report.notes


def test_a_step_with_weight_decay_is_undone_and_told():
    layer = layers.Decays()
    report = gradcheck(layer, NX, battery=True, raise_exception=False)
    assert not report.failures
    assert np.array_equal(layer.W, layers.W0)
    assert "backward moves W by steps whose length is not known; they are undone" in report.notes
    assert report.notes[0].startswith("backward takes a step itself, 0.01 times the gradient by `self.b -= 0.01 *")


def test_what_backward_moves_whatever_the_cotangent_is_no_step():
    report = gradcheck(layers.Shrinks(), NX, battery=True, raise_exception=False)
    assert {r.check for r in report.failures} >= {"unmutated"}


def test_a_number_in_the_code_is_the_length_of_the_step():
    layer = layers.InPlace()
    assert gradcheck(layer, NX, battery=True).notes == (
        "backward takes a step itself, 0.01 times the gradient by `self.W -= 0.01 * dW`: the gradient of W is read off it, and "
        "the step undone",
        "backward takes a step itself, 0.05 times the gradient by `self.b -= 0.05 * dy.sum(0)`: the gradient of b is read off it, "
        "and the step undone",
    )
    assert np.array_equal(layer.W, layers.W0)


@pytest.mark.parametrize(
    ("kind", "at"),
    [(layers.Half, "self.W -= 0.5 * (self.x.T @ dy)"), (layers.WithFactor, "self.W -= 0.01 * 2 * (self.x.T @ dy)")],
)
def test_a_number_that_may_be_a_factor_of_the_gradient_is_told(kind, at):
    with pytest.raises(NotVerified) as raised:
        gradcheck(kind(), NX)
    said = f"in `{at}` the length of the step can't be told from a factor of the gradient: give it a name, lr"
    assert said in raised.value.report.notes


@pytest.mark.parametrize("kind", WRITTEN)
def test_all_checks_judge_a_step_of_written_length(kind):
    for factor, fails in ((1.0, False), (2.0, True)):
        made = type(kind.__name__, (kind,), {"factor": factor})
        report = check(LayerSpec(build=lambda made=made: made(), inputs="B 3"), examples=3)
        assert report.ok is not fails
        assert fails is any(r.check == "parameter_gradient" for r in report.failures)


def test_what_is_no_step_is_a_write_to_a_parameter():
    report = gradcheck(layers.Corrupts(), NX, raise_exception=False)
    assert [(r.check, r.reason[:2]) for r in report.failures] == [("unmutated", "W:")]


def test_an_argument_that_nobody_knows_is_an_error():
    with pytest.raises(SpecError, match=r"backward asks for 2 arguments \(dy, alpha\) and the forward has 1 outputs"):
        gradcheck(layers.NeedsAlpha(), NX)


@pytest.mark.parametrize("kind", [layers.Torch7, layers.Marked, layers.AlphaAsked, layers.Keras])
def test_a_spec_judges_them_too(kind):
    for factor, fails in ((1.0, False), (2.0, True)):
        made = type(kind.__name__, (kind,), {"factor": factor})
        report = check(
            LayerSpec(build=lambda made=made: made(), inputs="B 3"), examples=6, only=("gradient", "contract")
        )
        assert report.ok is not fails
        assert fails is any(r.check == "parameter_gradient" for r in report.failures)


@pytest.mark.parametrize("loss", [None, layers.MarkedMse()])
def test_a_model_of_layers_whose_gradients_are_marks_is_judged(loss):
    relu, linear = layers.MarkedRelu(), layers.Marked()
    linear.w, linear.b = linear.w[:, :1], linear.b[:1] + 4.0
    model, inputs = layers.MarkedModel(linear, relu, loss=loss), (X, X[:, 1].clone()) if loss else (X,)
    report = gradcheck(model, *inputs)
    assert {n for r in report.results for n in r.tensors} == {"x", "layers.0.w", "layers.0.b"}
    linear.factor = 2.0
    report = gradcheck(model, *inputs, raise_exception=False)
    assert {r.finding.where[0] for r in report.failures} == {"layers.0.w"}


def test_what_backward_is_made_of_is_said():
    assert gradcheck(layers.Torch7(), NX).notes == ("backward is taken to be updateGradInput and accGradParameters",)
    assert gradcheck(layers.Snake(), NX).notes == ("backward is taken to be update_grad_input",)


def test_a_mark_that_is_forgotten_fails():
    class Forgets(layers.Marked):
        def backward(self):
            self.w.g, self.b.g = self.inp.t() @ self.out.g, self.out.g.sum(0)

    with pytest.raises(GradientError, match="inp: backward gave no gradient of it"):
        gradcheck(Forgets(), X)
