"""What a wrong gradient is instead: each sentence has a layer that gets it, and a neighbour that is wrong in another way and must
not."""

from __future__ import annotations

from collections.abc import Callable

import core_layers as layers
import numpy as np
import pytest
import torch
from diagnosed import Of, Pullback, X, diagnosis, randn
from torch import Tensor


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def windows(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1, 2).max(-1).values


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, -1)


def rms(x: Tensor) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt()


def slope(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x) ** 2


POINTWISE: dict[str, tuple[Callable[[Tensor], Tensor], Pullback, Pullback, str]] = {
    "the cotangent": (
        torch.tanh, lambda d, x, y: d.clone(), lambda d, x, y: d.abs(), "it is the cotangent as it came: the derivative is missing",
    ),
    "a path missing": (
        lambda x: x + torch.tanh(x), lambda d, x, y: d * slope(x), lambda d, x, y: d * slope(x) + d * x,
        "what is missing is the cotangent: the path on which the input is added to the output",
    ),
    "a path too many": (
        torch.tanh, lambda d, x, y: d * slope(x) + d, lambda d, x, y: d * slope(x) + d**2,
        "the cotangent is there once too often: as if the input were added to the output",
    ),
    "input for output": (
        torch.tanh, lambda d, x, y: d * (1 - x**2), lambda d, x, y: d * (1 - x**4),
        "it would be right with the output where the input stands",
    ),
    "output for input": (
        torch.sigmoid, lambda d, x, y: d * torch.sigmoid(y) * (1 - torch.sigmoid(y)), lambda d, x, y: d * torch.sigmoid(y),
        "it is the derivative at the output, where that at the input is asked for",
    ),
    "a factor of the output": (
        torch.sigmoid, lambda d, x, y: d * y, lambda d, x, y: d * y.sqrt(),
        "every entry is 1/(1-y) times what it should be, y the output",
    ),
    "a factor of the input": (
        lambda x: torch.log(x**2 + 1), lambda d, x, y: d / (x**2 + 1), lambda d, x, y: d / (x**2 + 2),
        "every entry is 0.5/x times what it should be",
    ),
    "the negative": (
        leaky, lambda d, x, y: d * torch.where(x > 0, 1.0, 0.01), lambda d, x, y: d * torch.where(x > 0.3, 1.0, 0.1) * 1.01,
        "out exactly where x is negative",
    ),
    "a zero of the output": (
        lambda x: x * (torch.arange(5) % 2), lambda d, x, y: 1.5 * d - 0.5 * d * (torch.arange(5) % 2),
        lambda d, x, y: d * (torch.arange(5) % 3),
        "out exactly where the output is 0",
    ),
    "what moves nothing": (
        windows, lambda d, x, y: d.repeat_interleave(2, 1),
        lambda d, x, y: d.repeat_interleave(2, 1) * (x == y.repeat_interleave(2, 1)) * (1 + (x > 0)),
        "out exactly where it should be 0: what does not move the outputs gets a gradient",
    ),
    "a projection on the input": (
        rms, lambda d, x, y: d / x.square().mean(-1, keepdim=True).sqrt(),
        lambda d, x, y: d / x.square().mean(-1, keepdim=True).sqrt() * (1 + x),
        "the residual is parallel to the input along axis 1: the term with Σ δ·x over it is missing or wrong",
    ),
    "a projection on the output": (
        softmax, lambda d, x, y: d * y, lambda d, x, y: d * y**1.5,
        "the residual is parallel to the output along axis 1: the term with Σ δ·y over it is missing or wrong",
    ),
    "the diagonal": (
        softmax, lambda d, x, y: d * y * (1 - y), lambda d, x, y: d * y * (1 - y / 2),
        "only the diagonal of the Jacobian counts: how an entry moves the other outputs is missing",
    ),
    "another axis": (
        softmax, lambda d, x, y: y * (d - (d * y).sum(0, keepdim=True)), lambda d, x, y: y * (d - (d * y).sum(0, keepdim=True) ** 2 * x),
        "the residual over the output is constant along axis 0 plus constant along axis 1: a sum or mean is taken over the wrong axis",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("f", "wrong", "otherwise", "sentence"), POINTWISE.values(), ids=POINTWISE)
def test_sentence_is_said_of_the_layer_it_fits_and_not_of_its_neighbour(f, wrong, otherwise, sentence):
    x = randn(6, 6) if f is windows else X
    assert sentence in diagnosis(Of(f, wrong), x)
    assert sentence not in diagnosis(Of(f, otherwise), x)


class Exchanged(layers.LayerNorm):
    """The gradients of γ and β stand in each other's place."""

    def backward(self, d):
        dx = super().backward(d)
        self.dgamma, self.dbeta = self.dbeta, self.dgamma
        return dx


def test_exchanged_gradients_are_named():
    (said,) = diagnosis(Exchanged(5), X, of="parameter_gradient")
    assert said.endswith(": the two are exchanged")


class Convolved:
    """A correlation along the rows; its backward as its options say."""

    def __init__(self, turned: Callable[[Tensor], Tensor], kept: Callable[[Tensor], Tensor]) -> None:
        self.w, self.turned, self.kept = randn(3, seed=3), turned, kept

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return sum(self.w[j] * x[:, j : x.shape[1] - 2 + j] for j in range(3))  # type: ignore[return-value]

    def backward(self, d: Tensor) -> Tensor:
        n, dx, w = d.shape[1], torch.zeros_like(self.x), self.turned(self.w)
        for j in range(3):
            dx[:, j : j + n] += w[j] * d
        self.dw = self.kept(torch.stack([(d * self.x[:, j : j + n]).sum() for j in range(3)]))
        return dx


def same(t: Tensor) -> Tensor:
    return t


@pytest.mark.parametrize(
    ("turned", "kept", "of", "said"),
    [
        (lambda w: w.flip(0), same, "input_gradient", ("it is what it would be with w reversed along axis 0",)),
        (lambda w: w.roll(1), same, "input_gradient", ()),
        (same, lambda w: w.flip(0), "parameter_gradient", ("the right entries stand in reverse along axis 0",)),
        (same, lambda w: w.roll(1), "parameter_gradient", ("the right entries stand after their places by one along axis 0",)),
        (same, lambda w: w**3, "parameter_gradient", ()),
    ],
)  # fmt: skip
def test_kernels_turned_round_and_gradients_in_other_places(turned, kept, of, said):
    assert diagnosis(Convolved(turned, kept), X, of=of) == said


def test_a_matrix_that_is_not_transposed_and_one_that_is_something_else():
    class Square:
        def __init__(self, back: Callable[[Tensor], Tensor]) -> None:
            self.W, self.back = randn(5, 5, seed=7), back

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, d):
            self.dW = self.x.T @ d
            return d @ self.back(self.W)

    assert diagnosis(Square(lambda W: W), X) == ("it is what it would be with W transposed",)
    assert diagnosis(Square(lambda W: W.T @ W), X) == ()


def test_a_reshape_where_axes_had_to_be_exchanged():
    class Turned:
        def forward(self, x):
            self.shape = x.shape
            return x.transpose(1, 2)

        def backward(self, d):
            return d.reshape(self.shape)

    assert diagnosis(Turned(), randn(2, 3, 4)) == (
        "the right entries in the order of axes (0, 2, 1): a reshape or view where axes had to be permuted",
    )


def test_numpy_layers_are_told_without_autograd():
    class Tanh:
        def forward(self, x):
            self.x = x
            return np.tanh(x)

        def backward(self, d):
            return d * (1 - self.x**2)

    assert diagnosis(Tanh(), X.numpy()) == ("it would be right with the output where the input stands",)


class Multiplied:
    """x W in NumPy, with W where Wᵀ belongs; its neighbour is off by another factor in each column."""

    def __init__(self, D, factors=None):
        self.W, self.factors = np.random.default_rng(0).normal(size=(D, D)), factors

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, d):
        self.dW = self.x.T @ d
        return d @ self.W if self.factors is None else d @ self.W.T * self.factors


class Softmax:
    """In NumPy, by the diagonal of its Jacobian alone; its neighbour has another function's diagonal."""

    def __init__(self, power=1):
        self.power = power

    def forward(self, x):
        e = np.exp(x - x.max(-1, keepdims=True))
        self.p = e / e.sum(-1, keepdims=True)
        return self.p

    def backward(self, d):
        return d * self.p * (1 - self.p**self.power)


def test_numpy_layers_are_compared_with_other_points_by_differences():
    x = randn(5, 4).numpy()
    assert diagnosis(Multiplied(4), x) == ("it is what it would be with W transposed",)
    assert "transposed" not in "".join(diagnosis(Multiplied(4, np.arange(1.0, 5.0)), x))
    diagonal = "only the diagonal of the Jacobian counts: how an entry moves the other outputs is missing"
    assert diagnosis(Softmax(), x) == (diagonal,)
    assert diagonal not in diagnosis(Softmax(2), x)
