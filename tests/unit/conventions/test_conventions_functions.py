"""Function pairs, functions that return loss and gradients, chains: right, wrong, and what they leave behind."""

from __future__ import annotations

import copy
import re
import types
from functools import partial

import layers_functions as layers
import numpy as np
import pytest
from twins import NX, Twins, X, verified_in

from harness import LayerSpec, NotVerified, SpecError, chain, check, const, gradcheck, ints, value_and_grad

W, B, Y = layers.W0, np.zeros(2), np.array([0, 2, 1, 1])
MORE = np.array([1.0, 1.5, 0.5]), np.array([0.0, 0.5, 1.0])
RUNNING = {"running_mean": np.array([0.1, 0.2, 0.3]), "running_var": np.array([1.0, 2.0, 0.5])}


def cs231n(name: str, *inputs, tensor: str, verified: str) -> Twins:
    forward, backward = getattr(layers, f"{name}_forward"), getattr(layers, f"{name}_backward")
    return Twins((forward, backward), (forward, getattr(layers, f"wrong_{name}_backward")), inputs, tensor, verified)


def valued(right, wrong, *inputs, tensor: str, verified: str) -> Twins:
    return Twins(value_and_grad(right), value_and_grad(wrong), inputs, tensor, verified)


def of_model(kind):
    model = kind()
    return value_and_grad(model.loss, params=model.params)


def of_function(kind):
    model = kind()
    return value_and_grad(lambda X, labels: model.loss(X, y=labels), params=model.params)


MODEL = {"inputs": (NX, Y), "tensor": "W2", "verified": "W1 b1 W2"}
TWINS = {
    "affine": cs231n("affine", NX, W, B, tensor="w", verified="x w b"),
    "relu": cs231n("relu", NX, tensor="x", verified="x"),
    "batchnorm in train": cs231n("batchnorm", NX, *MORE, {"mode": "train"}, tensor="beta", verified="x gamma beta"),
    "batchnorm in test": cs231n(
        "batchnorm", NX, *MORE, {"mode": "test", **RUNNING}, tensor="beta", verified="x gamma beta"
    ),
    "dropout": cs231n("dropout", NX, {"mode": "train", "p": 0.6}, tensor="x", verified="x"),
    "dropout with a seed": cs231n("dropout", NX, {"mode": "train", "p": 0.6, "seed": 1}, tensor="x", verified="x"),
    "an argument again": cs231n(
        "dense", NX.T.copy(), W.T.copy(), B[:, None], "tanh", tensor="W", verified="A_prev W b"
    ),
    "residuals first": cs231n("product", NX, W, tensor="w", verified="x w"),
    "inputs instead of a cache": cs231n("rectified", NX, tensor="x", verified="x"),
    "inputs, and two outputs": cs231n("step", NX, W, tensor="w", verified="x w"),
    "two outputs and a cache": cs231n(
        "cell",
        NX,
        NX[:, :2].copy(),
        {"Wx": W, "Wh": W[:2].copy(), "b": B},
        tensor="p.Wh",
        verified="x h p.Wx p.Wh p.b",
    ),
    "vjp": cs231n("sine", NX, tensor="x", verified="x"),
    "rrule": Twins(layers.rrule(1.0), layers.rrule(2.0), (NX, W), "w", "x w"),
    "(loss, dx)": valued(layers.softmax_loss, layers.wrong_softmax_loss, NX, Y, tensor="x", verified="x"),
    "(loss, (dx, dw))": valued(layers.svm_loss_all, layers.wrong_svm_loss_all, NX, W, tensor="w", verified="x w"),
    "model.loss": Twins(of_model(layers.Model), of_model(layers.WrongModel), **MODEL),
    "lambda around model.loss": Twins(of_function(layers.Model), of_function(layers.WrongModel), **MODEL),
    "chain with labels": Twins(
        chain(layers.Net(), layers.CrossEntropy()),
        chain(layers.WrongNet(), layers.CrossEntropy()),
        (NX, np.array([0, 1, 1, 0])),
        "net.W",
        "x net.W",
    ),
    "chain with a cotangent": Twins(
        chain(layers.Net(), layers.Squares()), chain(layers.WrongNet(), layers.Squares()), (NX,), "net.W", "x net.W"
    ),
}


def test_dict_of_statistics_is_left_alone_and_does_not_leak():
    given = {"mode": "train"}
    assert gradcheck((layers.batchnorm_forward, layers.batchnorm_backward), NX, *MORE, given).ok
    assert given == {"mode": "train"}


@pytest.mark.parametrize(
    "make", [lambda m: m.loss, lambda m: lambda X, labels: m.loss(X, y=labels)], ids=["method", "lambda"]
)
def test_model_is_left_as_it_was(make):
    model = layers.Model()
    arrays, before = dict(model.params), copy.deepcopy(model.params)
    gradcheck(value_and_grad(make(model), params=model.params), NX, Y)
    assert all(model.params[n] is arrays[n] for n in arrays)
    assert all(np.array_equal(model.params[n], before[n]) for n in arrays)


def test_inputs_of_a_model_without_gradient_are_said():
    model = layers.Model()
    report = gradcheck(value_and_grad(model.loss, params=model.params), NX, Y)
    assert report.notes == ("loss returns no gradient of its inputs; not judged",)


class Double:
    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 3 * dy


class Holder:
    def __init__(self):
        self.net = Double()

    def loss(self, x):
        return self.net.forward(x).square().sum()

    __call__ = loss


def around_net():
    net = Double()
    return lambda x: net.forward(x).square().sum()


def around_layers():
    layers_ = [Double(), Double()]
    return lambda x: layers_[1].forward(layers_[0].forward(x)).square().sum()


def by_default(x, net=Double()):  # noqa: B008
    return net.forward(x).square().sum()


@pytest.mark.parametrize(
    ("made", "code", "whole"),
    [
        (around_net(), "net", "net"),
        (around_layers(), "layers_[0]", "*layers_"),
        (Holder().loss, "self.net", "self.net"),
        (Holder(), "self.net", "self.net"),
        (by_default, "net", "net"),
        (partial(by_default, net=Double()), "net", "net"),
    ],
    ids=["closure", "list", "method", "object", "default", "partial"],
)
def test_callable_around_an_object_with_backward_gets_a_note(made, code, whole):
    report = gradcheck(made, X)
    assert report.notes == (f"`{code}.backward` was not run; use chain({whole}, loss)",)


def test_and_in_numpy_an_error_that_says_so():
    net = layers.Net()
    with pytest.raises(SpecError, match=r"returns no pullback.*; `net.backward` was not run; use chain\(net, loss\)"):
        gradcheck(lambda x: net.forward(x) + 1, NX)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: value_and_grad(3), r"value_and_grad\(3\): write a function f\(\*inputs\) -> \(loss, grads\)"),
        (lambda: gradcheck(value_and_grad(lambda x: x.sum()), X), r"must return \(loss, grads\); it returned Tensor"),
        (lambda: chain(layers.Net), r"chain\(\.\.\.\): Net is no object with forward and backward"),
        (lambda: chain(layers.Net(), 3), r"chain\(\.\.\.\): int is no object with forward and backward"),
    ],
)
def test_what_cannot_be_used_says_what_to_write(make, text):
    with pytest.raises(SpecError, match=text):
        make()


def test_a_loss_with_its_gradients_is_told_what_to_write():
    def loss(x, w):
        return (x @ w).sum(), np.ones((len(x), 2)) @ w.T, x.T @ np.ones((len(x), 2))

    with pytest.raises(SpecError, match=r"check value_and_grad\(loss\)"):
        gradcheck(loss, NX, W)
    with pytest.raises(SpecError, match=r"check value_and_grad\(layer.loss, params=layer.params\)"):
        gradcheck(layers.Model(), NX, Y)


def test_a_function_and_its_derivative_are_told_what_to_write():
    def cube(x):
        return x**3

    def cube_slope(x):
        return 3 * x**2

    line = "lambda x: (cube(x), lambda v: v * cube_slope(x))"
    with pytest.raises(SpecError, match=re.escape(line)):
        gradcheck((cube, cube_slope), NX)
    assert gradcheck(eval(line, {"cube": cube, "cube_slope": cube_slope}), NX).ok


@pytest.mark.parametrize("backward", [lambda dout, cache: dout, lambda dout, c: dout])
def test_a_forgotten_cache_is_no_input(backward):
    with pytest.raises(SpecError, match=r"must return \(out, cache\)"):
        gradcheck((lambda x: 2 * x, backward), NX)


def test_a_loss_and_its_derivative_are_told_what_to_write():
    def mse(y_pred, y_true):
        return np.mean((y_true - y_pred) ** 2)

    def mse_slope(y_pred, y_true):
        return 2 * (y_pred - y_true) / y_true.size

    line = "lambda y_pred, y_true: (mse(y_pred, y_true), lambda v: v * mse_slope(y_pred, y_true))"
    with pytest.raises(SpecError, match=re.escape(line)):
        gradcheck((mse, mse_slope), NX, NX + 1)
    assert gradcheck(eval(line, {"mse": mse, "mse_slope": mse_slope}), NX, np.cos(NX)).ok


class Model:
    """Its loss returns the gradients of its parameters, in each way in turn."""

    def __init__(self, way):
        self.way, self.W = way, np.linspace(-1, 1, 6).reshape(3, 2)
        self.b = np.zeros(2)
        self.params = {"W": self.W, "b": self.b} if way == "params" else None

    def loss(self, x):
        y = x @ self.W + self.b
        dW, db = 2 * x.T @ y, 2 * y.sum(0)
        return (y**2).sum(), [dW, db] if self.way == "list" else {"dW": dW, "db": db}


@pytest.mark.parametrize(
    ("way", "write"),
    [("list", "[model.W, model.b]"), ("dict", '{"W": model.W, "b": model.b}'), ("params", "model.params")],
)
def test_gradients_of_parameters_are_told_to_be_named(way, write):
    model = Model(way)
    line = f"value_and_grad(model.loss, params={write})"
    with pytest.raises(SpecError) as raised:
        gradcheck(value_and_grad(model.loss), NX)
    assert line in str(raised.value)
    with pytest.raises(SpecError) as raised:
        gradcheck(model.loss, NX)
    assert line in str(raised.value)
    made = eval(line, {"value_and_grad": value_and_grad, "model": model})
    assert len(verified_in(gradcheck(made, NX))) == 2


def test_a_gradient_of_the_wrong_shape_is_a_failure_where_nothing_has_that_shape():
    failed = gradcheck(value_and_grad(lambda x: ((x**2).sum(), 2 * x.T)), NX, raise_exception=False).failures
    assert {r.finding.where[0] for r in failed if r.finding} == {"x"}


def test_a_loss_that_counts_in_numpy_is_given_arrays_by_a_spec():
    for right in (True, False):
        spec = LayerSpec(
            build=lambda r=right: value_and_grad(hinges if r else wrong_hinges), inputs=("B C", ints("B", below="C"))
        )
        report = check(spec, examples=6, only=("gradient", "dtypes"))
        assert report.ok is right
        assert right or report.failures[0].check == "input_gradient"
    assert {r.outcome.name for r in report.results if r.check == "dtypes"} == {"PASS"}


def hinges(x, y):
    """CS231n's svm_loss: of tensors `(margins > 0) * 1.0` would be float32."""
    rows = np.arange(len(x))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    d = (margins > 0) * 1.0
    d[rows, y] -= d.sum(1)
    return margins.sum() / len(x), d / len(x)


def wrong_hinges(x, y):
    loss, d = hinges(x, y)
    return loss, 2 * d


PARAMETERS = {"W": np.random.default_rng(3).normal(size=(1, 3))}
COLUMNS = np.random.default_rng(4).normal(size=(3, 5))
TARGETS = (np.random.default_rng(5).random((1, 5)) > 0.5) * 1.0


def forward_propagation(X, parameters):
    A = 1 / (1 + np.exp(-parameters["W"] @ X))
    return A, {"A": A}


def backward_propagation(parameters, cache, X, Y):
    return {"dW": (cache["A"] - Y) @ X.T / X.shape[1]}


def test_a_pair_that_goes_back_from_targets_is_told_to_write_its_loss_beside_it():
    said = r"(?s)backward_propagation asks for Y, .*return \.\.\., backward_propagation\(parameters, cache, X, Y\)"
    with pytest.raises(SpecError, match=said):
        gradcheck((forward_propagation, backward_propagation), COLUMNS, PARAMETERS)


def model_backward(AL, Y, caches):
    """Asks for the output again; what is on the way has a gradient too."""
    return {**backward_propagation(None, caches, caches["X"], Y), "dA0": AL}


def model_forward(X, parameters):
    A, cache = forward_propagation(X, parameters)
    return A, {**cache, "X": X}


def test_so_is_one_that_asks_for_the_output_again():
    said = r"(?s)model_backward asks for Y, .*return \.\.\., model_backward\(out, Y, cache\)"
    with pytest.raises(SpecError, match=said):
        gradcheck((model_forward, model_backward), COLUMNS, PARAMETERS)

    def loss(X, parameters, Y):
        out, cache = model_forward(X, parameters)
        return -np.mean(Y * np.log(out) + (1 - Y) * np.log(1 - out)), model_backward(out, Y, cache)

    report = gradcheck(value_and_grad(loss), const(COLUMNS), PARAMETERS, TARGETS)
    assert verified_in(report) == {"parameters.W"}


def test_a_state_after_the_gradients_is_left_out_of_what_is_to_be_written():
    U, b = np.eye(2), np.zeros(2)

    def recurrent(h):
        y = U @ h + b
        return (y**2).sum(), np.outer(2 * y, h), 2 * y, y

    said = r"value_and_grad\(lambda \*xs: recurrent\(\*xs\)\[:3\], params=\[U, b\]\)"
    with pytest.raises(SpecError, match=said):
        gradcheck(recurrent, const(np.ones(2)))
    assert gradcheck(value_and_grad(lambda *xs: recurrent(*xs)[:3], params=[U, b]), np.ones(2)).ok


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_and_that_loss_is_judged(factor):
    def loss(X, parameters, Y):
        A, cache = forward_propagation(X, parameters)
        grads = backward_propagation(parameters, cache, X, Y)
        cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
        return cost, {k: factor * g for k, g in grads.items()}

    report = gradcheck(value_and_grad(loss), COLUMNS, PARAMETERS, TARGETS, raise_exception=False)
    assert report.ok == (factor == 1.0)
    assert report.ok or [r.finding.where[0] for r in report.failures] == ["parameters.W"]


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_cotangent_that_is_called_like_a_target_is_one(factor):
    def scaled_forward(X, parameters):
        return parameters["W"] @ X, None

    def scaled_backward(parameters, cache, X, Y):
        return {"X": factor * parameters["W"].T @ Y, "dW": Y @ X.T}

    report = gradcheck((scaled_forward, scaled_backward), COLUMNS, PARAMETERS, raise_exception=False)
    assert report.ok == (factor == 1.0)
    assert report.ok or [r.finding.where[0] for r in report.failures] == ["X"]


def cell_forward(xt, parameters):
    at = np.tanh(parameters["W"] @ xt + parameters["b"])
    return at, (xt, at, parameters)


def cell_backward(da, cache):
    xt, at, parameters = cache
    dz = da * (1 - at**2)
    return {"dxt": parameters["W"].T @ dz, "dW": dz @ xt.T, "db": dz.sum(1, keepdims=True)}


def shiftless_cell_backward(da, cache):
    return {n: g for n, g in cell_backward(da, cache).items() if n != "db"}


CELL = {**PARAMETERS, "b": np.array([[0.5]]), "by": np.array([[0.3]])}


def test_an_entry_of_a_dict_that_the_outputs_do_not_go_by_needs_no_gradient_and_one_they_go_by_does():
    report = gradcheck((cell_forward, cell_backward), COLUMNS, CELL)
    assert "`parameters.by`: no output goes by it, and backward returns no gradient of it; not judged" in report.notes
    with pytest.raises(NotVerified, match=r"parameters\.b: backward returns no gradient of it"):
        gradcheck((cell_forward, shiftless_cell_backward), COLUMNS, CELL)


def test_an_entry_that_grads_declares_constant_is_not_judged_and_one_that_there_is_not_is_told():
    pair = cell_forward, shiftless_cell_backward
    assert gradcheck(pair, COLUMNS, CELL, grads={"parameters.b": None}).ok
    with pytest.raises(
        SpecError, match=r"grads names 'parameters\.B', which is no tensor of \w+: did you mean 'parameters\.b'\?"
    ):
        gradcheck(pair, COLUMNS, CELL, grads={"parameters.B": None})


SLOPE, SHIFT = np.array([1.5, -0.5, 2.0]), np.array([0.25])


@pytest.mark.parametrize(("name", "params"), [("shift", {"W": SLOPE, "b": SHIFT}), ("x_gard", {"W": SLOPE})])
def test_a_gradient_whose_name_is_of_nothing_is_told_with_what_it_may_be_of(name, params):
    def loss(x):
        z = x @ SLOPE + SHIFT
        return 0.5 * (z**2).sum(), {"dW": x.T @ z, name: z.sum() if name == "shift" else z[:, None] * SLOPE}

    with pytest.raises(SpecError, match=rf"loss returns a gradient named '{name}', .* did you mean '[bx]'\?"):
        gradcheck(value_and_grad(loss, params=params), NX)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_gradient_of_what_is_on_the_way_is_none_of_a_target_and_is_told(factor):
    def loss(x, y):
        return 0.5 * ((x - y) ** 2).sum(), {"dx": factor * (x - y), "dscores": x - y}

    report = gradcheck(value_and_grad(loss), NX, NX + 1, raise_exception=False)
    assert "loss returns gradients of no parameter or input ('dscores'); not judged" in report.notes
    assert report.ok == (factor == 1.0)


LEFT: dict[str, np.ndarray] = {}


def leaving_forward(x):
    LEFT["x"] = x
    return x**2


def left_backward(d):
    return 2 * d * LEFT["x"]


def wrong_left_backward(d):
    return 3 * d * LEFT["x"]


@pytest.mark.parametrize("backward", [left_backward, wrong_left_backward])
def test_a_pair_that_keeps_what_backward_needs_in_a_global_is_told_how_it_is_judged(backward):
    with pytest.raises(SpecError, match="from a global what leaving_forward left there") as told:
        gradcheck((leaving_forward, backward), X)
    code = str(told.value).rpartition("check ")[2]
    layer = eval(code, {"types": types, **{f.__name__: f for f in (leaving_forward, backward)}})
    assert gradcheck(layer, X, raise_exception=False).ok == (backward is left_backward)


@pytest.mark.parametrize("refused", [0, 2])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_outputs_side_by_side_whose_cotangents_go_in_one_tuple(factor, refused):
    asked = []

    def backward(dout, cache):
        asked.append(dout)
        if len(asked) <= refused:  # what the first values tell of it does not stand
            raise ValueError("refused")
        return layers.both_backward(dout, cache, factor)

    report = gradcheck((layers.both_forward, backward), NX, raise_exception=False)
    assert report.ok is (factor == 1.0)
    assert bool(report.notes) is bool(refused)  # made of the first call, so that it says too little


def test_two_numbers_side_by_side_are_no_array_of_cotangents():
    def forward(x):
        return (x**2).sum(), x.max(), x

    def backward(dout, cache):
        return dout * cache * 2

    report = gradcheck((forward, backward), NX[0, :2])
    assert report.notes == (
        "backward takes 1 of the cotangents and the forward gives 2 outputs; the others are not judged",
    )
