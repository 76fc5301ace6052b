"""Training and evaluation by methods, attributes and keywords of forward; random masks from every generator."""

from __future__ import annotations

import re

import layers_modes as layers
import pytest
import torch
from contents import contents
from twins import NX, X, assert_right_is_verified, assert_wrong_is_named, pair

from harness import LayerSpec, SpecError, check, gradcheck
from harness.reading.modes import usual_modes

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
    "forward(x, mode)": layers.ModeRequired,
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


def test_trainable_that_forward_alone_goes_by_is_a_mode_and_one_that_backward_reads_is_none():
    assert usual_modes(layers.Frozen(), 1) == ("train",)
    twins = pair(layers.Lent, NX, tensor="x", verified="x")
    right, wrong = (
        check(LayerSpec(type(t), inputs="2 3"), examples=1, only=["input_gradient"]) for t in (twins.right, twins.wrong)
    )
    assert modes_of(right) == {"train", "eval"}
    assert not right.failures
    assert [f.mode for f in wrong.failures] == ["eval"]


def test_running_statistics_lent_to_what_is_kept_for_backward_are_no_others_from_run_to_run():
    spec = LayerSpec(layers.Lent, inputs="B 3", dims={"B": [1]}, modes=("train", "eval"))
    assert not check(spec, examples=4, only=["gradient", "repeatable", "reuse"]).failures


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


DROPOUTS = {name: layers.dropout(draw) for name, draw in layers.GENERATORS.items()}
DROPOUTS |= {"own": layers.OwnGenerator, "its class's": layers.OfItsClass}


@pytest.mark.parametrize("kind", DROPOUTS.values(), ids=DROPOUTS)
def test_every_forward_replays_the_same_draw(kind):
    twins = pair(kind, NX, tensor="x", verified="x")
    shared = [layers.RNG, layers.TORCH_RNG, layers.OfItsClass.rng]
    before = contents(shared)
    assert_right_is_verified(twins)
    assert_wrong_is_named(twins)
    assert contents(shared) == before


def test_a_generator_of_the_file_that_the_layer_does_not_draw_from_is_left_alone():
    twins = pair(layers.Unlucky, NX, tensor="x", verified="x W")
    assert_right_is_verified(twins)
    assert_wrong_is_named(twins)
    assert gradcheck(layers.Unlucky(), NX, battery=True).ok


def test_functions_that_draw_from_the_files_generator_are_replayed():
    def forward(x):
        mask = layers.drawn(x.shape) < 0.7
        return x * mask, mask

    assert gradcheck((forward, lambda dy, mask: dy * mask), NX).ok
    assert gradcheck((forward, lambda dy, mask: dy), NX, raise_exception=False).failures


class Steeper(torch.autograd.Function):
    """2 x in training and 3 x in evaluation; its backward knows of training alone."""

    @staticmethod
    def forward(ctx, x, training):
        return (2.0 if training else 3.0) * x

    @staticmethod
    def backward(ctx, g):
        return 2.0 * g, None


class KeywordModule(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fixed = torch.nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x, training=True, k=1.0):
        return Steeper.apply(k * self.fixed * x, training)


def test_a_keyword_of_a_modules_forward_is_its_mode():
    right = gradcheck(KeywordModule(), X, kwargs={"k": 2.0})
    assert "fixed: requires_grad is False, not judged" in right.notes
    wrong = gradcheck(KeywordModule(), X, mode="eval", kwargs={"k": 2.0}, raise_exception=False)
    (failure,) = wrong.failures
    layer = KeywordModule()
    script = failure.finding.reproduce.replace("layer = ...  # fill in: a KeywordModule", "")
    said: list[str] = []
    exec(script, {"layer": layer.double(), "print": said.append})
    numbers = [float(n) for n in re.findall(r"backward (\S+), central difference (\S+)", said[0])[0]]
    assert numbers[1] == pytest.approx(1.5 * numbers[0])


def test_the_battery_of_a_layer_that_is_not_usually_evaluated_runs_in_eval_if_asked():
    report = gradcheck(KINDS["trainable"](), NX, mode="eval", battery=True)
    assert {r.mode for r in report.results} == {"eval"}


class Asks(layers.Norm):
    def forward(self, x, level, *, mode):
        return self.compute(x, mode > level)


class ModuleThatAsks(torch.nn.Module):
    def forward(self, x, mode):
        return x * mode


@pytest.mark.parametrize(
    ("layer", "names"), [(Asks(), ("level",)), (ModuleThatAsks(), ("mode",)), (lambda x, mode: x * mode, ("mode",))]
)
def test_what_forward_asks_for_beside_its_inputs_is_named_with_what_to_write(layer, names):
    words = ", ".join(f'"{n}": ...' for n in names)
    with pytest.raises(SpecError, match=rf"asks for {' and '.join(names)} too: .* kwargs=\{{{words}"):
        gradcheck(layer, X)


def test_a_layer_that_forgets_an_argument_itself_raises_its_own_error():
    def forward(x):
        return (lambda y, z: y)(x)

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'z'"):
        gradcheck(forward, X)
