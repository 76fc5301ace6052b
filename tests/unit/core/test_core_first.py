"""Layers that go by their first batch for good: no later one shows it in the same layer."""

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck


class Mean:
    """Σ x²/n over the rows of this batch."""

    n = None

    def rows(self, x):
        return len(x)

    def forward(self, x):
        self.x, self.n = x, self.rows(x)
        return (x**2).sum(0) / self.n

    def backward(self, d):
        return 2 * self.x * d / self.n


class MeanOfFirst(Mean):
    def rows(self, x):
        return len(x) if self.n is None else self.n


class MeanBy(Mean):
    """It keeps the first number of rows, and uses this batch's; it begins with a table that later batches may lengthen."""

    table = None

    def rows(self, x):
        if self.table is None or len(self.table) < len(x):
            self.table = np.arange(1.0, len(x) + 1)
        return self.table[len(x) - 1]


class Gate(torch.nn.Module):
    """x·1(x > 0)."""

    def __init__(self):
        super().__init__()
        self.mask = None

    def forward(self, x):
        self.mask = (x > 0).to(x.dtype)
        return x * self.mask


class GateOfFirst(Gate):
    def forward(self, x):
        if self.mask is None or self.mask.shape != x.shape:
            self.mask = (x > 0).to(x.dtype)
        return x * self.mask


class Scaled:
    """x² mean(x), the mean of this batch."""

    mean = None

    def forward(self, x):
        self.x, self.mean = x, self.of(x)
        return x**2 * x.mean()

    def of(self, x):
        return x.mean(keepdims=True)

    def backward(self, d):
        return 2 * d * self.x * self.mean + (d * self.x**2).sum() / self.x.size


class ScaledByFirst(Scaled):
    """Its backward has the mean over all entries of the first batch, which the same ones in other places have too."""

    def of(self, x):
        return super().of(x) if self.mean is None else self.mean


def failed(layer):
    report = check(LayerSpec(build=layer, inputs="B D"), examples=8, only=("reuse", "mode_switch"))
    return {(r.check, r.reason.partition(":")[0]) for r in report.results if r.outcome is Outcome.FAIL}


@pytest.mark.parametrize("layer", [MeanOfFirst, GateOfFirst])
def test_what_goes_by_its_first_batch_answers_otherwise_than_one_whose_first_was_another(layer):
    assert failed(layer) == {("reuse", "in a layer whose first batches were others")}


@pytest.mark.parametrize("layer", [Mean, MeanBy, Gate])
def test_what_goes_by_each_batch_does_not(layer):
    assert not failed(layer)


@pytest.mark.parametrize(("layer", "expected"), [(Mean, Outcome.PASS), (MeanOfFirst, Outcome.FAIL)])
def test_one_input_shows_it_too(layer, expected):
    x = np.random.default_rng(0).normal(size=(4, 3))
    report = gradcheck(layer(), x, battery=True, raise_exception=False)
    assert next(r.outcome for r in report.results if r.check == "reuse") is expected


class Stuck(Mean):
    """In the mode of its first forward for good: `mode_switch` alone fails it."""

    training = True
    first = None

    def forward(self, x):
        self.first = self.training if self.first is None else self.first
        self.x, self.n = x, 1.0 if self.first else 2.0
        return (x**2).sum(0) / self.n


def test_what_sticks_to_its_first_mode_is_no_matter_of_batches():
    assert {c for c, _ in failed(Stuck)} == {"mode_switch"}


class Weighted:
    """w x², with what a backward does at its first call on a layer; the gradient of w is kept."""

    def __init__(self, first=1.0, kept=1.0):
        self.w, self.calls, self.first, self.kept = np.ones(()), 0, first, kept

    def forward(self, x):
        self.x = x
        return self.w * x**2

    def backward(self, d):
        self.calls += 1
        wrong = self.calls == 1
        self.dw = np.sum(d * self.x**2) * (self.kept if wrong else 1.0)
        return 2 * self.w * self.x * d * (self.first if wrong else 1.0)


class Workspace:
    """x², into memory that the first backward of each shape makes."""

    room = None

    def __init__(self, right):
        self.right = right

    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, d):
        if self.room is None or self.room.shape != d.shape:
            self.room = np.zeros_like(d)
            if not self.right:
                return self.room.copy()
        np.multiply(2 * self.x, d, out=self.room)
        return self.room.copy()


class Wandering(Weighted):
    """Its outputs go by how often it was run, so that its first gradients may be others."""

    def forward(self, x):
        self.w = 1.0 + np.zeros(()) + 0.1 * self.calls
        return super().forward(x)


@pytest.mark.parametrize(
    ("layer", "right"),
    [
        (Weighted, True),
        (lambda: Weighted(first=1.5), False),
        (lambda: Workspace(True), True),
        (lambda: Workspace(False), False),
    ],
)
def test_the_first_backward_of_a_new_layer_gives_what_later_ones_do(layer, right):
    """Whoever runs a layer to find out whose gradient is whose has used the first one up."""
    x = np.random.default_rng(0).normal(size=(3, 4))
    for report in (
        gradcheck(layer(), x, battery=True, raise_exception=False),
        check(LayerSpec(layer, "B D", name="Layer"), examples=4, only="repeatable"),
    ):
        failed = [r for r in report.failures if r.check == "repeatable"]
        assert bool(failed) is not right, report
        assert all("the first backward of a new layer" in r.reason for r in failed)


def test_a_layer_that_goes_by_what_it_has_seen_is_no_fault_of_its_first_backward():
    report = check(LayerSpec(Wandering, "B D"), examples=4, only="repeatable")
    assert not any("first backward" in r.reason for r in report.results)


class MaskBeneath:
    """A mask that no output shows: its slopes are lost beside 10³⁰ + x₀."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        self.mask = (self.rng.random(x.shape) > 0.5) * 2.0
        return 1e30 + x * self.mask

    def backward(self, d):
        return d * self.mask


def test_a_mask_that_no_output_shows_is_drawn_anew():
    x = np.random.default_rng(1).standard_normal((5, 4))
    report = gradcheck(MaskBeneath(), x, battery=True, raise_exception=False)
    assert not any(r.outcome is Outcome.FAIL for r in report.results if r.check == "repeatable")


class ByLargest:
    """x/(1 + m), m thrice the most positive entries that a column has had: a forward seldom moves it."""

    def __init__(self, D):
        self.m, self.training = np.zeros(D), True

    def forward(self, x):
        if self.training:
            self.m = np.maximum(self.m, self.largest(x))
        return x / (1 + self.m)

    def largest(self, x):
        return 3.0 * (x > 0).sum(0)

    def backward(self, d):
        return d / (1 + self.m)


class ByLargestOfFirst(ByLargest):
    first = None

    def largest(self, x):
        self.first = float(super().largest(x).max()) if self.first is None else self.first
        return self.first


@pytest.mark.parametrize(("layer", "expected"), [(ByLargest, set()), (ByLargestOfFirst, {"reuse"})])
def test_a_buffer_that_later_batches_seldom_move_is_given_back_in_a_layer_made_anew_too(layer, expected):
    report = gradcheck(layer(3), np.random.default_rng(0).normal(size=(5, 3)), battery=True, raise_exception=False)
    assert {r.check for r in report.results if r.outcome is Outcome.FAIL} == expected


def test_what_goes_by_a_mean_of_all_entries_of_its_first_batch_fails():
    x = np.random.default_rng(0).standard_normal((3, 4, 3))
    assert "reuse" in {r.check for r in gradcheck(ScaledByFirst(), x, battery=True, raise_exception=False).failures}
    assert gradcheck(Scaled(), x, battery=True).ok
