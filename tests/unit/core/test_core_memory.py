"""Who shares memory with whom: layers that a later step would spoil beside layers that share in peace."""

import numpy as np
import pytest
import torch

from harness import Outcome, gradcheck


class Affine:
    """x w + b, every array its own."""

    def __init__(self):
        self.w, self.b = torch.ones(3).double(), torch.zeros(3).double()

    def forward(self, x):
        self.x = x
        return x * self.w + self.b

    def backward(self, dy):
        self.dw, self.db = (dy * self.x).sum(0), dy.sum(0)
        return dy * self.w


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


def test_what_autograd_hands_out_is_not_looked_at():
    assert aliasing(torch.nn.Linear(3, 2).double()).outcome is Outcome.SKIP


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
