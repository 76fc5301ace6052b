"""torch.autograd.Function, torch.nn.Module, torch.library operators and callables around them: right and wrong."""

from __future__ import annotations

from functools import partial

import layers_autograd as layers
import pytest
import torch
from torch.utils.checkpoint import checkpoint
from twins import Twins, X, randn, verified_in

from harness import GradientError, SpecError, const, gradcheck

W, B = randn(3, 2, seed=1), randn(2, seed=2)


def both(make, *inputs, tensor: str, verified: str, **words) -> Twins:
    return Twins(make(layers.RIGHT), make(layers.WRONG), inputs, tensor, verified, words)


def through(make):
    """A callable with parameters in its closure."""

    def made(factor):
        function = make(factor)
        return lambda x, w: function.apply(x, w.tanh(), torch.zeros(2, dtype=x.dtype)).square()

    return made


TWINS = {
    "argument that is no tensor": both(layers.power_of, X, 3, tensor="x", verified="x"),
    "apply": both(lambda f: layers.power_of(f).apply, X, 3, tensor="x", verified="x"),
    "setup_context": both(layers.affine_of, X, W, B, tensor="w", verified="x w b"),
    "once_differentiable": both(layers.once_of, X, tensor="x", verified="x"),
    "indices as second output": both(layers.sort_of, X, tensor="x", verified="x"),
    "output that is not differentiable": both(layers.floor_of, X, tensor="x", verified="x"),
    "mark_dirty": both(layers.dirty_of, X, tensor="x", verified="x"),
    "nn.Module in train": both(
        layers.module_of, X, tensor="1.weight", verified="input 0.weight 0.bias 1.weight 1.bias", mode="train"
    ),
    "nn.Module in eval": both(
        layers.module_of, X, tensor="1.weight", verified="input 0.weight 0.bias 1.weight 1.bias", mode="eval"
    ),
    "callable": both(through(layers.affine_of), X, W, tensor="w", verified="x w"),
    "custom operator": Twins(layers.operator_of("right", 1.0), layers.operator_of("wrong", 2.0), (X, 0.5), "x", "x"),
    "partial": both(lambda f: partial(layers.power_of(f).apply), X, 3, tensor="input0", verified="input0"),
}


def test_subset_that_needs_no_gradient_is_left_out():
    assert verified_in(gradcheck(layers.affine_of(1.0), X, const(W), B)) == {"x", "b"}
    assert verified_in(gradcheck(layers.affine_of(2.0), X, const(W), B)) == {"x", "b"}


def test_operator_is_found_through_torch_ops():
    assert verified_in(gradcheck(torch.ops.harness_tests.right, X, 0.5)) == {"x"}
    with pytest.raises(GradientError, match=r"x\["):
        gradcheck(torch.ops.harness_tests.wrong.default, X, 0.5)


def test_module_is_left_as_it_was():
    module = layers.module_of(1.0)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    gradcheck(module, X)
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
    assert all(p.grad is None for p in module.parameters())


Y = randn(4, 3, seed=5)


def required(*tensors):
    return tuple(t.clone().requires_grad_() for t in tensors)


@pytest.mark.parametrize(
    "called", [lambda f: f, lambda f: lambda x, y: 1.0 * f.apply(x, y)], ids=["Function", "callable"]
)
def test_none_for_what_needs_no_gradient_is_said(called):
    (x,) = required(X)
    for report in (gradcheck(called(layers.half_of(False)), x, Y), gradcheck(called(layers.half_of(True)), X, Y)):
        assert report.notes == ("`y` has no gradient: backward gives None; it does not require one, not judged",)
        assert verified_in(report) == {"x"}


@pytest.mark.parametrize(("loss", "inputs"), [(False, (X, Y)), (False, required(X, Y)), (True, required(X, Y))])
def test_none_for_what_needs_a_gradient_is_wrong(loss, inputs):
    failed = gradcheck(layers.half_of(loss), *inputs, raise_exception=False).failures
    assert {r.finding.where[0] for r in failed} == {"y"}


def test_a_wrong_gradient_of_what_requires_none_is_wrong():
    x, b = required(X, B)
    failed = gradcheck(layers.affine_of(2.0), x, W, b, raise_exception=False).failures
    assert {r.finding.where[0] for r in failed} == {"w"}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_a_checkpoint_that_only_backward_goes_through_is_told_what_to_write():
    def through(reentrant: bool):
        return lambda x: checkpoint(torch.tanh, x, use_reentrant=reentrant)

    assert gradcheck(through(False), X).ok
    with pytest.raises(SpecError, match="write use_reentrant=False"):
        gradcheck(through(True), X)


def test_another_function_that_only_backward_goes_through_is_no_failure():
    class Invertible(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, dy):
            raise RuntimeError("not compatible with .grad(), please use .backward() if possible")

    with pytest.raises(SpecError, match=r"goes back through \.backward\(\) alone .* check what it wraps"):
        gradcheck(torch.nn.Sequential(torch.nn.Linear(3, 2), Applied(Invertible)), X)


class Applied(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function.apply(x)
