"""Several inputs in saturation: one alone is very large, and a fault there is found in each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import LayerSpec, check, gradcheck, value_and_grad
from harness.examples.cases import case_of
from harness.examples.design import examples
from harness.examples.special import special_points
from harness.examples.values import SIZES


class Flash(torch.autograd.Function):
    """softmax(q kᵀ/√D) v, whose backward takes the softmax from the saved log Σ exp."""

    @staticmethod
    def forward(ctx, q, k, v):
        s = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        L = torch.logsumexp(s, -1, keepdim=True)
        o = (s - L).exp() @ v
        ctx.save_for_backward(q, k, v, o, L)
        return o

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, L = ctx.saved_tensors
        c = q.shape[-1] ** -0.5
        p = (q @ k.transpose(-1, -2) * c - L).exp()
        ds = p * (do @ v.transpose(-1, -2) - (do * o).sum(-1, keepdim=True))
        return ds @ k * c, ds.transpose(-1, -2) @ q * c, p.transpose(-1, -2) @ do


class Sum:
    """a + b; beyond `beyond` the gradient of `name` is half as large."""

    def __init__(self, name: str, beyond: float) -> None:
        self.name, self.beyond = name, beyond

    def forward(self, a, b):
        self.inputs = {"a": a, "b": b}
        return a + b

    def backward(self, d):
        return tuple(
            torch.where(x.abs() > self.beyond, d / 2, d) if n == self.name else d for n, x in self.inputs.items()
        )


ATTENTION = LayerSpec(build=lambda: Flash, inputs=("B T D", "B S D", "B S D"), name="Flash")


def test_what_is_recomputed_from_a_log_sum_is_right_in_saturation():
    """Failed when q and k were beyond 30 at once: s and L are in the thousands then, and of s − L few digits are left."""
    report = check(ATTENTION, examples=25, seed=2, only=("special_values",))
    assert not report.failures, str(report)


def test_one_of_several_inputs_is_very_large():
    found = set()
    for example in examples(ATTENTION, 25, 0):
        case, _ = case_of(ATTENTION, example, None, torch.device("cpu"), None)
        for point in special_points(case):
            changed = {n: x for n, x in point.case.leaves.items() if not torch.equal(x, case.leaves[n])}
            large = {n for n, x in changed.items() if x.numel() and bool((x.abs() >= SIZES[1][0]).all())}
            assert len(large) < 2
            found |= large
    assert found == {"q", "k", "v"}


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("seed", range(3))
def test_a_fault_beyond_thirty_is_found_in_either_input(name, seed):
    spec = LayerSpec(build=lambda: Sum(name, 30.0), inputs=("B D", "B D"), name="Sum")
    assert check(spec, examples=25, seed=seed, only=("special_values",)).failures
    right = LayerSpec(build=lambda: Sum("", 30.0), inputs=("B D", "B D"), name="Sum")
    assert check(right, examples=25, seed=seed, only=("special_values",)).ok


class SelfAttention:
    """The same of x's own projections."""

    def __init__(self, D: int) -> None:
        rng = torch.Generator().manual_seed(1)
        self.Wq, self.Wk, self.Wv = (torch.randn(D, D, generator=rng, dtype=torch.float64) / D**0.5 for _ in range(3))

    def forward(self, x):
        self.x, self.c = x, x.shape[-1] ** -0.5
        self.q, self.k, self.v = x @ self.Wq, x @ self.Wk, x @ self.Wv
        s = self.q @ self.k.transpose(-1, -2) * self.c
        self.L = torch.logsumexp(s, -1, keepdim=True)
        self.o = (s - self.L).exp() @ self.v
        return self.o

    def backward(self, do):
        p = (self.q @ self.k.transpose(-1, -2) * self.c - self.L).exp()
        ds = p * (do @ self.v.transpose(-1, -2) - (do * self.o).sum(-1, keepdim=True))
        found = ds @ self.k * self.c, ds.transpose(-1, -2) @ self.q * self.c, p.transpose(-1, -2) @ do
        self.dWq, self.dWk, self.dWv = (self.x.flatten(0, 1).T @ d.flatten(0, 1) for d in found)
        return sum(d @ W.T for d, W in zip(found, (self.Wq, self.Wk, self.Wv), strict=True))


def test_numbers_that_round_alike_next_to_the_point_are_no_failure():
    """A row of one: do·v − do·o is one last digit at this point and a dozen units to its side, and 0 elsewhere."""
    report = check(LayerSpec(SelfAttention, "B T D"), examples=25, seed=7, only=("special_values",))
    assert not report.failures, str(report)


def logistic(factor=1.0):
    """Naive log(1 − A), as of a first course; its gradient off by a factor where weights are large."""

    def loss(X, parameters, Y):
        W = parameters["W"]
        A = 1 / (1 + np.exp(-W @ X))
        dW = (A - Y) @ X.T / X.shape[1] * (factor if np.abs(W).max() > 7 else 1.0)
        return -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A)), {"dW": dW}

    return value_and_grad(loss)


@pytest.mark.parametrize(("seed", "factor"), [(2, 1.0), (25, 1.0), (32, 1.0), (32, 1.5), (36, 1.5), (55, 1.5)])
def test_where_digits_have_run_out_a_claim_that_is_right_over_jumps_is_not_failed(seed, factor):
    rng = np.random.RandomState(seed)
    X, W, Y = rng.randn(3, 7), rng.randn(1, 3), (rng.rand(1, 7) > 0.5) * 1.0
    with np.errstate(all="ignore"):
        report = gradcheck(logistic(factor), X, {"W": W}, Y, battery=True, seed=seed, raise_exception=False)
    assert [r.check for r in report.failures] == ([] if factor == 1 else ["special_values"]), str(report)


@pytest.mark.parametrize("seed", [34, 37, 49])
def test_some_rows_whose_digits_have_run_out_beside_others_are_not_failed(seed):
    """A weight's slope is of all rows together, and those with digits hide that the others move in jumps."""
    rng = np.random.default_rng(seed)
    W = 10 * rng.standard_normal((1, 3))
    X, Y = rng.standard_normal((6, 3)).T, (rng.random((1, 6)) < 0.5) * 1.0
    with np.errstate(all="ignore"):
        report = gradcheck(logistic(), X, {"W": W}, Y, seed=seed, raise_exception=False)
        wrong = gradcheck(logistic(4.0), X, {"W": W}, Y, seed=seed, raise_exception=False)
    assert not report.failures, str(report)
    assert wrong.failures


@pytest.mark.parametrize("steps", [1, 16, 1e4])
def test_what_is_rounded_on_purpose_beside_a_smooth_term_is_failed(steps):
    """Its claim is right over many jumps as well, wherever the point is."""

    class Rounded:
        def forward(self, x):
            return x + torch.round(steps * x) / steps

        def backward(self, d):
            return 2 * d

    x = torch.tensor(np.random.default_rng(0).standard_normal((5, 4)))
    report = gradcheck(Rounded(), x, raise_exception=False)
    assert [r.check for r in report.failures] == ["input_gradient", "autograd"]
