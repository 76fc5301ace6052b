"""Tuples and lists of arrays as inputs and outputs, in every convention: right and wrong."""

from __future__ import annotations

import re

import layers_nested as layers
import numpy as np
import pytest
import torch
from twins import NX, Twins, X, pair, randn, verified_in

from harness import LayerSpec, SpecError, check, const, gradcheck

H, C = randn(4, 2, seed=3).numpy(), randn(4, 2, seed=4).numpy()
W = randn(5, 8, seed=5).numpy()
STATE = (H, C)
DICT, MORE = {"x": NX, "y": H}, {"y": H, "z": C}
ALL = {"tensor": "state.1", "verified": "x state.0 state.1 W"}


def module(factor: float) -> torch.nn.Module:
    return layers.Recurrent(factor).double()


TX, TSTATE = randn(3, 4, 3), (randn(1, 4, 2, seed=1), randn(1, 4, 2, seed=2))
WEIGHTS = "lstm.weight_ih_l0 lstm.weight_hh_l0 lstm.bias_ih_l0 lstm.bias_hh_l0"
TWINS = {
    "as the forward": pair(layers.Cell, NX, STATE, **ALL),
    "a list": pair(layers.Cell, NX, [H, C], **ALL),
    "one by one": pair(layers.OneByOne, NX, STATE, **ALL),
    "with a default": pair(layers.WithoutState, NX, STATE, **ALL),
    "first alone": pair(layers.FirstAlone, NX, STATE, **ALL),
    "in a dict": pair(layers.InDict, NX, STATE, **ALL),
    "kept": pair(layers.Kept, NX, STATE, **ALL),
    "parameters beside them": pair(layers.AllReturned, NX, STATE, **ALL),
    "named tuple": pair(layers.Named, NX, layers.State(H, C), **ALL),
    "tuples in a list": pair(
        layers.Deep,
        H,
        [(H + 1, C), (H - 1, C + 1)],
        tensor="states.0.1",
        verified="x states.0.0 states.0.1 states.1.0 states.1.1",
    ),
    "pair": Twins(
        (layers.cell_forward, layers.cell_backward),
        (layers.cell_forward, layers.wrong_cell_backward),
        (NX, STATE, W),
        **ALL,
    ),
    "closure": Twins(layers.run(1.0), layers.run(2.0), (NX, STATE, W), **ALL),
    "dicts": pair(layers.Dicts, DICT, tensor="batch.y", verified="batch.x batch.y W"),
    "dicts by name": pair(layers.DictsNamed, DICT, tensor="batch.y", verified="batch.x batch.y W"),
    "dict beside": pair(layers.DictBeside, NX, MORE, tensor="more.y", verified="x more.y more.z W"),
    "dict within": pair(layers.DictWithin, NX, MORE, tensor="more.y", verified="x more.y more.z W"),
    "pair with a dict": Twins(
        (layers.dense_forward, layers.dense_backward),
        (layers.dense_forward, layers.wrong_dense_backward),
        (NX, {"W1": W[:, :4], "b1": W[:, :1]}),
        "parameters.W1",
        "X parameters.W1 parameters.b1",
    ),
    "nn.Module": Twins(module(1.0), module(2.0), (TX, TSTATE), "state.1", f"x state.0 state.1 {WEIGHTS}"),
    "callable": Twins(
        lambda x, state: layers.Scaled.apply(x * state[0], 1.0) * state[1],
        lambda x, state: x * state[0] * layers.Scaled.apply(state[1], 2.0),
        (X, (X + 1, X - 1)),
        "state.1",
        "x state.0 state.1",
    ),
}

DICTS = ("dicts", "dicts by name", "dict beside", "pair with a dict")


def test_outputs_without_a_cotangent_are_said():
    said = "backward takes 1 cotangent and the forward gives 2 outputs; the others are not judged"
    assert gradcheck(layers.FirstAlone(), NX, STATE).notes == (said,)
    assert gradcheck(layers.WithoutState(), NX, STATE).notes == ()


def test_torch_lstm_as_it_is_given_to_torch():
    assert gradcheck(torch.nn.LSTM(3, 2).double(), (TX, TSTATE)).ok


def test_part_without_gradient():
    assert verified_in(gradcheck(layers.Cell(), NX, (H, const(C)))) == {"x", "state.0", "W"}
    assert verified_in(gradcheck(layers.Cell(), NX, const(STATE))) == {"x", "W"}


def test_spec_draws_a_state():
    def state(B, D, rng):
        return torch.as_tensor(rng.normal(size=(B, D))), torch.as_tensor(rng.normal(size=(B, D)))

    assert check(LayerSpec(layers.Cell, inputs=("B 3", state), dims={"D": (2,)}), examples=5).ok


@pytest.mark.parametrize(
    "reference",
    [
        lambda x, state, W: (layers.step(x, *state, W)[0], *layers.step(x, *state, W)[:2]),
        lambda x, s, W: (layers.step(x, *s, W)[0], *layers.step(x, *s, W)[:2]),
        lambda x, h, c, W: (layers.step(x, h, c, W)[0], layers.step(x, h, c, W)[:2]),
    ],
)
def test_reference_is_given_the_state_as_it_asks(reference):
    assert gradcheck(layers.Cell(), NX, STATE, reference=reference).ok


@pytest.mark.parametrize("name", ["as the forward", "one by one", "kept", "pair", "closure", "nn.Module", *DICTS])
def test_script_shows_the_fault(name, capsys):
    twins = TWINS[name]
    script = gradcheck(twins.wrong, *twins.inputs, raise_exception=False).failures[0].finding.reproduce
    script = re.sub(r"^from \w+ import \w+$", "", script, flags=re.MULTILINE)
    script = re.sub(r"^(layer) = .*$", r"\1 = made", script, flags=re.MULTILINE)
    script = re.sub(r"^(run_) = .*$", r"\1 = made", script, flags=re.MULTILINE)
    functions = {
        n: getattr(layers, n) for n in ("cell_forward", "wrong_cell_backward", "dense_forward", "wrong_dense_backward")
    }
    exec(script, {"made": twins.wrong, **functions, "__name__": "script"})
    found = re.fullmatch(r"(.*)\[.*\]: backward (\S+), central difference (\S+)\n", capsys.readouterr().out)
    assert found is not None
    assert found[1] == twins.tensor
    assert float(found[2]) == pytest.approx(2 * float(found[3]), rel=1e-4)


def test_lists_without_an_array_are_refused():
    with pytest.raises(SpecError, match="an input is a list of something else than arrays or integers"):
        gradcheck(layers.Cell(), NX, [[1.0, 2.0], [3.0]])


def test_dict_with_settings_is_no_input():
    """A `bn_param` may hold arrays, and is handed on as it is."""

    def forward(x, bn_param):
        return (x - bn_param["mean"]) * bn_param["scale"], bn_param["scale"]

    settings = {"mean": NX.mean(0), "scale": 2.0}
    assert verified_in(gradcheck((forward, lambda dout, scale: dout * scale), NX, settings)) == {"x"}


def test_dicts_reach_modules_and_references():
    class Module(torch.nn.Module):
        def forward(self, batch):
            return {"out": batch["x"].exp(), "none": None}

    assert verified_in(gradcheck(Module(), {"x": X})) == {"batch.x"}
    assert gradcheck(layers.Dicts(), DICT, reference=lambda batch, W: (batch["x"] @ W + batch["y"], batch["y"] ** 2)).ok


def test_arrays_are_left_alone():
    before = [np.copy(a) for a in STATE]
    gradcheck(layers.Cell(), NX, STATE)
    assert all(np.array_equal(a, b) for a, b in zip(STATE, before, strict=True))
