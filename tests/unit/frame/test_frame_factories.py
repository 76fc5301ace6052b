"""Functions that make layers, and functions over a dict of parameters: listed, made and called without a spec."""

import made_layers
import numpy as np
import pytest

from harness import SpecError, check, gradcheck, value_and_grad
from harness.targets.candidates import candidates
from harness.targets.guesses import Guess
from harness.targets.probe import probe

DRAWN = "lambda n_in, n_hidden, n_out, rng: init_params(n_in, n_hidden, n_out, rng)"
WHOLE = "(lambda model: value_and_grad(model.loss, params=model.params))({}())"
GUESSES = {
    "Model": (WHOLE.format("Model"), "B 6", 'ints("B", below=3)'),
    "WrongModel": (WHOLE.format("WrongModel"), "B 6", 'ints("B", below=3)'),
    "Dense": ("Dense(n_in, n_out, rng)", "B n_in"),
    "Told": ("Told(0.5)", "B D"),
    "make_dense": ("make_dense(n_in, n_out)", "B n_in"),
    "make_shifted": ("make_shifted(n_in, n_out)", "B n_in"),
    "make_mlp": ("make_mlp((D, 3))", "B D"),
    "make_wrong": ("make_wrong(n)", "B n"),
    "make_closure": ("make_closure(n_in, n_out)", "B n_in"),
    "make_relu": ("make_relu()", "B D"),
    "make_scaled": ("make_scaled(d)", "B d"),
    "make_net": ("make_net([Dense(n_in, n_out, rng)])", "B n_in"),
    "from_settings": ("from_settings(SimpleNamespace(dim=dim))", "B dim"),
    "square": ("square", "B D"),
    "mlp": ("(mlp_forward, mlp_backward)", DRAWN, "B n_in"),
    "linear": (
        "(linear_forward, linear_backward)",
        "lambda rng: linear_init(int(rng.integers(1000)))",
        "B 4",
    ),
    "loss_and_grads": (
        "value_and_grad(loss_and_grads)",
        DRAWN,
        "B n_in",
        "lambda B, n_out, rng: (rng.integers(0, n_out, (B, 1)) == range(n_out)) * 1.0",
    ),
}
WRONG = ("WrongModel", "make_wrong", "linear")
FOUND = {c.name: c for c in candidates(made_layers, [])}


def test_what_makes_a_layer_is_listed_and_no_program():
    assert FOUND.keys() == GUESSES.keys() | {"propagation"}


def test_a_backward_of_targets_is_told_what_to_write():
    probed = probe(FOUND["propagation"])
    assert probed.spec is None
    assert probed.why.startswith("backward_propagation asks for Y, which forward_propagation takes no input for")


@pytest.mark.parametrize("name", GUESSES)
def test_how_it_is_made_and_called_is_found_and_judged(name):
    probed = probe(FOUND[name])
    assert (probed.guess.build, *probed.guess.inputs) == GUESSES[name]
    assert probed.spec is not None
    report = check(probed.spec, examples=4, only=["gradient"])
    assert bool(report.failures) == (name in WRONG)
    assert report.ok == (name not in WRONG)


def test_parameters_that_nothing_makes_are_a_function_to_complete():
    module = type(made_layers)("alone")
    source = "def net_forward(params, x):\n    return x, None\ndef net_backward(params, cache, dy):\n    return dy\n"
    exec(source, vars(module))
    for function in (module.net_forward, module.net_backward):
        function.__module__ = "alone"
    (candidate,) = candidates(module, [])
    assert probe(candidate).spec is None
    assert Guess.blank(candidate).inputs == ("lambda rng: …", "…")


PARAMS = {"W": np.random.default_rng(0).normal(size=(4, 3)), "b": np.zeros(3)}
X, Y = np.random.default_rng(1).normal(size=(5, 4)), np.random.default_rng(2).normal(size=(5, 3))


def loss_and_grads(params, x, y, factor=1.0):
    d = x @ params["W"] + params["b"] - y
    return 0.5 * (d**2).sum(), {"dW": factor * x.T @ d, "db": d.sum(0)}


def test_a_loss_over_a_dict_of_parameters_is_judged_in_each_of_them():
    report = gradcheck(value_and_grad(loss_and_grads), PARAMS, X, Y)
    assert report.results[0].tensors.keys() == {"params.W", "params.b"}
    wrong = gradcheck(
        value_and_grad(lambda params, x, y: loss_and_grads(params, x, y, 2.0)), PARAMS, X, Y, raise_exception=False
    )
    assert [f.finding.where[0] for f in wrong.failures] == ["params.W"]


def test_gradients_before_their_loss_are_told():
    with pytest.raises(SpecError, match=r"must return \(loss, grads\), the loss first; it returned \(dict, "):
        gradcheck(value_and_grad(lambda params, x, y: loss_and_grads(params, x, y)[::-1]), PARAMS, X, Y)


def kept_forward(params, x):
    h = np.tanh(x @ params["W"] + params["b"])
    return h, [x, h]


def test_a_memory_of_any_name_between_parameters_and_cotangent_is_found():
    def kept_backward(params, hs, dy, factor=1.0):
        x, h = hs
        d = dy * (1 - h**2)
        return {"W": factor * x.T @ d, "b": d.sum(0)}, d @ params["W"].T

    assert gradcheck((kept_forward, kept_backward), PARAMS, X).ok
    wrong = (kept_forward, lambda params, hs, dy: kept_backward(params, hs, dy, -1.0))
    assert [f.check for f in gradcheck(wrong, PARAMS, X, raise_exception=False).failures] == ["input_gradient"]
