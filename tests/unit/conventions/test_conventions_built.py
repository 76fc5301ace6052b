"""What is built at the first forward is judged in float64, and what a module does not register is named."""

from __future__ import annotations

import layers_built as layers
import pytest
import torch
from layers_autograd import RIGHT, WRONG
from twins import NX, Twins, X, pair, verified_in

from harness import LayerSpec, NotVerified, check, gradcheck

SINGLE = X.float()


def both(make, verified: str, tensor: str = "W") -> Twins:
    return Twins(make(RIGHT), make(WRONG), (SINGLE,), tensor, verified)


TWINS = {
    "lazy, torch": pair(layers.LazyTorch, SINGLE, tensor="W", verified="x W"),
    "lazy, NumPy": pair(layers.LazyNumpy, NX, tensor="W", verified="x W"),
    "float32 alone": pair(layers.Single, SINGLE, tensor="W", verified="x W"),
    "build(input_shape)": pair(layers.Keras, NX, tensor="W", verified="x W"),
    "build(input_shape), without the batch": pair(layers.KerasWithoutBatch, NX, tensor="W", verified="x W"),
    "parameters that are not there": both(layers.MadeModule, "x W"),
    "parameters that are not registered": both(layers.Unregistered, "x held.W", "held.W"),
}
BUILT = "built by a forward in float32, then judged in float64"


def test_parameters_that_wait_for_a_forward_get_one_on_a_copy():
    right, wrong = layers.LazyModule(RIGHT), layers.LazyModule(WRONG)
    assert verified_in(gradcheck(right, SINGLE)) == {
        "x",
        "W",
        *(f"{a}.{b}" for a in ("first", "norm") for b in ("weight", "bias")),
    }
    failed = gradcheck(wrong, SINGLE, raise_exception=False).failures
    assert {r.finding.where[0] for r in failed} == {"W"}
    assert torch.nn.parameter.is_lazy(right.first.weight)
    assert torch.nn.parameter.is_lazy(right.norm.running_mean)


@pytest.mark.parametrize("kind", [layers.LazyTorch, lambda: layers.MadeModule(1.0)], ids=["stateful", "module"])
def test_what_is_built_in_float32_is_judged_in_float64(kind):
    report = gradcheck(kind(), SINGLE)
    assert report.notes == (BUILT,)
    assert all(found < 1e-6 for r in report.results for found in r.tensors.values())
    assert not hasattr(kind(), "W")


def test_what_takes_float32_alone_is_still_judged_in_it():
    (note,) = gradcheck(layers.Single(), SINGLE).notes
    assert note.startswith("judged in float32: in float64")


def test_a_spec_of_a_lazy_layer_is_judged_in_float64():
    assert check(LayerSpec(layers.LazyTorch, inputs="B D"), examples=5).notes == (BUILT,)
    wrong = type("Wrong", (layers.LazyTorch,), {"factor": 1 + 1e-5})  # rounding hides it in float32
    failed = check(LayerSpec(wrong, inputs="B D"), examples=3, only=("parameter_gradient",)).failures
    assert failed


def test_a_tensor_that_a_module_does_not_register_is_named():
    module = layers.Unregistered(1.0, requires_grad=False)
    with pytest.raises(NotVerified, match=r"`held.W` changes the output and has no gradient: make it a torch.nn.Param"):
        gradcheck(module, SINGLE)
    assert verified_in(gradcheck(module, SINGLE, grads={"held.W": None})) == {"x"}
    assert module.held["W"].dtype is torch.float32


def test_script_of_a_tensor_that_is_not_registered_puts_it_in_its_place(capsys):
    failed = gradcheck(layers.Unregistered(2.0), SINGLE, raise_exception=False).failures
    script = failed[0].finding.reproduce.replace("layer = Unregistered(...)", "layer = Unregistered(2.0)")
    assert "layer.held['W'] = live['held.W']" in script
    exec(script, {})
    assert "held.W[" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_module_with_a_weight_that_is_computed_is_copied():
    module = torch.nn.utils.weight_norm(torch.nn.Linear(3, 2))
    assert verified_in(gradcheck(module, X)) == {"input", "bias", "weight_g", "weight_v"}


def test_a_layer_that_its_caller_builds_is_built_and_said_to_be():
    assert "Keras.build((4, 3)) was called first" in gradcheck(layers.Keras(), NX).notes
    right = check(LayerSpec(build=lambda: layers.Keras(2), inputs=("B D",)), examples=4, only=("gradient",))
    assert right.ok
    with pytest.raises(AttributeError, match="no attribute 'W'"):  # an input that it can't take either way
        gradcheck(layers.KerasWithoutBatch(), NX[None])
