"""The script of a failure calls the layer as its convention asks."""

from __future__ import annotations

import layers_backwards as backwards
import layers_containers as containers
import layers_derivative as derivative
import layers_functions as functions
import layers_models as models
import layers_modes as modes
import layers_naming as naming
import layers_operation as operation
import numpy as np
import pytest
from twins import NX, X, randn, remade, shown

from harness import gradcheck

LABELS = np.array([0, 2, 1, 1])
H = randn(4, 2, seed=3).numpy()
WEIGHTS = randn(3, 2, seed=4).numpy()
P = 0.5 + 0.4 * np.tanh(NX)
CASES = {
    "returned in a tuple": (backwards.AllInTuple, (NX,), "W"),
    "returned in a dict": (backwards.AllInDictByD, (NX,), "W"),
    "returned in a dict in a dict": (backwards.DictInDict, (NX,), "W"),
    "returned beside names": (backwards.InputAndNamed, (NX,), "W"),
    "returned in a list": (backwards.InputAndList, (NX,), "W"),
    "attributes only": (backwards.AttributesOnly, (NX,), "weights"),
    "__call__": (backwards.Called, (NX,), "W"),
    "list of inputs": (backwards.Sum, ([NX, NX + 1],), "X.1"),
    "first output alone": (backwards.Cell, (NX, H), "Wh"),
    "cotangents in one tuple": (backwards.Bundle, (NX,), "W"),
    "cache returned": (backwards.Caching, (NX,), "W"),
    "predictions as dvalues": (backwards.MeanSquaredError, (NX, NX + 1), "y_pred"),
    "output as dvalues": (backwards.SoftmaxCategoricalCrossentropy, (NX, LABELS), "inputs"),
    "learning rate": (backwards.Updates, (NX,), "W"),
    "learning rate, nothing kept": (backwards.KeepsNothing, (NX,), "W"),
    "learning rate on the layer": (backwards.KeepsItsRate, (NX,), "W"),
    "forward(train_flg=)": (modes.TrainFlg, (NX,), "gamma"),
    "layers of a network": (modes.Net, (NX,), "layers.0.gamma"),
    "method": (naming.Methods, (NX,), "W"),
    "W.grad": (containers.TensorGrad, (X,), "W"),
    "backward(*, grad)": (models.Keyword, (NX,), "W"),
    "derivative": (derivative.Sigmoid, (NX,), "x"),
    "derivative in torch": (derivative.Tanh, (X,), "x"),
    "derivative of the output": (derivative.ByOutput, (NX,), "x"),
    "derivative that is a backward": (derivative.Backward, (NX,), "x"),
    "derivative of each example": (derivative.Softmax, (NX,), "x"),
    "Jacobian": (derivative.Product, (NX,), "x"),
    "derivative of a loss": (derivative.SquareLoss, (P, NX), "y_pred"),
    "derivative of a mean": (derivative.CrossEntropy, (P[::-1].copy(), P), "p"),
    "derivative of losses": (derivative.PerExample, (NX, P), "output"),
    "derivative by name": (derivative.Named, (NX,), "x"),
    "gradient(out_grad, node)": (operation.Needle, (NX, P), "b"),
    "gradient(node, output_grad)": (operation.Dlsys, (NX, P), "input_val1"),
    "backward(indexes, grad_outputs)": (operation.Chainer, (NX, P), "input1"),
    "backward(inputs, grad_outputs)": (operation.ChainerUnary, (NX,), "input0"),
    "backward_var(grad, index)": (operation.MyGrad, (NX, P), "b"),
}


@pytest.mark.parametrize(("kind", "inputs", "tensor"), CASES.values(), ids=CASES)
def test_script_shows_the_fault(kind, inputs, tensor, capsys):
    wrong = type("Wrong", (kind,), {"factor": 2.0})
    report = gradcheck(wrong(), *inputs, raise_exception=False)
    shown(remade(report.failures[0].finding.reproduce), tensor, capsys, made=wrong)


PAIRS = {
    "handed its input": (functions.rectified_forward, functions.wrong_rectified_backward, (NX,), "x"),
    "handed two inputs": (functions.step_forward, functions.wrong_step_backward, (NX, WEIGHTS), "w"),
    "vjp(ans, x)": (functions.sine_forward, functions.wrong_sine_backward, (NX,), "x"),
    "two outputs and a cache": (
        functions.cell_forward,
        functions.wrong_cell_backward,
        (NX, NX[:, :2].copy(), {"Wx": WEIGHTS, "Wh": WEIGHTS[:2].copy(), "b": WEIGHTS[0]}),
        "p.Wh",
    ),
    "cache first": (functions.product_forward, functions.wrong_product_backward, (NX, WEIGHTS), "w"),
    "handed a word": (
        functions.dense_forward,
        functions.wrong_dense_backward,
        (NX.T.copy(), WEIGHTS.T.copy(), WEIGHTS[:2, :1], "tanh"),
        "W",
    ),
}


@pytest.mark.parametrize(("forward", "backward", "inputs", "tensor"), PAIRS.values(), ids=PAIRS)
def test_script_of_a_pair_hands_backward_what_it_asks_for(forward, backward, inputs, tensor, capsys):
    report = gradcheck((forward, backward), *inputs, raise_exception=False)
    shown(report.failures[0].finding.reproduce, tensor, capsys, twice=tensor != "x")


def test_script_of_a_static_operation_has_its_context(capsys):
    for kind in (operation.WrongMinitorch, operation.WrongAttributes):
        report = gradcheck(kind(), NX, P, raise_exception=False)
        shown(report.failures[0].finding.reproduce, "b", capsys)
