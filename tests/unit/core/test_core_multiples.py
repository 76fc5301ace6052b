"""What a wrong gradient is a multiple of, where zeros stand, and what place tells: each sentence has a layer that gets it, and one
that must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnosed import Of, X, diagnosis, randn

from harness import LayerSpec, check, gradcheck, ints

pytestmark = pytest.mark.usefixtures("diagnosed")

CONDITION = "times what it should be, the rest is right: a sign or factor that goes by a condition"


def test_a_derivative_of_another_function_is_named():
    wrong = Of(torch.tanh, lambda d, x, y: d * (1 + y * y))
    assert diagnosis(wrong, X) == (
        "it is the cotangent times (1+y²), y the output: the derivative of another function",
    )
    logistic = Of(torch.tanh, lambda d, x, y: d * y * (1 - y))
    assert diagnosis(logistic, X) == (
        "it is the cotangent times y·(1-y), y the output: the derivative of another function",
    )
    cubed = Of(torch.tanh, lambda d, x, y: d * (1 + y**3))
    assert not any("derivative of another function" in s for s in diagnosis(cubed, X))


class Loss:
    """The squared distance to what is drawn beside, with a sign or a factor that its backward makes of it."""

    def __init__(self, seen):
        self.t, self.seen = randn(6, 5, seed=3), seen

    def forward(self, x):
        self.d = x - self.t.to(x)
        return self.d.square().sum()

    def backward(self):
        return 2 * self.seen(self.d)


def test_a_sign_that_goes_by_a_condition_is_said():
    assert diagnosis(Loss(torch.abs), X) == (f"what is out is -1 {CONDITION}",)
    leaky = diagnosis(Loss(lambda d: torch.where(d > 0, 0.3 * d, 0.7 * d)), X)
    assert leaky == (
        "some entries are 0.3 times what they should be, the others 0.7 times: a factor that goes by a condition",
    )
    assert not any("condition" in s for s in diagnosis(Loss(lambda d: d * d.abs()), X))


def test_what_is_nearly_right_everywhere_is_said_to_be():
    few_digits = diagnosis(Of(torch.sin, lambda d, x, y: d * (x.cos() + 1e-5 * x.sin() * x)), X)
    assert any("right but for a thousandth of the largest" in s for s in few_digits)
    coarse = diagnosis(Of(torch.sin, lambda d, x, y: d * (x.cos() + 1e-1 * x.sin() * x)), X)
    assert not any("thousandth" in s for s in coarse)


class Dropped:
    """Dropout whose backward draws its mask again, or takes what was dropped for what was kept."""

    def __init__(self, again):
        self.again, self.rng = again, np.random.default_rng(0)

    def forward(self, x):
        self.m = self.rng.random(x.shape) < 0.6
        return x * self.m

    def backward(self, d):
        return d * self.again(self.m, self.rng)


@pytest.mark.parametrize("again", [lambda m, rng: rng.random(m.shape) < 0.6, lambda m, rng: ~m])
def test_another_mask_in_backward_is_said_to_be_one(again):
    told = diagnosis(Dropped(again), X.numpy())
    assert told == (
        "its zeros stand in other places than they should, and nothing else is wrong: backward uses another mask than forward",
    )


def test_a_scaled_mask_is_no_other_mask():
    told = diagnosis(Dropped(lambda m, rng: m / 0.6), X.numpy())
    assert told == ("every entry is the same multiple of what it should be: 1.66667 times",)


class Masked:
    """A mean of squares over what a mask keeps; backward keeps all."""

    def forward(self, x, mask):
        self.x, self.n = x, max(mask.sum(), 1)
        return (x**2 * mask).sum() / self.n

    def backward(self, up=1.0):
        return up * 2 * self.x / self.n


def test_a_mask_is_not_taken_for_indices():
    mask = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1]])
    report = gradcheck(Masked(), X[:3, :4].numpy(), mask, raise_exception=False)
    (failed,) = (r for r in report.failures if r.check == "input_gradient")
    assert failed.finding is not None
    assert failed.finding.diagnosis == ("out exactly where mask is 0",)
    found = check(LayerSpec(Masked, ("B D", ints("B D", low=0, below=2))), only=("input_gradient",)).failures[0]
    assert not any("added up" in s for s in found.finding.diagnosis)


def test_the_absolute_value_of_a_parameter_is_named():
    class Scaled:
        def __init__(self):
            self.w = torch.tensor([0.7, -1.2, 0.4, -0.5, 1.1], dtype=torch.float64)

        def forward(self, x):
            self.x = x
            return (x * self.w.to(x)).sin()

        def backward(self, d):
            w = self.w.to(self.x)
            self.dw = (d * (self.x * w).cos() * self.x).sum(0)
            return d * (self.x * w).cos() * w.abs()

    (told,) = diagnosis(Scaled(), X)
    assert told == f"what is out is -1 {CONDITION}" or "|w|" in told


def test_a_place_that_no_other_draw_confirms_is_not_told():
    """One entry beyond a threshold is at some index by chance."""

    class Cut:
        def forward(self, x):
            self.x = x
            return x**3

        def backward(self, d):
            return 3 * d * torch.where(self.x > 2.2, 0, self.x) ** 2

    found = check(LayerSpec(Cut, "B D"), seed=1, only=("input_gradient",)).failures
    assert not any("index" in s for r in found for s in r.finding.diagnosis)


class CrossEntropy:
    """The mean of −log softmax at labels, whose backward subtracts 1 at what it makes of them."""

    def __init__(self, seen):
        self.seen = seen

    def forward(self, z, t):
        e = np.exp(z - z.max(1, keepdims=True))
        self.p, self.t = e / e.sum(1, keepdims=True), t
        return -np.log(self.p[np.arange(len(t)), t]).mean()

    def backward(self, up=1.0):
        d = self.p.copy()
        d[np.arange(len(d)), self.seen(self.t)] -= 1
        return up * d / len(d)


@pytest.mark.parametrize("seen", [lambda t: t - 1, np.sort])
def test_a_label_that_is_another_one_in_backward_is_told(seen):
    report = gradcheck(CrossEntropy(seen), X.numpy(), np.array([3, 0, 4, 2, 2, 1]), raise_exception=False)
    found = report.failures[0].finding
    assert found is not None
    assert found.diagnosis == (
        "in each row that is out, what belongs to the entry that t selects along axis 1 stands at another entry",
    )


def test_a_label_that_is_added_is_no_other_label():
    class Added(CrossEntropy):
        def backward(self, up=1.0):
            d = self.p.copy()
            d[np.arange(len(d)), self.t] += 1
            return up * d / len(d)

    report = gradcheck(Added(None), X.numpy(), np.array([3, 0, 4, 2, 2, 1]), raise_exception=False)
    assert report.failures[0].finding.diagnosis == ("out exactly at the entries that t selects along axis 1",)
