"""A backward that is right within each block of entries and carries cotangents from one block into another."""

from __future__ import annotations

import numpy as np
import pytest

from harness import LayerSpec, Outcome, check, gradcheck

SHAPES = ((2, 1), (3, 1), (6, 2), (20, 30))


def identity(share):
    """x; its wrong twin's backward adds the cotangents of later rows, as of a sum along the wrong axis of one column."""

    def run(x):
        return x.copy(), lambda d: d + share * (d[::-1].cumsum(0)[::-1] - d)

    return run


def softmax(share):
    """Each row's softmax; its wrong twin lets a little of each row's gradient into the next row."""

    def run(x):
        e = np.exp(x - x.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)

        def pullback(d):
            g = p * (d - (d * p).sum(1, keepdims=True))
            g[1:] += share * g[:-1]
            return g

        return p, pullback

    return run


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", [identity, softmax])
def test_what_comes_from_other_blocks_fails(layer, shape):
    if layer is softmax and shape[1] == 1:
        pytest.skip("the softmax of one number is constant")
    for seed in range(2):
        x = np.random.default_rng(seed).standard_normal(shape)
        assert gradcheck(layer(0.0), x, raise_exception=False, seed=seed).ok
        (failed,) = gradcheck(layer(1e-3), x, raise_exception=False, seed=seed).failures
        assert failed.check == "input_gradient"


def test_the_finding_says_what_is_expected_of_all_outputs():
    x = np.arange(3.0).reshape(3, 1) + 0.5
    (failed,) = gradcheck(identity(1.0), x, raise_exception=False).failures
    finding = failed.finding
    assert finding.wrong == 2
    assert finding.where[1] in {(0, 0), (1, 0)}
    assert abs(finding.analytic - finding.expected) > 0.1 > finding.allowed
    assert 0.5 <= abs(finding.expected) <= 1.5


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_rounding_that_comes_from_other_blocks_is_no_fault(scale):
    def run(x):  # a backward by differences of running sums: each entry has the rounding of all before it

        def pullback(d):
            sums = np.concatenate([np.zeros((1, d.shape[1])), (np.cos(x) * d).cumsum(0)])
            return np.diff(sums, axis=0)

        return np.sin(x), pullback

    x = scale * np.random.default_rng(0).standard_normal((24, 3))
    assert not gradcheck(run, x, raise_exception=False).failures


def test_check_finds_it():
    assert check(
        LayerSpec(build=lambda: softmax(0.0), inputs="B D", name="softmax"), examples=8, only=("input_gradient",)
    ).ok
    leaky = LayerSpec(build=lambda: softmax(1e-3), inputs="B D", name="leaky")
    (result,) = check(leaky, examples=8, only=("input_gradient",)).results
    assert result.outcome is Outcome.FAIL
