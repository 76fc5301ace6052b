"""What a wrong gradient is instead, and on what condition it is wrong: each sentence has a layer that gets it, and a neighbour
that is wrong in another way and must not."""

from __future__ import annotations

from collections.abc import Callable

import core_layers as layers
import numpy as np
import pytest
import torch
from diagnosed import Of, Pullback, X, diagnosis, randn
from torch import Tensor

from harness import LayerSpec, check
from harness.conditions import sizes


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


def test_the_number_of_a_condition_is_this_draw_s():
    """Other draws have the same condition and other numbers."""
    clamped = Of(lambda x: x**3, lambda d, x, y: 3 * d * x.clamp(-1.2, 1.2) ** 2)
    beyond = float(X.abs()[X.abs() > 1.2].min())
    assert diagnosis(clamped, X) == (f"out exactly where |x| is large: from {beyond:.3g} up",)
    upwards = Of(lambda x: x**3, lambda d, x, y: 3 * d * x.clamp(max=1.2) ** 2)
    assert diagnosis(upwards, X) == (f"out exactly where x is large: from {float(X[X > 1.2].min()):.3g} up",)


class Normed(layers.LayerNorm):
    """The gradient of the input times a factor of each row."""

    def __init__(self, factor: Callable[[Tensor], Tensor]) -> None:
        super().__init__(5)
        self.factor = factor

    def forward(self, x):
        self.seen = x
        return super().forward(x)

    def backward(self, d):
        return super().backward(d) * self.factor(self.seen)


def test_factor_of_each_row_is_named_where_it_is_a_norm_or_a_deviation():
    off = "each index along axis 0 is off by a factor of its own"
    assert diagnosis(Normed(lambda x: (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()), X) == (
        f"{off}, a multiple of its standard deviation",
    )
    assert diagnosis(Normed(lambda x: 1 / x.square().sum(-1, keepdim=True)), X) != (f"{off}, a multiple of its norm",)
    assert diagnosis(Normed(lambda x: x.abs().amax(-1, keepdim=True)), X) == (off,)
    assert diagnosis(Normed(lambda x: 1 + x.abs()), X) == ()


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


class Rows:
    """Rows of W by index; their gradients by assignment, or added up into the wrong rows."""

    def __init__(self, V: int = 6, shifted: bool = False) -> None:
        self.W, self.shifted = randn(V, 3, seed=5), shifted

    def forward(self, i: Tensor) -> Tensor:
        self.i = i
        return self.W[i]

    def backward(self, d: Tensor) -> None:
        self.dW = torch.zeros_like(self.W)
        if self.shifted:
            self.dW.index_add_(0, self.i.clamp(max=4), d)
        else:
            self.dW[self.i] = d


def test_an_assignment_where_rows_have_to_be_added_up():
    i = torch.tensor([0, 1, 1, 5, 3, 5])
    (said,) = diagnosis(Rows(), i, of="parameter_gradient")
    assert said.startswith("out exactly where i names an index along axis 0 more than once")
    assert said not in diagnosis(Rows(shifted=True), i, of="parameter_gradient")


class CrossEntropy:
    """−log softmax(x)[t], the mean over the batch; what is subtracted where the label points is an option."""

    def __init__(self, one: float, factor: Callable[[int], float] = lambda B: 1 / B) -> None:
        self.one, self.factor = one, factor

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.p, self.t = torch.softmax(x, -1), t
        return -self.p[torch.arange(len(t)), t].log().mean()

    def backward(self) -> Tensor:
        g = self.p.clone()
        g[torch.arange(len(g)), self.t] -= self.one
        return g * self.factor(len(g))


T = torch.tensor([0, 1, 2, 4, 3, 0])


def test_labels_that_are_not_subtracted():
    said = "out exactly at the entries that t selects along axis 1"
    assert diagnosis(CrossEntropy(0.0), X, T) == (said,)
    assert said not in diagnosis(CrossEntropy(1.0, lambda B: 1 / (B - 1)), X, T)


def test_a_factor_is_named_by_the_shape_beside_its_number_where_there_is_no_spec():
    number = "every entry is the same multiple of what it should be: {} times{}"
    for factor, text, hint in (
        (lambda B: 1.0, "6", " (x.shape[0] here)"),
        (lambda B: 1 / B / 5, "0.2", " (1/x.shape[1] here)"),
        (lambda B: 1.7 / B, "1.7", ""),
    ):
        assert diagnosis(CrossEntropy(1.0, factor), X, T) == (number.format(text, hint),)


def test_numpy_layers_are_told_without_autograd():
    class Tanh:
        def forward(self, x):
            self.x = x
            return np.tanh(x)

        def backward(self, d):
            return d * (1 - self.x**2)

    assert diagnosis(Tanh(), X.numpy()) == ("it would be right with the output where the input stands",)


def test_conditions_hold_over_the_examples_of_a_spec():
    spec = LayerSpec(lambda: Of(leaky, lambda d, x, y: d * (x > 0)), "B D", dims={"B": range(3, 9), "D": range(3, 9)})
    report = check(spec, examples=10, only=("input_gradient",))
    assert report.failures[0].finding.diagnosis == ("out exactly where x is negative",)


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


def test_where_what_is_wrong_is_known_no_size_is_named_that_goes_with_more_than_one():
    failed, passed = [{"D": 2}, {"D": 4}, {"D": 32}], [{"D": 1}, {"D": 1}]
    assert sizes(failed, passed) == ("wrong in the examples where D > 1, and in no other",)
    assert sizes(failed, passed, known=True) == ()
    assert sizes(failed, [*passed, {"D": 3}], known=True) == ("wrong in the examples where D is even, and in no other",)
