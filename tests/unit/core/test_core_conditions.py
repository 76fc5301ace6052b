"""On what condition a gradient is wrong, and by which factor: each sentence has a layer that gets it, and a neighbour that is wrong
in another way and must not."""

from __future__ import annotations

from collections.abc import Callable

import core_layers as layers
import pytest
import torch
from diagnosed import Of, X, diagnosis, randn
from torch import Tensor

from harness import LayerSpec, Outcome, Report, check, ints
from harness.findings.conditions import sizes
from harness.findings.confirmed import of_sizes
from harness.session import Observation

pytestmark = pytest.mark.usefixtures("diagnosed")


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


def test_conditions_hold_over_the_examples_of_a_spec():
    spec = LayerSpec(
        lambda: Of(lambda x: torch.where(x > 0, x, 0.1 * x), lambda d, x, y: d * (x > 0)),
        "B D",
        dims={"B": range(3, 9), "D": range(3, 9)},
    )
    report = check(spec, examples=10, only=("input_gradient",))
    assert report.failures[0].finding.diagnosis == ("out exactly where x is negative",)


def test_where_what_is_wrong_is_known_no_size_is_named_that_goes_with_more_than_one():
    failed, passed = [{"D": 2}, {"D": 4}, {"D": 32}], [{"D": 1}, {"D": 1}]
    assert sizes(failed, passed) == ("wrong in the examples where D > 1, and in no other",)
    assert sizes(failed, passed, known=True) == ()
    assert sizes(failed, [*passed, {"D": 3}], known=True) == ("wrong in the examples where D is even, and in no other",)


def test_a_size_is_told_by_examples_of_the_options_that_fail_alone():
    failed = [{"C": 2, "how": "mean"}, {"C": 2, "how": "mean"}]
    others = [{"C": 5, "how": "sum"}, {"C": 3, "how": "none"}]
    ones = [{"C": 1, "how": "mean"}, {"C": 1, "how": "mean"}]
    told = "wrong in the examples where {}, and in no other"
    assert sizes(failed, others) == (told.format("how = 'mean'"),)
    assert sizes(failed, [*others, *ones]) == (told.format("how = 'mean' and C > 1"),)
    assert sizes(failed, [*others, *ones[:1]]) == ()
    assert sizes(failed, [*others, *ones, {"C": 4, "how": "mean"}]) == (told.format("C = 2"),)


class Squares:
    """The sum of squares of each group's entries, by a gradient of another group or size."""

    def __init__(self, gradient: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        self.gradient = gradient

    def forward(self, x: Tensor, group: Tensor) -> Tensor:
        self.x, self.group = x, group
        return torch.zeros(4, dtype=x.dtype).index_add(0, group, x.square())

    def backward(self, d: Tensor) -> Tensor:
        return 2 * self.gradient(self.x, d, self.group)


def from_four_on(x: Tensor, d: Tensor, group: Tensor) -> Tensor:
    return x * d[group] * (2 if len(x) > 3 else 1)


def first_group_s_of_the_last(x: Tensor, d: Tensor, group: Tensor) -> Tensor:
    return x * torch.where(group > 0, d[group], d[group.max()])


def all_groups_together(x: Tensor, d: Tensor, group: Tensor) -> Tensor:
    return x * d[group.unique()].sum()


@pytest.mark.parametrize(
    ("gradient", "seed", "told"),
    [
        (from_four_on, 2, ["wrong in the examples where N is 5 or more (right up to 3), and in no other"]),
        (first_group_s_of_the_last, 2, []),  # from N = 3 on it meets the first group, by chance
        (all_groups_together, 2, []),  # where N > 1 it meets several groups, by chance
    ],
)
def test_a_size_is_told_where_other_labels_of_those_sizes_answer_alike(gradient, seed, told):
    spec = LayerSpec(lambda: Squares(gradient), ("N", ints("N", below=4)), name="Squares")
    (failed,) = check(spec, examples=8, seed=seed, only=("input_gradient",)).failures
    assert [s for s in failed.finding.diagnosis if "in the examples" in s] == told


def test_what_no_other_draw_confirms_is_not_told():
    assert not of_sizes("x", [], [], lambda session: Observation(Outcome.SKIP))


class Weighed:
    """x Σw of a dict of weights; `wrong` from four columns on."""

    def __init__(self, wrong: bool) -> None:
        self.wrong = wrong

    def forward(self, x, by):
        self.x, self.w = x, by["w"]
        return x * self.w.sum()

    def backward(self, d):
        factor = 1.5 if self.wrong and self.x.shape[1] >= 4 else 1.0
        return d * self.w.sum() * factor, {"w": (d * self.x).sum().expand_as(self.w)}


def test_a_condition_over_sizes_is_not_told_of_inputs_that_are_not_drawn_one_by_one():
    def drawn(D, rng):
        return {"w": torch.tensor(rng.normal(size=D))}

    def said(wrong: bool) -> Report:
        return check(LayerSpec(lambda: Weighed(wrong), ("B D", drawn)), examples=12, only=("input_gradient",))

    assert said(False).ok
    (failed,) = said(True).failures
    assert "D is" not in str(failed)
    assert not any("wrong in the examples" in d for d in failed.finding.diagnosis)
