"""A layer, its inputs and the global generators are left as they were found, byte for byte."""

from __future__ import annotations

import random
from typing import Any

import core_layers as layers
import numpy as np
import pytest
import torch
from contents import contents, global_state
from torch import Tensor

from harness import LayerSpec, check, gradcheck
from harness.api import undisturbed
from harness.checks import all_checks
from harness.engine import observe
from harness.examples.cases import case_of
from harness.examples.design import examples
from harness.session import Session


class Careless(layers.AttributeLinear):
    """Writes to its input, keeps statistics, draws from every global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.training, self.calls = True, 0
        self.running = torch.zeros(3, dtype=torch.float64)
        self.generator, self.rng = torch.Generator().manual_seed(3), np.random.default_rng(3)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.running += x.mean(0)
        noise = torch.rand(x.shape, dtype=x.dtype) + random.random() + float(np.random.rand())  # noqa: NPY002
        noise += torch.rand(x.shape, generator=self.generator, dtype=x.dtype) + float(self.rng.random())
        x += 0 * noise
        return super().forward(x)


def used(layer: Any, x: Tensor) -> Any:
    """The layer after one forward and backward, its gradients and caches filled."""
    layer.backward(torch.ones_like(layer.forward(x.clone())))
    return layer


def module() -> torch.nn.Module:
    made = layers.CubicModule(3).eval()
    made.weight.grad = torch.ones_like(made.weight)
    return made


SUBJECTS: dict[str, Any] = {
    "dicts": lambda: used(layers.DictLinear(3, 2), torch.ones(4, 3, dtype=torch.float64)),
    "dicts in NumPy": layers.NumpyDictLinear,
    "attributes": lambda: used(layers.AttributeLinear(), torch.ones(4, 3, dtype=torch.float64)),
    "wrong": layers.WrongAttributeLinear,
    "running mean": layers.RunningMean,
    "noise": lambda: layers.Noise(0.5, 7),
    "careless": Careless,
    "module": module,
}


@pytest.mark.parametrize("mode", ["train", "eval", None])
@pytest.mark.parametrize("make", SUBJECTS.values(), ids=SUBJECTS)
def test_layer_and_inputs_are_left_as_found(make, mode):
    layer = make()
    modes = isinstance(layer, torch.nn.Module) or hasattr(layer, "training")
    x = torch.randn(4, 3, dtype=torch.float32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    given = x.detach().numpy().copy() if isinstance(layer, layers.NumpyDictLinear) else x
    before = contents([layer, given]), global_state()
    gradcheck(layer, given, mode=mode if modes else None, battery=True, raise_exception=False)
    assert (contents([layer, given]), global_state()) == before


def test_what_is_compared_sees_a_change():
    layer = layers.Noise()
    before = contents(layer)
    layer.forward(torch.ones(2))
    assert contents(layer) != before


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        ((layers.affine_forward, layers.affine_backward), ((4, 3), (3, 2), (2,))),
        (layers.closure, ((4, 3), (3, 2))),
        (layers.Cubic, ((4, 3), (4, 3))),
        (layers.call_cubic, ((4, 3), (4, 3))),
    ],
    ids=["pair", "closure", "Function", "callable"],
)
def test_inputs_of_functions_are_left_as_found(layer, inputs):
    given = [torch.rand(s, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) for s in inputs]
    before = contents(given), global_state()
    gradcheck(layer, *given)
    assert (contents(given), global_state()) == before


def test_input_that_requires_grad_gets_none():
    x = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    gradcheck(layers.Cubic, x, x.detach() + 1)
    assert x.grad is None


def test_check_leaves_the_global_generators():
    before = global_state()
    check(LayerSpec(build=lambda p: layers.Noise(), inputs="B D", options={"p": (0.5,)}), examples=3)
    assert global_state() == before


def test_check_leaves_a_layer_that_stands_for_its_build():
    layer = layers.DictLinear(3, 2)
    before = contents(layer)
    check(LayerSpec(build=layer, inputs="B 3"), examples=3)
    assert contents(layer) == before


class KeepsItsCotangent:
    """W x + b of one example: the gradient of b is the cotangent itself."""

    def __init__(self) -> None:
        self.W, self.b = torch.ones(3, 4), torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return self.W @ x + self.b

    def backward(self, dy: Tensor) -> Tensor:
        self.dW, self.db = torch.outer(dy, self.x), dy
        return self.W.T @ dy


def test_a_cotangent_kept_as_a_gradient_is_not_written_to():
    report = gradcheck(KeepsItsCotangent(), torch.randn(4), battery=True, raise_exception=False)
    assert report.ok, str(report)


class Greedy:
    """Its backward takes its input, its cotangent and its output for scratch memory."""

    def __init__(self, D: int) -> None:
        self.w = torch.ones(D, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.y = x, self.w.to(x) * x
        return self.y

    def backward(self, v: Tensor) -> Tensor:
        self.dw = (self.x * v).sum(0)
        found = self.w.to(v) * v
        for scratch in (v, self.y, self.x):
            scratch.zero_()
        return found


def test_no_check_lets_a_layer_write_to_what_others_look_at():
    """`portable` handed the case's own cotangents to the layer: `unmutated`, which is asked later, saw nothing then."""
    spec = LayerSpec(Greedy, "B D", promises=("portable", "stable"))
    with undisturbed():
        for example in examples(spec, 4, 0):
            case, _ = case_of(spec, example, None, torch.device("cpu"), None)
            session, base = Session(case), case.base
            kept = [t.clone() for t in (*base.cotangents, *base.outputs, *case.leaves.values())]
            for one in all_checks():
                observe(one, session)
                now = (*base.cotangents, *base.outputs, *case.leaves.values())
                assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True)), one.name
    report = check(spec, examples=4)
    assert "unmutated" in {r.check for r in report.failures}
