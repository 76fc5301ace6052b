"""Training and evaluation by methods, attributes and keywords of forward; random masks from every generator."""

from __future__ import annotations

import layers_modes as layers
import pytest
from twins import NX, assert_right_is_verified, assert_wrong_is_named, pair

from harness import LayerSpec, check, gradcheck

KINDS = {
    "train() and eval()": layers.ByMethods,
    "training": layers.by_attribute("training"),
    "train": layers.by_attribute("train"),
    "is_training": layers.by_attribute("is_training"),
    "trainable": layers.by_attribute("trainable"),
    "mode": layers.by_attribute("mode", "train"),
    "forward(training=)": layers.Training,
    "forward(train=)": layers.Train,
    "forward(*, is_train)": layers.IsTrain,
    "forward(train_flg=)": layers.TrainFlg,
    "forward(eval=)": layers.Eval,
    "forward(mode=)": layers.Mode,
}
DEFAULT = {name: "eval" if name == "forward(train=)" else "train" for name in KINDS}


def modes_of(report):
    return {r.mode for r in report.results}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_layer_is_judged_in_the_mode_asked_for(kind, mode):
    first = "Z" if kind is layers.Eval else "x"
    twins = pair(kind, NX, tensor="gamma", verified=f"{first} gamma", mode=mode)
    assert modes_of(assert_right_is_verified(twins)) == {mode}
    assert modes_of(assert_wrong_is_named(twins)) == {mode}


@pytest.mark.parametrize("name", KINDS)
def test_mode_that_nobody_names_is_the_present_one(name):
    assert modes_of(gradcheck(KINDS[name](), NX)) == {DEFAULT[name]}


@pytest.mark.parametrize("name", KINDS)
def test_specs_are_checked_in_both_modes(name):
    report = check(LayerSpec(KINDS[name], inputs="B 3"), examples=3, only=["gradient", "state"])
    expected = {"train"} if name == "trainable" else {"train", "eval"}
    assert modes_of(report) == expected
    assert not report.failures


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_layers_of_a_network_are_switched_together(mode):
    verified = "x layers.0.gamma layers.1.gamma"
    twins = pair(layers.Net, NX, tensor="layers.0.gamma", verified=verified, mode=mode)
    assert modes_of(assert_right_is_verified(twins)) == {mode}
    assert_wrong_is_named(twins)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_an_array_in_one_mode_may_be_a_number_in_the_other(mode):
    twins = pair(layers.OneInEval, NX, tensor="x", verified="x", mode=mode)
    assert_right_is_verified(twins)
    assert_wrong_is_named(twins)


def test_layers_in_different_modes_are_left_in_them():
    net = layers.Net()
    net.layers[0].training = False
    assert modes_of(gradcheck(net, NX)) == {None}


def test_keyword_that_the_caller_sets_is_no_mode():
    report = gradcheck(layers.Training(), NX, kwargs={"training": False})
    assert report.ok
    assert modes_of(report) == {None}
    assert modes_of(gradcheck(layers.Training(), NX, True)) == {None}


def test_function_pair_with_a_keyword_has_modes():
    def forward(x, train=True):
        return (x * 2 if train else x * 3), (2 if train else 3)

    for mode in ("train", "eval"):
        assert modes_of(gradcheck((forward, lambda dy, c: dy * c), NX, mode=mode)) == {mode}


DROPOUTS = {name: layers.dropout(draw) for name, draw in layers.GENERATORS.items()} | {"own": layers.OwnGenerator}


@pytest.mark.parametrize("kind", DROPOUTS.values(), ids=DROPOUTS)
def test_every_forward_replays_the_same_draw(kind):
    twins = pair(kind, NX, tensor="x", verified="x")
    assert_right_is_verified(twins)
    assert_wrong_is_named(twins)
