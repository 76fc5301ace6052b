"""Who shares memory with whom: layers that a later step would spoil beside layers that share in peace."""

import numpy as np
import pytest
import torch
from core_layers import Affine

from harness import Outcome, gradcheck


class Shift(Affine):
    """x + b: the gradient of x is the cotangent itself."""

    def forward(self, x):
        self.x = x
        return x + self.b

    def backward(self, dy):
        self.dw, self.db = 0 * self.w, dy.sum(0)
        return dy


class OutputBuffer(Affine):
    """Its outputs lie in a buffer that the next forward fills again."""

    y = None

    def forward(self, x):
        y = super().forward(x)
        if self.y is None or self.y.shape != y.shape:
            self.y = torch.empty_like(y)
        self.y.copy_(y)
        return self.y


class GradientBuffer(Affine):
    out = None

    def backward(self, dy):
        dx = super().backward(dy)
        if self.out is None or self.out.shape != dx.shape:
            self.out = torch.empty_like(dx)
        return self.out.copy_(dx)


class OneForBoth(Affine):
    """x + w + b: the gradients of w and b are one array."""

    def forward(self, x):
        return x + self.w + self.b

    def backward(self, dy):
        self.dw = self.db = dy.sum(0)
        return dy.clone()


class NumpyBuffer:
    def __init__(self):
        self.out = np.zeros((4, 3))

    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, dy):
        np.multiply(2 * self.x, dy, out=self.out)
        return self.out


X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def aliasing(layer, x=X):
    report = gradcheck(layer, x, battery=True, raise_exception=False)
    return next(r for r in report.results if r.check == "aliasing")


def test_arrays_of_their_own_pass():
    found = aliasing(Affine())
    assert (found.outcome, found.reason) == (Outcome.PASS, "")


def test_a_gradient_that_is_the_cotangent_is_said_and_passes():
    found = aliasing(Shift())
    assert found.outcome is Outcome.PASS
    assert found.reason == "the gradient of x lies in the memory of its cotangent"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (OutputBuffer(), "output0 is overwritten when the layer is used again"),
        (GradientBuffer(), "the gradient of x is overwritten when the layer is used again"),
        (OneForBoth(), "the gradient of w and the gradient of b share memory"),
    ],
)
def test_what_a_later_step_would_spoil_fails(layer, said):
    found = aliasing(layer)
    assert found.outcome is Outcome.FAIL
    assert said in found.reason


def test_a_buffer_in_numpy_fails():
    assert aliasing(NumpyBuffer(), X.numpy()).outcome is Outcome.FAIL


def with_workspace(lib, kept):
    """sin x, its gradient in memory of its own or in one that the next backward fills again."""
    memory = {}

    def forward(x):
        return lib.sin(x), x

    def backward(dy, x):
        dx = dy * lib.cos(x)
        if not kept:
            return dx
        there = memory.setdefault((tuple(dx.shape), dx.dtype), lib.zeros_like(dx))
        there[...] = dx
        return there

    return forward, backward


def as_function(pair):
    forward, backward = pair

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y, cache = forward(x)
            ctx.save_for_backward(cache)
            return y

        @staticmethod
        def backward(ctx, dy):
            return backward(dy, *ctx.saved_tensors)

    return Sine


def as_module(pair):
    sine = as_function(pair)

    class Module(torch.nn.Module):
        def forward(self, x):
            return sine.apply(x)

    return Module()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("dress", [lambda pair: pair, as_function, as_module], ids=["pair", "Function", "module"])
def test_a_workspace_behind_functions_fails(dress, kept):
    found = aliasing(dress(with_workspace(torch, kept)))
    assert found.outcome is (Outcome.FAIL if kept else Outcome.PASS)
    assert found.reason == ("the gradient of x is overwritten when the layer is used again" if kept else "")


@pytest.mark.parametrize("kept", [False, True])
def test_a_workspace_behind_a_pair_in_numpy_fails(kept):
    assert aliasing(with_workspace(np, kept), X.numpy()).outcome is (Outcome.FAIL if kept else Outcome.PASS)


def test_gradients_in_one_anothers_memory_are_said_and_pass():
    def backward(dy, cache):
        dx = 2 * dy
        return dx, dx

    report = gradcheck((lambda x, y: (2 * (x + y), None), backward), X, X + 1, battery=True)
    found = next(r for r in report.results if r.check == "aliasing")
    assert (found.outcome, found.reason) == (Outcome.PASS, "the gradient of x and the gradient of y share memory")


class Bias(Affine):
    """x + b of one row: the gradient that it keeps is the cotangent's row."""

    def forward(self, x):
        return x + self.w + self.b

    def backward(self, dy):
        self.dw, self.db = dy.sum(0), dy[0]
        return dy.clone()


class Weigh:
    """w · x: the gradient of x is the parameter, that of the parameter x."""

    def __init__(self):
        self.w = torch.ones(3).double()

    def forward(self, x):
        self.x = x
        return (x * self.w).sum()

    def backward(self):
        self.dw = self.x
        return self.w


@pytest.mark.parametrize(
    ("layer", "x", "said"),
    [
        (Bias(), X[:1], "the gradient of b lies in the memory of its cotangent"),
        (
            Weigh(),
            X[0],
            "the gradient of x lies in the memory of the parameter w; the gradient of w lies in the memory of x",
        ),
    ],
)
def test_what_lies_in_the_memory_of_what_was_there_is_said(layer, x, said):
    found = aliasing(layer, x)
    assert (found.outcome, found.reason) == (Outcome.PASS, said)


class Decay:
    """w·w/2 + Σ x: the gradient of w is w, in memory of its own or not."""

    def __init__(self, lib, own, beside):
        self.lib, self.own = lib, own
        self.w = lib.asarray([1.0, -2.0, 0.5])
        if beside:
            self.dw = lib.zeros_like(self.w)

    def forward(self, x):
        self.x = x
        return (self.w * self.w).sum() / 2 + x.sum()

    def backward(self):
        self.dw = 1 * self.w if self.own else self.w[:]
        return self.lib.ones_like(self.x)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("lib", [torch, np])
@pytest.mark.parametrize("own", [False, True])
def test_a_gradient_that_is_its_parameter_itself_fails(lib, own, beside):
    found = aliasing(Decay(lib, own, beside), lib.asarray([0.5, 2.0]))
    assert found.outcome is (Outcome.PASS if own else Outcome.FAIL)
    assert found.reason == ("" if own else "the gradient of w and the parameter w share memory")


class Shifted:
    """x + a + b: the kept gradients are rows of one array of NumPy's; `step`: how many entries apart they begin."""

    def __init__(self, step):
        self.a, self.b, self.step = np.zeros(3), np.zeros(3), step

    def forward(self, x):
        return x + self.a + self.b

    def backward(self, dy):
        both = np.zeros(3 + self.step)
        both[self.step :] = both[:3] = dy.sum() / 3  # level cotangents: the same in both
        self.da, self.db = both[:3], both[self.step :]
        return dy.copy()


@pytest.mark.parametrize(("step", "outcome"), [(3, Outcome.PASS), (2, Outcome.FAIL)])
def test_views_of_one_array_that_begin_apart_may_overlap(step, outcome):
    assert aliasing(Shifted(step), X.numpy()).outcome is outcome


class LeftBehind(Affine):
    """Backward returns nothing and leaves dx; `buffered`: in one array that every backward fills again."""

    buffered = False

    def backward(self, dy):
        dx = super().backward(dy)
        if self.buffered and getattr(self, "dx", None) is not None and self.dx.shape == dx.shape:
            self.dx.copy_(dx)
        else:
            self.dx = dx


class LeftInABuffer(LeftBehind):
    buffered = True


@pytest.mark.parametrize(("layer", "outcome"), [(LeftBehind, Outcome.PASS), (LeftInABuffer, Outcome.FAIL)])
def test_gradient_of_an_input_that_is_left_on_the_layer(layer, outcome):
    assert aliasing(layer()).outcome is outcome


class Exp:
    """eˣ in backward's own memory."""

    lib, where = torch, None

    def forward(self, x):
        self.y = self.lib.exp(x)
        return self.y

    def backward(self, dy):
        return self.lib.multiply(dy, self.y, out=self.where)


class ExpInItsOutput(Exp):
    """The gradient computed in the memory of what forward has returned."""

    def backward(self, dy):
        return self.lib.multiply(dy, self.y, out=self.y)


@pytest.mark.parametrize("lib", [torch, np])
@pytest.mark.parametrize(("layer", "fails"), [(Exp, False), (ExpInItsOutput, True)])
def test_a_backward_that_writes_over_its_output_fails(lib, layer, fails):
    made = type("Layer", (layer,), {"lib": lib})()
    x = lib.asarray(np.linspace(-1.0, 1.0, 6).reshape(2, 3))
    report = gradcheck(made, x, raise_exception=False)
    failed = [r for r in report.failures if r.check == "unmutated"]
    assert bool(failed) is fails
    assert all("output: 6 of 6 entries changed in place" in str(r.finding) for r in failed)
