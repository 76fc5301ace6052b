"""At kinks, at mixed scales and at high frequency: right layers are never failed, and their wrong twins are."""

from typing import Any

import numpy as np
import pytest
import torch
from families import Elementwise

from harness import Outcome, gradcheck

X = np.random.RandomState(0).randn(5, 4)
SPARSE = np.where(np.random.RandomState(1).rand(6, 8) < 0.5, 0.0, np.random.RandomState(2).randn(6, 8))
TIED = np.array([[1.0, 1, 0], [0, 2, 2], [3, 3, 3], [1, 2, 0]])
PADDED = np.random.RandomState(3).randn(6, 8) * np.array([1, 1, 0, 1, 0, 1])[:, None]


def relu(x):
    return np.maximum(x, 0)


class RowMax:
    """The largest of each row; ties share the gradient, or each gets `share` of it."""

    def __init__(self, share: float | None = None) -> None:
        self.share = share

    def forward(self, x):
        self.x, self.m = x, x.max(1, keepdims=True)
        return self.m[:, 0]

    def backward(self, d):
        hit = self.x == self.m
        return d[:, None] * hit * (1 / hit.sum(1, keepdims=True) if self.share is None else self.share)


class Length:
    """‖x‖ with the gradient `scale` · (1, …, 1) at 0."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def forward(self, x):
        return np.sqrt((x * x).sum())

    def backward(self, d):
        return d * self.scale * np.ones(3)


class Affine:
    """relu(x W), whose rows of zeros sit at the kink."""

    def __init__(self, factor: float = 1.0) -> None:
        self.W, self.factor = np.random.RandomState(0).randn(8, 5), factor

    def forward(self, x):
        self.x, self.z = x, x @ self.W
        return np.maximum(self.z, 0)

    def backward(self, d):
        dz = d * (self.z > 0)
        self.dW = self.x.T @ dz
        return self.factor * dz @ self.W.T


def softmax_forward(x):
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return p, p


def softmax_backward(d, p):
    return p * (d - (d * p).sum(1, keepdims=True))


def softmax_backward_without_projection(d, p):
    return p * d


MASKED = np.random.RandomState(4).randn(6, 5)
MASKED[0, 3:] = -1e9
OUTLIER = np.array([0.1, 0.5, -2.0, 1.0, 1e4])

CASES: dict[str, tuple[Any, Any, np.ndarray]] = {
    "relu_at_zeros": (Elementwise(relu, lambda x: 1.0 * (x > 0)), Elementwise(relu, lambda x: 2.0 * (x > 0)), SPARSE),
    "relu_other_side": (
        Elementwise(relu, lambda x: 1.0 * (x >= 0)),
        Elementwise(relu, lambda x: (x > 0) + 0.01 * (x < 0)),
        SPARSE,
    ),
    "relu_beyond_its_slopes": (
        Elementwise(relu, lambda x: (x > 0) + 0.5 * (x == 0)),
        Elementwise(relu, lambda x: (x > 0) - 0.5 * (x == 0)),
        SPARSE,
    ),
    "one_entry_of_many_zeros": (
        Elementwise(relu, lambda x: 1.0 * (x > 0)),
        Elementwise(relu, lambda x: -1.0 * (x > 0)),
        np.array([0.0, 0, 0, 0, 0, 0, 1]),
    ),
    "abs_at_zero": (Elementwise(np.abs, np.sign), Elementwise(np.abs, lambda x: 2 * np.sign(x)), SPARSE),
    "max_with_ties": (RowMax(), RowMax(1.0), TIED),
    "length_at_zero": (Length(0.5), Length(1.0), np.zeros(3)),
    "rows_of_zeros": (Affine(), Affine(1.1), PADDED),
    "tanh_with_an_outlier": (
        Elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        Elementwise(np.tanh, lambda x: 1 - np.tanh(x)),
        OUTLIER,
    ),
    "masked_softmax": (
        (softmax_forward, softmax_backward),
        (softmax_forward, softmax_backward_without_projection),
        MASKED,
    ),
    "square_wrong_at_zero_alone": (
        Elementwise(np.square, lambda x: 2 * x),
        Elementwise(np.square, lambda x: 2 * x + (x == 0)),
        SPARSE,
    ),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_right_is_not_failed_and_its_wrong_twin_is(name: str, seed: int):
    right, wrong, x = CASES[name]
    assert not gradcheck(right, x, seed=seed, raise_exception=False).failures
    assert gradcheck(wrong, x, seed=seed, raise_exception=False).failures


@pytest.mark.parametrize(
    "name", ["relu_at_zeros", "abs_at_zero", "max_with_ties", "rows_of_zeros", "tanh_with_an_outlier"]
)
def test_right_is_verified(name: str):
    right, _, x = CASES[name]
    assert gradcheck(right, x).ok


@pytest.mark.parametrize("frequency", [1e3, 1e4, 1e5, 1e6, 1e8])
def test_functions_faster_than_the_steps_are_not_failed(frequency: float):
    right = Elementwise(lambda x: np.sin(frequency * x), lambda x: frequency * np.cos(frequency * x))
    assert not gradcheck(right, X, raise_exception=False).failures


@pytest.mark.parametrize("frequency", [1.0, 1e3])
def test_their_wrong_twins_are_failed(frequency: float):
    wrong = Elementwise(lambda x: np.sin(frequency * x), lambda x: np.cos(frequency * x) * frequency * 1.01)
    assert gradcheck(wrong, X, raise_exception=False).failures


def test_a_draw_that_cannot_be_replayed_is_said():
    generator = np.random.default_rng(5)
    module = {"draw": generator.random}

    class Unseen:
        def forward(self, x):
            self.m = (module["draw"](x.shape) > 0.5) / 0.5
            return x * self.m

        def backward(self, d):
            return d * self.m

    report = gradcheck(Unseen(), X, raise_exception=False)
    result = next(r for r in report.results if r.check == "input_gradient")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "two forwards under one seed differ" in result.reason


def test_one_wrong_entry_of_a_large_array_is_found_by_bisection():
    x = np.random.RandomState(5).randn(40, 50)

    def slope(x):
        g = np.cos(x)
        g[17, 31] *= 1.001
        return g

    report = gradcheck(Elementwise(np.sin, slope), x, raise_exception=False)
    finding = report.failures[0].finding
    assert finding is not None
    assert finding.where == ("x", (17, 31))
    assert gradcheck(Elementwise(np.sin, np.cos), x).ok


def test_a_gradient_in_another_memory_order_is_judged_by_its_values():
    W = np.random.RandomState(6).randn(4, 3)

    class Transposed:
        def __init__(self, factor: float) -> None:
            self.W, self.factor = W, factor

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, d):
            self.dW = (d.T @ self.x).T * self.factor
            return (self.W @ d.T).T

    assert gradcheck(Transposed(1.0), X).ok
    assert gradcheck(Transposed(1.01), X, raise_exception=False).failures


def test_torch_twins_of_the_kinks_behave_alike():
    x = torch.from_numpy(TIED)

    def forward(x):
        m = x.amax(1, keepdim=True)
        return m[:, 0], x == m

    def shared(d, hit):
        return d[:, None] * hit / hit.sum(1, keepdim=True)

    def full(d, hit):
        return d[:, None] * hit

    assert gradcheck((forward, shared), x).ok
    assert gradcheck((forward, full), x, raise_exception=False).failures


class Bound:
    """A function that was bound to the layer where it was made."""

    def __init__(self, factor: float) -> None:
        self.alpha, self.factor = np.array([0.3]), factor
        self.f = lambda z: self.alpha * z

    def forward(self, x):
        self.x = x
        return self.f(x)

    def backward(self, d):
        self.dalpha = np.array([(d * self.x).sum()])
        return self.factor * self.alpha * d


def test_functions_bound_to_the_layer_follow_its_copy():
    layer = Bound(1.0)
    assert gradcheck(layer, X).ok
    assert layer.alpha == 0.3
    assert gradcheck(Bound(1.01), X, raise_exception=False).failures


def test_a_backward_that_ignores_its_cotangent_is_told_so(diagnosed):
    class Loss:
        def forward(self, x):
            self.x = x
            return (x**2).sum()

        def backward(self, dout=1.0):
            return 2 * self.x

    report = gradcheck(Loss(), X, raise_exception=False)
    finding = report.failures[0].finding
    assert finding is not None
    assert "ignores it" in finding.diagnosis[0]
    assert "ignores it" not in str(gradcheck(Bound(2.0), X, raise_exception=False))


def cross_entropy(z, y):
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)


def cross_entropy_backward(d, cache):
    p, y = cache
    g = p.copy()
    g[np.arange(len(y)), y] -= 1
    return d * g / len(y)


def test_a_saturated_loss_that_moves_in_steps_of_its_last_digits_is_not_failed():
    """log(1 + e⁻³³): the sum inside is 1 up to a few units in the last place, on which plateaus follow one another."""
    z = np.array([[24.264, -9.2195], [-9.0818, -39.4367]])
    for seed in range(8):
        report = gradcheck(
            (cross_entropy, cross_entropy_backward), z, np.array([0, 0]), seed=seed, raise_exception=False
        )
        assert not report.failures
    wrong = gradcheck(
        (cross_entropy, lambda d, cache: 2 * cross_entropy_backward(d, cache)),
        z / 20,
        np.array([0, 0]),
        raise_exception=False,
    )
    assert wrong.failures
