"""The sentences of a diagnosis: each has a layer that gets it and one that does not, and none rests on a coincidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import core_layers as layers
import numpy as np
import pytest
import torch
from torch import Tensor

from harness import LayerSpec, check, gradcheck
from harness.case import Case
from harness.findings.diagnosis import common, named_factors, sentences
from harness.judgement.judge import Judge
from harness.subject import Evaluation, Leaf, Subject

pytestmark = pytest.mark.usefixtures("diagnosed")

F64 = torch.float64
Change = Callable[[Tensor, Tensor], Tensor]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def case(x: Tensor, sizes: dict[str, Any] | None = None) -> Case:
    subject = Subject("made up", {"x": Leaf(x)}, {}, lambda *_: Evaluation((x,), lambda v: {}))
    return Case(subject, {"x": x}, {}, sizes=sizes or {})


def said(change: Change, x: Tensor | None = None, r: Tensor | None = None, **sizes: Any) -> list[str]:
    """What is said of the gradient `change(right, x)`."""
    x = randn(4, 5) if x is None else x
    r = randn(*x.shape, seed=1) if r is None else r
    return sentences(case(x, sizes), "x", change(r, x), r)


ZERO = "the gradient is zero: backward never computes it, or something clears it"
TRANSPOSED = "the gradient is transposed"


def centred(x: Tensor, axis: int) -> Tensor:
    return x - x.mean(axis, keepdim=True)


# Each sentence, and a neighbour that must not get it

WHOLE: dict[str, tuple[Change, Change, str]] = {
    "zero": (lambda r, x: 0 * r, lambda r, x: 1e-9 * r, ZERO),
    "sign": (lambda r, x: -r, lambda r, x: -r.abs(), "every entry is -1 times what it should be"),
    "twice": (lambda r, x: 2 * r, lambda r, x: 2.001 * r, "every entry is 2 times what it should be"),
    "half": (lambda r, x: r / 2, lambda r, x: r / 2 + 1e-3, "every entry is 1/2 times what it should be"),
    "batch": (lambda r, x: 4 * r, lambda r, x: 5 * r, "every entry is B times what it should be"),
    "mean": (lambda r, x: r / 4, lambda r, x: r / 3, "every entry is 1/B times what it should be"),
    "unbiased": (lambda r, x: r * 4 / 3, lambda r, x: r * 5 / 3, "every entry is B/(B-1) times what it should be"),
    "kept": (lambda r, x: r * 0.8, lambda r, x: r * 0.7, "every entry is (1-p) times what it should be"),
    "scaled twice": (lambda r, x: r / 0.8, lambda r, x: r / 0.9, "every entry is 1/(1-p) times what it should be"),
    "root": (lambda r, x: r * 5**0.5, lambda r, x: r * 5**0.25, "every entry is √D times what it should be"),
    "number": (
        lambda r, x: 1.2345 * r,
        lambda r, x: 1.2345 * r + 1e-3 * x,
        "every entry is the same multiple of what it should be: 1.2345 times",
    ),
    "constant over rows": (
        lambda r, x: r + x.sum(0, keepdim=True),
        lambda r, x: r + x.sum(0, keepdim=True) * torch.arange(1, 5, dtype=F64)[:, None],
        "the residual is constant along axis 0: a term with the sum or mean over it is missing or wrong",
    ),
    "constant over columns": (
        lambda r, x: r - r.mean(1, keepdim=True),
        lambda r, x: r - r.mean(0, keepdim=True),
        "the residual is constant along axis 1: a term with the sum or mean over it is missing or wrong",
    ),
    "parallel to x̂": (
        lambda r, x: r + randn(4, 1, seed=3) * centred(x, 1),
        lambda r, x: r + randn(4, 1, seed=3) * centred(x, 0),
        "the residual is parallel to the input centred along axis 1: the term with Σ δ·x̂ over it is missing or wrong",
    ),
    "a constant": (
        lambda r, x: r + 0.3,
        lambda r, x: r + 0.3 + 0.1 * x[:1],
        "every entry is off by the same amount: a constant, or a term with the sum or mean over all axes, is missing or wrong",
    ),
    "both terms of a normalisation": (
        lambda r, x: r + randn(4, 1, seed=3) * centred(x, 1) + randn(4, 1, seed=4),
        lambda r, x: r + randn(4, 1, seed=3) * centred(x, 1) ** 2 + randn(4, 1, seed=4),
        "the residual is constant plus parallel to the input centred along axis 1: the terms with Σ δ and Σ δ·x̂, through the "
        "mean and the variance, are missing or wrong",
    ),
    "mean over two axes": (
        lambda r, x: r / 20,
        lambda r, x: r / 21,
        "every entry is 1/(B·D) times what it should be",
    ),
    "root of what is kept": (
        lambda r, x: r * 0.8**0.5,
        lambda r, x: r * 0.8**0.6,
        "every entry is √(1-p) times what it should be",
    ),
    "the first two rows": (
        lambda r, x: torch.cat([r[:2] + 1 + x[:2], r[2:]]),
        lambda r, x: torch.cat([r[:1] + 1 + x[:1], r[1:2], r[2:] + 1 + x[2:]]),
        "only what stands before index 2 along axis 0 is out",
    ),
    "last row": (
        lambda r, x: torch.cat([r[:-1], r[-1:] + 1 + x[-1:]]),
        lambda r, x: torch.cat([r[:-2], r[-2:] + 1 + x[-2:]]),
        "only the last along axis 0 is out",
    ),
    "first column": (
        lambda r, x: torch.cat([r[:, :1] + x[:, :1], r[:, 1:]], 1),
        lambda r, x: torch.cat([r[:, :2] + x[:, :2], r[:, 2:]], 1),
        "only the first along axis 1 is out",
    ),
    "one column": (
        lambda r, x: torch.cat([r[:, :2], r[:, 2:3] + x[:, 2:3], r[:, 3:]], 1),
        lambda r, x: r + x**2,
        "only index 2 along axis 1 is out",
    ),
}


@pytest.mark.parametrize(("gets", "lacks", "sentence"), WHOLE.values(), ids=WHOLE)
def test_sentence_is_said_where_it_fits_and_only_there(gets, lacks, sentence):
    assert sentence in said(gets, B=4, D=5, p=0.2)
    assert sentence not in said(lacks, B=4, D=5, p=0.2)


IMAGES = randn(2, 2, 4, 3)
SEVERAL = "the residual is parallel to the input centred along axes 2 and 3: the term with Σ δ·x̂ over them is missing or wrong"


def test_sums_over_several_axes_at_once():
    """What an instance normalisation of images has: a share for each image and channel."""
    share = randn(2, 2, 1, 1, seed=3)
    assert said(lambda r, x: r + share * centred(x, (2, 3)), IMAGES) == [SEVERAL]
    assert said(lambda r, x: r + share * centred(x, (2, 3)).abs(), IMAGES) == []
    off = "each index along axes 0 and 1 is off by a factor of its own"
    assert said(lambda r, x: r * x.var((2, 3), correction=0, keepdim=True), IMAGES) == [
        f"{off}, a multiple of its variance"
    ]
    assert said(lambda r, x: r * (2 + share), IMAGES) == [off]
    assert said(lambda r, x: r * (2 + x), IMAGES) == []


def test_what_is_largest_among_few_is_no_condition():
    """Which two of four entries are largest is told by chance at every sixth draw."""
    few, many = (
        torch.tensor([[0.1, 2.0], [3.0, 0.3]], dtype=F64),
        torch.tensor([[1.0, 6, 2, 7], [8, 3, 9, 4]], dtype=F64),
    )
    assert said(lambda r, x: torch.where(x > 1, r * (1 + x.sin()), r), few) == []
    assert said(lambda r, x: torch.where(x > 5, r * (1 + x.sin()), r), many) == [
        "out exactly where x is large: from 6 up"
    ]


def test_transposed_square():
    x, r = randn(4, 4), randn(4, 4, seed=1)
    assert said(lambda r, x: r.T, x, r)[0] == TRANSPOSED
    assert TRANSPOSED not in said(lambda r, x: r.flip(0), x, r)


def test_symmetric_gradient_is_not_called_transposed():
    x, r = randn(4, 4), randn(4, 4, seed=1)
    assert TRANSPOSED not in said(lambda r, x: 2 * r, x, r + r.T)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nothing_is_said_of_what_is_not_finite(bad):
    assert said(lambda r, x: r * bad) == []
    assert sentences(case(randn(2)), "x", randn(2), torch.full((2,), bad, dtype=F64)) == []


def test_nothing_is_said_of_another_shape_or_none_at_all():
    assert sentences(case(randn(2, 3)), "x", randn(3), randn(2, 3)) == []
    assert sentences(case(randn(0)), "x", randn(0), randn(0)) == []


def test_nothing_is_said_of_an_arbitrary_residual():
    assert said(lambda r, x: r + x.sin() ** 3) == []


def test_two_entries_along_an_axis_show_no_structure():
    assert said(lambda r, x: r + x**2, randn(2, 2)) == []


# Factors by name


@pytest.mark.parametrize(
    ("factor", "sizes", "names"),
    [
        (3.0, {"B": 3}, ["B"]),
        (1 / 3, {"B": 3}, ["1/B"]),
        (9.0, {"B": 3}, ["B²"]),
        (2.0, {"B": 2}, ["2", "B", "B/(B-1)"]),
        (0.25, {"B": 2}, ["1/B²"]),
        (-3.0, {"B": 3}, ["-B"]),
        (3.5, {"B": 3}, []),
        (2.0, {"B": True}, ["2"]),
        (2.0, {"kind": "two", "axes": (2, 2)}, ["2"]),
        (1.25, {"p": 0.2}, ["1/(1-p)"]),
        (3.000002, {"B": 3}, ["B"]),
        (1.0000001, {"B": 1}, []),  # a factor of almost one is no size that is one
        (-1.0, {"B": 1}, ["-1"]),
    ],
)
def test_factor_has_the_names_that_equal_it(factor, sizes, names):
    assert named_factors(factor, sizes) == names


@pytest.mark.parametrize("sizes", [{"B": 1}, {"B": 0}, {"p": 1.0}, {"p": 0.0}])
def test_sizes_without_an_inverse_are_no_error(sizes):
    assert named_factors(17.0, sizes) == []


# What holds at every draw


def test_only_what_every_draw_says_is_kept():
    assert common(["a", "b"], ["b", "c"], ["b"]) == ("b",)
    assert common(["a"], ["b"]) == ()
    assert common(["a"]) == ("a",)


def test_name_of_a_factor_takes_the_place_of_its_number():
    number = "every entry is the same multiple of what it should be: 3 times"
    named = "every entry is B times what it should be"
    assert common([named, number], [named, number]) == (named,)
    assert common([number], [number]) == (number,)


def test_three_sentences_at_most():
    assert len(common(["a", "b", "c", "d"])) == 3


class Times(layers.Identity):
    """Its gradient is multiplied by a function of the batch's size."""

    def __init__(self, factor: Callable[[int], float]) -> None:
        self.factor = factor

    def backward(self, dy):
        return self.factor(len(dy)) * dy


def diagnosed(build: Any, inputs: str = "B D", **more: Any) -> tuple[str, ...]:
    report = check(LayerSpec(build=build, inputs=inputs, **more), examples=10, only=("input_gradient",))
    return report.failures[0].finding.diagnosis


def test_factor_that_depends_on_the_size_is_told_from_its_value():
    sizes = {"B": [2, 3, 4], "D": [2, 3]}
    assert diagnosed(lambda: Times(lambda B: B), dims=sizes) == ("every entry is B times what it should be",)
    assert diagnosed(lambda: Times(lambda B: 2.0), dims=sizes) == ("every entry is 2 times what it should be",)


def test_large_examples_leave_the_diagnosis():
    assert diagnosed(lambda: Times(lambda B: B)) == ("every entry is B times what it should be",)


def test_every_wrong_entry_of_a_large_tensor_is_counted():
    for seed in (1, 2):
        report = gradcheck(Times(lambda B: B), randn(59, 2, seed=seed), seed=seed, raise_exception=False)
        assert report.failures[0].finding.wrong == 118


def test_coincidental_factor_is_dropped():
    """At B = 2 a factor of 2 is B, 2 and B/(B − 1): other sizes leave one of them."""
    for factor, name in ((lambda B: B / (B - 1) if B > 1 else 3.0, "B/(B-1)"), (lambda B: float(B) ** 2, "B²")):
        found = diagnosed(lambda factor=factor: Times(factor), dims={"B": [2, 3, 5]})
        assert found == (f"every entry is {name} times what it should be",)


@pytest.mark.parametrize(("factor", "said"), [(lambda y: 1.7, True), (lambda y: 1 + y, False)])
def test_one_number_is_a_multiple_only_where_other_numbers_are_the_same_one(factor, said):
    """A diagnosis is tested on fresh draws, also of a tensor of one entry, which has no spread to draw them from."""
    wrong = layers.Elementwise(torch.sigmoid, lambda x: torch.sigmoid(-x) * torch.sigmoid(x) * factor(torch.sigmoid(x)))
    report = gradcheck(wrong, torch.tensor([[0.7]], dtype=torch.float64), raise_exception=False)
    assert bool(report.failures[0].finding.diagnosis) is said


def test_factor_that_has_no_name_at_other_sizes_is_none():
    (said,) = diagnosed(lambda: Times(lambda B: 1 + 0.1 * B**1.5))
    assert said.startswith("every entry is the same multiple of what it should be, another one in each example (")


def test_term_that_is_missing_from_a_normalisation():
    class NoMean(layers.LayerNorm):
        def centred(self, d):
            return d - self.xhat * (d * self.xhat).mean(-1, keepdim=True)

    class NoProjection(layers.LayerNorm):
        def centred(self, d):
            return d - d.mean(-1, keepdim=True)

    mean, projection = (diagnosed(k, dims={"D": [4, 5, 6], "B": [3, 4]}) for k in (NoMean, NoProjection))
    assert mean == ("the residual is constant along axis 1: a term with the sum or mean over it is missing or wrong",)
    assert len(projection) == 1
    assert projection[0].startswith("the residual is parallel to the input centred along axis 1")


def test_wrong_last_row():
    class Last(layers.Identity):
        def backward(self, dy):
            d = dy * 1.0
            d[-1] = d[-1] ** 2
            return d

    assert diagnosed(Last, dims={"B": [3, 4, 5], "D": [2, 3]}) == ("only the last along axis 0 is out",)


def test_gradient_that_is_never_computed():
    class Zero(layers.Identity):
        def backward(self, dy):
            return 0 * dy

    assert diagnosed(Zero) == (ZERO,)


def test_what_differs_is_shown_to_differ():
    class Almost:
        def forward(self, x):
            self.x = x
            return x * x

        def backward(self, d):
            return 2 * self.x * d * (1 + 1e-7)

    finding = gradcheck(Almost(), randn(3), raise_exception=False).failures[0].finding
    gives, expected = (word.split()[-1] for word in str(finding).split(" ± ")[0].split(", expected "))
    assert gives != expected
    assert "every entry is the same multiple of what it should be: 1 + 1e-07 times" in finding.diagnosis


class TwiceTwice:
    """y = tanh(a x) b in NumPy, where every entry is differenced; the gradients of x and a are twice what they should be."""

    def __init__(self) -> None:
        self.a, self.b = np.array([0.7, -1.2, 0.4]), np.array([1.5, 0.3, -0.8])

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x, self.t = x, np.tanh(self.a * x)
        return self.t * self.b

    def backward(self, v: np.ndarray) -> np.ndarray:
        d = 2 * v * self.b * (1 - self.t**2)
        self.da, self.db = (d * self.x).sum(0), (v * self.t).sum(0)
        return d * self.a


def test_on_fresh_draws_only_the_tensor_that_failed_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    escalated: list[tuple[int, str]] = []
    original = Judge.escalated

    def noted(self: Judge, name: str) -> Any:
        escalated.append((id(self.case), name))
        return original(self, name)

    monkeypatch.setattr(Judge, "escalated", noted)
    report = gradcheck(TwiceTwice(), randn(4, 3).numpy(), raise_exception=False)
    assert all("2 times" in f.finding.diagnosis[0] for f in report.failures if f.finding)
    names = {c: {n for k, n in escalated if k == c} for c, _ in escalated}
    assert sorted(map(len, names.values()), reverse=True)[0] == 3  # at the input as given all are judged
    assert sum(len(n) == 1 for n in names.values()) >= 3  # on each fresh draw one


class Step:
    """1 above zero; its backward is that of the logistic function, a surrogate."""

    def forward(self, x):
        self.x = x
        return np.where(x > 0, 1.0, 0.0)

    def backward(self, d):
        s = 1 / (1 + np.exp(-self.x))
        return d * s * (1 - s)


class Flat(Step):
    """Its derivative, zero."""

    def backward(self, d):
        return 0 * d


def test_a_surrogate_is_told_how_it_is_declared():
    x = np.linspace(-1, 1, 6).reshape(2, 3) + 0.05
    assert "LayerSpec(..., derivative_of=f)" in str(gradcheck(Step(), x, raise_exception=False))
    assert gradcheck(Flat(), x).ok
    assert check(LayerSpec(Step, "B D", derivative_of=lambda x: 1 / (1 + torch.exp(-x))), examples=4).ok


class Biased:
    """x + b, the gradient of b from the cotangent in a way of its own."""

    def __init__(self, D: int, reduce: Change) -> None:
        self.b, self.reduce = torch.zeros(D, dtype=F64), reduce

    def forward(self, x):
        return x + self.b

    def backward(self, d):
        self.db = self.reduce(d)
        return d.clone()


UNSUMMED = "only the {} index along axis {} of the cotangent counts, the others are left out"


@pytest.mark.parametrize(
    ("reduce", "sentences"),
    [
        (lambda d: d[0].sum(0), (UNSUMMED.format("first", 0),)),
        (lambda d: d[:, -1].sum(0), (UNSUMMED.format("last", 1),)),
        (lambda d: d[:2].sum((0, 1)), ()),
        (lambda d: d.sum((0, 1))[:1].expand(5), (UNSUMMED.format("first", 2),)),
        (lambda d: d.sum((0, 1)) ** 2, ()),
    ],
)
def test_a_missing_sum_is_told_by_the_cotangents_that_count(reduce, sentences):
    report = gradcheck(Biased(5, reduce), randn(4, 3, 5), raise_exception=False)
    (failed,) = (r for r in report.failures if r.check == "parameter_gradient")
    assert failed.finding.diagnosis == sentences
