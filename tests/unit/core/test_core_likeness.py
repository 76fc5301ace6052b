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

from harness import LayerSpec, check, gradcheck

pytestmark = pytest.mark.usefixtures("diagnosed")


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
    "decimals": (
        torch.tanh, lambda d, x, y: (d * slope(x)).round(decimals=4), lambda d, x, y: (d * slope(x) * 1.001).round(decimals=4),
        "every entry is the right one rounded to 4 decimals",
    ),
    "a gradient cut off": (
        lambda x: 2 * torch.tanh(x), lambda d, x, y: (2 * d * slope(x)).clamp(-0.5, 0.5),
        lambda d, x, y: torch.where((2 * d * slope(x)).abs() > 0.5, 0.5, 2 * d * slope(x)), "what should go beyond ±0.5 is cut off there",
    ),
    "a cotangent cut off": (
        torch.tanh, lambda d, x, y: d.clamp(-1, 1) * slope(x), lambda d, x, y: d.clamp(-1.2, 1.2) * slope(x),
        "backward gives the same with the cotangent cut off at ±1: it is clipped",
    ),
    "a cotangent divided by its norm": (
        torch.tanh, lambda d, x, y: d / d.norm() * slope(x), lambda d, x, y: d / (d.norm() + 1) * slope(x),
        "backward gives the same for twice the cotangent: it, or the gradient, is clipped or divided by its own size",
    ),
    "the input added": (
        torch.tanh, lambda d, x, y: d * slope(x) - 0.01 * x, lambda d, x, y: d * slope(x) - 0.01 * x**2,
        "it is the right gradient - 0.01 times x itself",
    ),
    "a square root": (
        torch.tanh, lambda d, x, y: d * slope(x).sqrt(), lambda d, x, y: d * slope(x) ** 0.4,
        "every entry is 1/√(1-y²) times what it should be, y the output",
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


class Scaled:
    """γ x + β; what is done to the gradients of the two."""

    def __init__(self, D, *, gamma=lambda g, p: g, beta=lambda g, p: g):
        self.gamma, self.beta = torch.ones(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
        self.changed = gamma, beta

    def forward(self, x):
        self.x = x
        return self.gamma * x + self.beta

    def backward(self, d):
        gamma, beta = self.changed
        self.dgamma, self.dbeta = gamma((d * self.x).sum(0), self.gamma), beta(d.sum(0), self.gamma)
        return d * self.gamma


ADDED = "it is the right gradient + 0.1 times gamma itself, as weight decay adds"
TOO_MANY = "every entry along axis 0 is the sum of what belongs to all of them: it is summed over one axis too many"


@pytest.mark.parametrize(
    ("wrong", "otherwise", "said"),
    [
        ({"gamma": lambda g, p: g + 0.1 * p}, {"gamma": lambda g, p: g + 0.1 * p**2}, ADDED),
        ({"beta": lambda g, p: g * p}, {"beta": lambda g, p: g * p**2}, "every entry is gamma times what it should be"),
        ({"beta": lambda g, p: g.sum().expand(5)}, {"beta": lambda g, p: (g * p).sum().expand(5)}, TOO_MANY),
    ],
)
def test_what_is_done_to_a_parameters_gradient(wrong, otherwise, said):
    assert diagnosis(Scaled(5, **wrong), X, of="parameter_gradient") == (said,)
    assert said not in diagnosis(Scaled(5, **otherwise), X, of="parameter_gradient")


class Clipped:
    """w x, the gradient of w divided by its norm where that is more than one: of one number its sign is left."""

    def __init__(self):
        self.w = torch.tensor([1.0], dtype=torch.float64)

    def forward(self, x):
        self.x = x
        return self.w * x

    def backward(self, d):
        dw = (d * self.x).sum().reshape(1)
        self.dw = dw / max(1.0, float(dw.norm()))
        return d * self.w


def test_a_gradient_of_which_the_sign_is_left_does_not_ignore_the_cotangent():
    for seed in range(4):
        said = "".join(diagnosis(Clipped(), 10 * randn(3, 2, seed=seed), of="parameter_gradient"))
        assert "ignores" not in said


class Evaluated:
    """A batch normalisation whose backward goes through the batch's statistics in evaluation too."""

    def __init__(self, D, through=1.0):
        self.mean, self.var = torch.zeros(D, dtype=torch.float64), torch.ones(D, dtype=torch.float64)
        self.training, self.through = True, through

    def forward(self, x):
        if self.training:
            m, v = x.mean(0), x.var(0, correction=0)
            self.mean, self.var = 0.9 * self.mean + 0.1 * m, 0.9 * self.var + 0.1 * v
        else:
            m, v = self.mean, self.var
        self.istd = (v + 1e-5).rsqrt()
        self.xhat, self.part = (x - m) * self.istd, 1.0 if self.training else self.through
        return self.xhat

    def backward(self, d):
        return self.istd * (d - self.part * (d.mean(0) + self.xhat * (d * self.xhat).mean(0)))


def test_what_small_examples_can_t_show_is_told_from_larger_ones():
    spec = LayerSpec(Evaluated, "B D", name="Evaluated")
    (failed,) = (r for r in check(spec, only=("input_gradient",)).failures if r.mode == "eval")
    assert failed.finding.diagnosis == (
        "the residual is constant plus parallel to the input centred along axis 0: the terms with Σ δ and Σ δ·x̂, through the mean "
        "and the variance, are missing or wrong",
    )


@pytest.mark.parametrize("bound", [None, 1.0])
def test_a_cotangent_that_nothing_is_cut_off_of_tells_nothing_of_clipping(bound):
    class Twice:
        def forward(self, x):
            return 2 * x

        def backward(self, d):
            return 3 * (d if bound is None else d.clamp(-bound, bound))

    said = [gradcheck(Twice(), torch.ones(2, 1), seed=k, raise_exception=False).failures for k in range(24)]
    clipped = [any("clipped" in s for s in f[0].finding.diagnosis) for f in said]
    assert any(clipped) == (bound is not None)


class Padded:
    """Sums of 3 × 3 windows; `cut` is what its backward takes of the padded gradient."""

    def __init__(self, cut):
        self.cut = cut

    def forward(self, x):
        p = torch.nn.functional.pad(x, (1, 1, 1, 1))
        self.k = torch.arange(1.0, 10.0, dtype=x.dtype).reshape(3, 3)
        return sum(self.k[i, j] * p[i : i + x.shape[0], j : j + x.shape[1]] for i in range(3) for j in range(3))

    def backward(self, d):
        p = torch.zeros(d.shape[0] + 2, d.shape[1] + 2, dtype=d.dtype)
        for i in range(3):
            for j in range(3):
                p[i : i + d.shape[0], j : j + d.shape[1]] += self.k[i, j] * d
        return p[self.cut]


def test_padding_cut_off_at_the_wrong_side_is_told():
    said = "the right entries stand {} their places by one along {}, and those at its end are lost".format
    both, one = (slice(0, -2), slice(0, -2)), (slice(1, -1), slice(2, None))
    assert diagnosis(Padded(both), randn(5, 6)) == (said("after", "axes 0 and 1"),)
    assert diagnosis(Padded(one), randn(5, 6)) == (said("before", "axis 1"),)
    last = lambda d, x, y: torch.cat([d[:-1] * x[:-1].cos(), 0 * d[-1:]])  # noqa: E731
    assert diagnosis(Of(torch.sin, last), randn(5, 6)) == ("only the last along axis 0 is out",)
    level = lambda d, x, y: torch.cat([d.sum().expand_as(x)[:-1], 0 * d[-1:]])  # noqa: E731
    told = diagnosis(Of(lambda x: x.sum().expand_as(x) * 1.0, level), randn(5, 6))
    assert not any("their places" in s for s in told)
