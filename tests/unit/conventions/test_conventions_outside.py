"""Parameters that stand outside the objects of a class are judged as its own are, and left as they were found."""

from __future__ import annotations

import re
from types import SimpleNamespace

import layers_outside as layers
import numpy as np
import pytest
import torch
from contents import contents
from twins import NX, Twins, X, pair, shown

from harness import LayerSpec, check, gradcheck
from harness.conventions import subject_of
from harness.request import Request

TWINS = {
    "global": pair(layers.Attribute, NX, tensor="W", verified="x W"),
    "global in float32": pair(layers.Single, NX, tensor="single", verified="x single"),
    "global gradient": pair(layers.Stored, NX, tensor="W", verified="x W"),
    "a helper's global": pair(layers.Helper, NX, tensor="W", verified="x W"),
    "gradient returned": pair(layers.Returned, NX, tensor="W", verified="x W"),
    "global dicts": pair(layers.Dicts, NX, tensor="W", verified="x W b"),
    "global tensor's .grad": pair(layers.Grad, X, tensor="leaf", verified="x leaf"),
    "closure": Twins(layers.enclosed(), layers.enclosed(2.0), (NX,), "own", "x own", {"grads": {"own": "down"}}),
    "attribute of the class by name": pair(layers.OfClass, NX, tensor="W", verified="x W"),
    "dicts of the class": pair(layers.DictsOfClass, NX, tensor="W", verified="x W"),
    "beside constants": pair(layers.Tanh, X, tensor="x", verified="x"),
    "beside attributes": pair(layers.Beside, NX, tensor="W", verified="x W kernel"),
}


KINDS = (dict, np.ndarray, torch.Tensor)


def everything():
    """What stands in the module and in its classes: the very things, and their values."""
    homes = [vars(layers), vars(layers.OfClass), vars(layers.DictsOfClass)]
    found = [{n: v for n, v in h.items() if n[:2] != "__" and isinstance(v, KINDS)} for h in homes]
    return contents(found), [{n: id(v) for n, v in h.items()} for h in found], layers.dW, layers.calls


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_what_is_outside_is_left_as_it_was(twins):
    before = everything()
    gradcheck(twins.right, *twins.inputs, **twins.words)
    gradcheck(twins.wrong, *twins.inputs, **twins.words, raise_exception=False)
    assert everything() == before


def test_it_is_left_alone_where_nobody_would_put_it_back():
    before = everything()
    assert set(subject_of(Request(layers.Attribute(), (NX,))).leaves) == {"x"}
    assert everything() == before


def test_it_is_drawn_anew_for_every_example_of_a_spec():
    right, wrong = (LayerSpec(build=lambda f=f: _with(f), inputs=("B 3",)) for f in (1.0, 2.0))
    before = everything()
    assert check(right, examples=4).ok
    failed = check(wrong, examples=4).failures
    assert {r.finding.where[0] for r in failed if r.finding} == {"W"}
    assert everything() == before


def _with(factor):
    layer = layers.Attribute()
    layer.factor = factor
    return layer


def test_what_nobody_says_is_a_parameter_is_named():
    report = gradcheck(layers.Constant(), X)
    assert "`kernel` changes the output and has no gradient: held outside the layer, not judged" in report.notes


@pytest.mark.parametrize(
    ("kind", "name", "written"),
    [
        (layers.Silent, "leaf", "its gradient"),
        (layers.Elsewhere, "table", "dW"),
        (layers.Overridden, "table", "its gradient"),
    ],
    ids=["requires a gradient", "a gradient of its shape", "a method that is not its own"],
)
def test_what_seems_to_be_one_is_not_passed_over(kind, name, written):
    report = gradcheck(kind(), X, raise_exception=False)
    assert not report.ok
    assert not report.failures
    said = next(r.reason for r in report.results if r.check == "parameter_gradient")
    assert f"`{name}` changes the output and has no gradient" in said
    assert f"grads={{{name!r}: {written!r}}}" in said


@pytest.mark.parametrize(
    ("kind", "tensor", "inputs"),
    [(layers.Attribute, "W", NX), (layers.Stored, "W", NX), (layers.Dicts, "W", NX)],
)
def test_script_shows_the_fault(kind, tensor, inputs, capsys):
    wrong = type("Wrong", (kind,), {"factor": 2.0})
    script = gradcheck(wrong(), inputs, raise_exception=False).failures[0].finding.reproduce
    script = re.sub(r"^from \w+ import Wrong$", "", script, flags=re.MULTILINE)
    before = everything()
    kept = {n: getattr(layers, n) for n in ("W", "dW", "leaf", "calls")}, dict(layers.params), dict(layers.grads)
    try:
        shown(re.sub(r"^layer = .*$", "layer = made()", script, flags=re.MULTILINE), tensor, capsys, made=wrong)
    finally:
        for name, value in kept[0].items():
            setattr(layers, name, value)
        layers.params.update(kept[1])
        layers.grads.clear()
        layers.leaf.grad = None
    assert everything() == before


def test_script_draws_as_the_report_has_it(capsys):
    wrong = type("Wrong", (layers.Draws,), {"factor": 2.0})
    finding = gradcheck(wrong(), NX, raise_exception=False).failures[0].finding
    script = re.sub(r"^from \w+ import Wrong$", "", finding.reproduce, flags=re.MULTILINE)
    state = layers.rng.bit_generator.state
    exec(re.sub(r"^layer = .*$", "layer = made()", script, flags=re.MULTILINE), {"made": wrong, "__name__": "script"})
    layers.rng.bit_generator.state = state
    claimed = float(re.search(r"backward (\S+),", capsys.readouterr().out)[1])
    assert claimed == pytest.approx(finding.analytic, rel=1e-6)


def test_constants_stay_what_they_are_in_every_example_and_dtype():
    wrong = type("Wrong", (layers.Tanh,), {"factor": 1.01})
    right, failed = (check(LayerSpec(build=kind, inputs=("B 3",)), examples=6) for kind in (layers.Tanh, wrong))
    assert not right.failures
    assert {"float32", "float16", "input_gradient"} <= {r.check for r in right.results if r.outcome.name == "PASS"}
    assert "input_gradient" in {r.check for r in failed.failures}
    assert gradcheck(layers.Tanh(), X).ok


GAMMA = np.array([1.5, 2.0, 0.5])


def made(library, factor, attribute):
    """An object of two functions, whose parameters stand in their closure; as an `attribute`, on the object as well."""
    W = np.random.default_rng(0).normal(size=(3, 2))
    params, grads, cache = {"W": torch.tensor(W) if library == "torch" else W}, {}, {}
    gamma = torch.tensor(GAMMA) if library == "torch" else GAMMA

    def forward(x):
        cache["x"] = x * gamma
        return cache["x"] @ params["W"]

    def backward(dout):
        grads["W"] = factor * cache["x"].T @ dout
        return dout @ params["W"].T * gamma

    return SimpleNamespace(
        forward=forward, backward=backward, **({"params": params, "grads": grads} if attribute else {})
    )


@pytest.mark.parametrize("attribute", [True, False])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_what_functions_on_an_object_hold_is_found(library, attribute):
    x = np.random.default_rng(1).normal(size=(4, 3))
    x = torch.tensor(x) if library == "torch" else x
    report = gradcheck(made(library, 1.0, attribute), x)
    assert [n.rpartition(".")[2] for n in report.results[1].tensors] == ["W"]
    assert any("`gamma` changes the output and has no gradient" in note for note in report.notes)
    wrong = gradcheck(made(library, 2.0, attribute), x, raise_exception=False)
    assert "parameter_gradient" in [r.check for r in wrong.failures]
    assert "SimpleNamespace(...)  # fill in its arguments" in wrong.failures[0].finding.reproduce


def test_a_constant_that_functions_on_an_object_read_stays_as_it_was():
    before = GAMMA.tobytes()
    layer = SimpleNamespace(forward=lambda x: x * GAMMA, backward=lambda v: v * GAMMA)
    assert "`GAMMA` changes the output and has no gradient" in " ".join(gradcheck(layer, np.ones((4, 3))).notes)
    assert GAMMA.tobytes() == before
