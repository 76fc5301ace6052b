"""A derivative in a backward's place: right, wrong, and what is said where it can be none."""

from __future__ import annotations

import layers_derivative as layers
import numpy as np
import pytest
from twins import NX, Twins, X, pair

from harness import LayerSpec, NotVerified, Outcome, SpecError, check, const, floats, gradcheck

P = 0.5 + 0.4 * np.tanh(NX)
ENTRIES = (
    layers.Sigmoid,
    layers.ByOutput,
    layers.OfState,
    layers.Backward,
    layers.Identity,
    layers.Softmax,
    layers.Product,
    layers.Named,
    layers.Optional,
)
TWINS = {kind.__name__: pair(kind, NX, tensor="x", verified="x") for kind in ENTRIES} | {
    "torch": pair(layers.Tanh, X, tensor="x", verified="x"),
    "loss an entry": pair(layers.SquareLoss, P, NX, tensor="y_pred", verified="y_pred"),
    "loss": pair(layers.CrossEntropy, P, P[::-1].copy(), tensor="p", verified="p"),
    "loss of y and t": pair(layers.SquaresOfT, NX, P, tensor="y", verified="y"),
    "loss an example": pair(layers.PerExample, NX, P, tensor="output", verified="output"),
}
TWINS |= {
    "functions": Twins((layers.tanh, layers.tanh_prime), (layers.tanh, layers.d_tanh), (NX,), "x", "x"),
    "functions, of the output by what fits": Twins(
        (layers.tanh, layers.tanh_grad), (layers.tanh, layers.wrong_grad), (NX,), "x", "x"
    ),
    "functions, of the output": Twins(
        (layers.tanh, layers.tanh_derivative), (layers.tanh, layers.d_tanh), (NX,), "x", "x"
    ),
}


def test_a_function_and_its_derivative_are_said_to_be_that():
    assert gradcheck((layers.tanh, layers.tanh_prime), NX).notes == (
        "backward is taken to be tanh_prime(x) times the cotangent",
    )
    assert gradcheck((layers.tanh, layers.tanh_backward), NX).notes == ()


def test_what_is_taken_for_the_backward_is_said():
    assert gradcheck(layers.SquareLoss(), P, NX).notes == (
        "backward is taken to be gradient(y, y_pred) times the cotangent",
        "SquareLoss.gradient is that of y_pred: y not judged",
    )
    assert gradcheck(layers.Backward(), NX).notes == ("backward is taken to be grad(x, dout)",)


@pytest.mark.parametrize(
    ("layer", "inputs", "said"),
    [
        (layers.Diagonal(), (NX,), r"depends on several entries: check a closure, lambda x: \(layer\(x\), lambda v"),
        (layers.OfNoShape(), (NX,), r"shape \(7,\) for an input of \(4, 3\).* nor a Jacobian: check a closure"),
        (layers.OfTwo(), (NX, NX), r"gradcheck\(layer, a, const\(b\)\)"),
        (layers.Asking(), (NX,), r"asks for temperature.* lambda v: v \* layer.gradient"),
    ],
    ids=["depends", "no shape", "of two", "asks"],
)
def test_what_can_be_no_derivative_is_told_what_to_write(layer, inputs, said):
    with pytest.raises(SpecError, match=said):
        gradcheck(layer, *inputs)


def test_const_tells_of_which_input_it_is():
    assert gradcheck(layers.OfTwo(), const(NX), NX).ok


def test_an_array_without_gradient_is_named():
    with pytest.raises(NotVerified, match=r"alpha` changes the output and has no gradient"):
        gradcheck(layers.Prelu(), NX)
    assert gradcheck(layers.Prelu(), NX, grads={"alpha": None}).ok


def test_a_flag_that_asks_for_the_derivative_is_told_what_to_write():
    def nonlin(x, deriv=False):
        return x * (1 - x) if deriv else 1 / (1 + np.exp(-x))

    with pytest.raises(SpecError, match=r"lambda x: \(nonlin\(x\), lambda v: v \* nonlin\(x, deriv=True\)\)"):
        gradcheck(nonlin, NX)


def test_a_backward_that_is_the_derivative_at_its_input_is_told_what_to_write():
    layer = layers.OwnBackward()
    report = gradcheck(layer, NX, raise_exception=False)
    assert report.failures
    said = "check lambda X: (layer.forward(X), lambda v: v * layer.backward(X))"
    assert any(note.endswith(said) for note in report.notes)
    assert gradcheck(lambda X: (layer.forward(X), lambda v: v * layer.backward(X)), NX).ok


def test_a_cotangent_that_is_called_as_the_input_is_one():
    assert gradcheck(layers.CotangentAsX(), NX).notes == ()
    wrong = gradcheck(layers.WrongCotangentAsX(), NX, raise_exception=False)
    assert wrong.failures
    assert wrong.notes == ()


class SquaredError:
    """The mean of squares; its derivative may be asked for where there are no examples."""

    def __init__(self, stacked: bool) -> None:
        self.stacked = stacked

    def loss(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).mean()

    def gradient(self, y_true, y_pred):
        g = 2.0 * (y_pred - y_true) / y_pred.size
        return np.stack([*g]) if self.stacked else g


@pytest.mark.parametrize(("stacked", "outcome"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_no_examples_are_no_fault_of_a_loss_s_derivative(stacked, outcome):
    """The product with the cotangent is the harness's own; NumPy stacks no arrays of none."""
    spec = LayerSpec(lambda: SquaredError(stacked), (floats("B D"), floats("B D", grad=False)))
    (seen,) = check(spec, examples=3, only=("empty_batch",)).results
    assert seen.outcome is outcome, seen.reason
    assert not stacked or "need at least one array to stack" in seen.reason


def test_what_fits_in_float64_is_taken_in_narrower_numbers_too():
    """There the derivative was taken at the input, and a right one failed."""
    x = 2 * np.random.default_rng(0).standard_normal((3, 4))
    assert gradcheck((layers.tanh, layers.tanh_grad), x, battery=True).ok
    report = gradcheck((layers.tanh, layers.wrong_grad), x, battery=True, raise_exception=False)
    assert "input_gradient" in {r.check for r in report.failures}
