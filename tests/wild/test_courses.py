"""Layers in the style of courses, books and libraries, of our own writing: right ones are verified, wrong ones named."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from courses import cs231n, dezero, fromscratch, makemore, mytorch, opacus, scratch

from harness import GradientError, NotVerified, Report, chain, const, gradcheck, value_and_grad

GRADIENTS = ("input_gradient", "parameter_gradient")
rng = np.random.default_rng(0)
X, Z = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
P = 1 / (1 + np.exp(-Z))
W, B = rng.normal(size=(3, 2)), rng.normal(size=2)
IMAGE, FILTER = rng.normal(size=(2, 2, 4, 4)), rng.normal(size=(3, 2, 3, 3))
LABELS, ONE_HOT = np.array([0, 2, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
IDS = np.array([0, 2, 2, 1])
MORE = np.array([1.0, 1.5, 0.5]), np.array([0.0, 0.5, 1.0])
RUNNING = {"mode": "test", "running_mean": np.array([0.1, 0.2, 0.3]), "running_var": np.array([1.0, 2.0, 0.5])}
STATE = [rng.normal(size=s) for s in ((4, 2), (4, 2), (3, 8), (2, 8), (8,))]


class Row(NamedTuple):
    """A right layer, its wrong twin, what both are called with, the tensors that are wrong, and all that is verified."""

    right: Any
    wrong: Any
    inputs: tuple[Any, ...]
    wrongs: str
    verified: str
    words: Mapping[str, Any] = {}


def pair(name: str, *inputs: Any, wrongs: str, verified: str) -> Row:
    forward, backward = getattr(cs231n, f"{name}_forward"), getattr(cs231n, f"{name}_backward")
    return Row((forward, backward), (forward, getattr(cs231n, f"wrong_{name}_backward")), inputs, wrongs, verified)


def naive(name: str, *inputs: Any, wrongs: str, verified: str) -> Row:
    forward, backward = (getattr(cs231n, f"{name}_{way}_naive") for way in ("forward", "backward"))
    wrong = getattr(cs231n, f"wrong_{name}_backward_naive")
    return Row((forward, backward), (forward, wrong), inputs, wrongs, verified)


def twins(home: Any, name: str, made: tuple[Any, ...], *inputs: Any, wrongs: str, verified: str, **words: Any) -> Row:
    right, wrong = getattr(home, name), getattr(home, f"Wrong{name}")
    return Row(right(*made), wrong(*made), inputs, wrongs, verified, words)


def net(affine: type) -> Any:
    model = fromscratch.TwoLayerNet(affine)
    return value_and_grad(model.gradient, params=model.params)


def trained(linear: type) -> Any:
    model = dezero.Model(linear)
    return value_and_grad(dezero.loss_of(model), params=[p.data for p in model.params()])


def ninja(wrong: str) -> Any:
    def run(Xb: Any, Yb: Any, C: Any, W1: Any, b1: Any, bngain: Any, bnbias: Any, W2: Any, b2: Any) -> Any:
        return makemore.mlp(Xb, Yb, C, W1, b1, bngain, bnbias, W2, b2, wrong=wrong)

    return run


CONTEXT = torch.tensor([[0, 1, 2], [3, 1, 1], [4, 0, 2], [2, 2, 3]])
NINJA = (CONTEXT, torch.tensor([1, 0, 4, 2]), *makemore.parameters())
ALL = " ".join(makemore.NAMES)

CS231N = {
    "affine_relu": pair("affine_relu", X, W, B, wrongs="b", verified="x w b"),
    "batchnorm": pair("batchnorm", X, *MORE, {"mode": "train"}, wrongs="x", verified="x gamma beta"),
    "batchnorm in test": Row(
        (cs231n.batchnorm_forward, lambda dout, c: (dout * c[1] / c[2], (dout * c[0]).sum(0), dout.sum(0))),
        (cs231n.batchnorm_forward, cs231n.batchnorm_backward),
        (X, *MORE, RUNNING),
        "x",
        "x gamma beta",
    ),
    "conv": naive("conv", IMAGE, FILTER, np.zeros(3), {"stride": 1, "pad": 1}, wrongs="w", verified="x w b"),
    "max_pool": naive("max_pool", IMAGE, {"pool_height": 2, "pool_width": 2, "stride": 2}, wrongs="x", verified="x"),
    "lstm_step": pair("lstm_step", X, *STATE, wrongs="prev_c", verified="x prev_h prev_c Wx Wh b"),
    "svm_loss": Row(value_and_grad(cs231n.svm_loss), value_and_grad(cs231n.wrong_svm_loss), (X, LABELS), "x", "x"),
}
MYTORCH = {
    "Linear": twins(mytorch, "Linear", (3, 2), X, wrongs="b", verified="A W b"),
    "GELU": twins(mytorch, "GELU", (), X, wrongs="Z", verified="Z"),
    "BatchNorm1d": twins(mytorch, "BatchNorm1d", (3,), X, wrongs="gamma", verified="Z gamma beta"),
    "BatchNorm1d in eval": twins(
        mytorch, "BatchNorm1d", (3,), X + 1, wrongs="gamma", verified="Z gamma beta", mode="eval"
    ),
    "Dropout": twins(mytorch, "Dropout", (0.4,), X, wrongs="x", verified="x"),
    "MSELoss": twins(mytorch, "MSELoss", (), X, Z, wrongs="A", verified="A"),
    "CrossEntropyLoss": twins(mytorch, "CrossEntropyLoss", (), X, ONE_HOT, wrongs="A", verified="A"),
    "MLP1": Row(
        mytorch.MLP1(),
        mytorch.MLP1(mytorch.WrongLinear),
        (X,),
        "layers.0.b",
        "A0 layers.0.W layers.0.b layers.2.W layers.2.b",
    ),
    "MLP1 and its loss": Row(
        chain(mytorch.MLP1(), mytorch.CrossEntropyLoss()),
        chain(mytorch.MLP1(mytorch.WrongLinear), mytorch.CrossEntropyLoss()),
        (X, const(np.eye(2)[[0, 1, 1, 0]])),
        "net.layers.0.b",
        "A0 net.layers.0.W net.layers.0.b net.layers.2.W net.layers.2.b",
    ),
}
SCRATCH = {
    "Sigmoid": twins(fromscratch, "Sigmoid", (), X, wrongs="x", verified="x"),
    "Affine": twins(fromscratch, "Affine", (W, B), X, wrongs="params.1", verified="x params.0 params.1"),
    "Embedding": twins(fromscratch, "Embedding", (X,), IDS, wrongs="params.0", verified="params.0"),
    "SoftmaxWithLoss": twins(fromscratch, "SoftmaxWithLoss", (), X, LABELS, wrongs="x", verified="x"),
    "SoftmaxWithLoss one-hot": twins(fromscratch, "SoftmaxWithLoss", (), X, ONE_HOT, wrongs="x", verified="x"),
    "Dropout": twins(fromscratch, "Dropout", (0.4,), X, wrongs="x", verified="x"),
    "BatchNormalization": twins(fromscratch, "BatchNormalization", MORE, X, wrongs="gamma", verified="x gamma beta"),
    "TwoLayerNet": Row(net(fromscratch.Affine), net(fromscratch.WrongAffine), (X, LABELS % 2), "b1", "W1 b1 W2 b2"),
}
OTHERS = {
    "makemore": Row(ninja(""), ninja("C"), NINJA, "C", ALL),
    "makemore, Bessel": Row(ninja(""), ninja("bessel"), NINJA, "C W1", ALL),
    "dezero Exp": Row(dezero.run(dezero.Exp), dezero.run(dezero.WrongExp), (X,), "input0", "input0"),
    "dezero Mul": Row(dezero.run(dezero.Mul), dezero.run(dezero.WrongMul), (X, Z), "input1", "input0 input1"),
    "dezero Model": Row(
        trained(dezero.Linear), trained(dezero.WrongLinear), (X, Z[:, :2]), "params.0", "params.0 params.1"
    ),
}
OPACUS = {
    "Linear with the sums": Row(opacus.Summed(), opacus.WrongSummed(), (torch.randn(4, 3),), "weight", "x weight bias"),
}
SCRATCH = {
    "dlcourse.ai FullyConnectedLayer": twins(scratch, "FullyConnectedLayer", (), X, wrongs="B", verified="X W B"),
    "ML-From-Scratch ELU": twins(scratch, "ELU", (), X, wrongs="x", verified="x"),
    "ML-From-Scratch CrossEntropy": twins(scratch, "CrossEntropy", (), ONE_HOT, P, wrongs="p", verified="p"),
    "tinynn SoftmaxCrossEntropy": twins(
        scratch, "SoftmaxCrossEntropy", (), X, ONE_HOT, wrongs="predicted", verified="predicted"
    ),
    "needle LogSumExp": twins(scratch, "LogSumExp", (), X, wrongs="Z", verified="Z"),
    "CSE 599 EWiseDiv": twins(scratch, "EWiseDiv", (), X, 1 + P, wrongs="input_val1", verified="input_val0 input_val1"),
    "Nielsen Network": twins(
        scratch,
        "Network",
        (),
        X.T.copy(),
        wrongs="biases.0",
        verified="a weights.0 weights.1 biases.0 biases.1",
    ),
    "p, g and dicts": twins(scratch, "Adjoint", (), {"x": X}, wrongs="p.W", verified="inputs.x p.W"),
}
ROWS = {
    f"{course} {name}": row
    for course, rows in {
        "cs231n": CS231N,
        "mytorch": MYTORCH,
        "fromscratch": SCRATCH,
        "other": OTHERS,
        "opacus": OPACUS,
        "scratch": SCRATCH,
    }.items()
    for name, row in rows.items()
}


def verified_in(report: Report) -> set[str]:
    return {n for r in report.results if r.check in GRADIENTS for n in r.tensors}


def failed_in(report: Report) -> set[str]:
    """The tensors that the reasons of the failures name, at one input."""
    reasons = [re.sub(r" \(\d+ of \d+ examples\)$", "", r.reason) for r in report.failures if r.check in GRADIENTS]
    return {said.split(": ")[0] for reason in reasons for said in reason.split("; ")}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_right_layer_is_verified(row):
    report = gradcheck(row.right, *row.inputs, **row.words)
    assert verified_in(report) == set(row.verified.split())


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_wrong_twin_is_failed_on_the_right_tensors(row):
    with pytest.raises(GradientError) as raised:
        gradcheck(row.wrong, *row.inputs, **row.words)
    assert not isinstance(raised.value, NotVerified), str(raised.value)
    assert failed_in(raised.value.report) == set(row.wrongs.split())


PER_EXAMPLE = {
    opacus.GradSample: "weight.grad_sample",
    opacus.ByName: "weight_grad_sample",
    opacus.InDict: "per_sample_grads.weight",
}


@pytest.mark.parametrize("kind", PER_EXAMPLE)
def test_gradients_of_each_example_are_not_supported_and_what_to_write_is_said(kind):
    with pytest.raises(NotVerified) as raised:
        gradcheck(kind(), torch.randn(4, 3))
    said = (
        f"weight: `{PER_EXAMPLE[kind]}` holds one gradient for each of 4 examples, which is not supported: "
        "keep their sum too, which is judged, self.dweight = ….sum(0)"
    )
    assert said in str(raised.value)


def test_under_the_name_of_a_gradient_they_are_wrong_and_the_sum_is_said_to_be_missing():
    with pytest.raises(GradientError) as raised:
        gradcheck(opacus.ByUsualName(), torch.randn(5, 3))
    said = (
        "its gradient has shape (5, 2, 3), it has (2, 3): one for each of 5 examples (not supported), sum them: .sum(0)"
    )
    assert f"weight: {said}" in raised.value.report.failures[0].reason
