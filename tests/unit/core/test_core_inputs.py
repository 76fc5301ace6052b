"""Inputs of declared dtypes and any rank, and outputs that are not finite where a reference's are."""

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, SpecError, check, ints
from harness.examples.cases import case_of
from harness.examples.design import examples

CPU = torch.device("cpu")


class Rows:
    """W[i]."""

    def __init__(self, V):
        self.W = torch.randn(V, 2)

    def forward(self, i):
        self.i = i.to(torch.int64)
        return self.W[self.i]

    def backward(self, v):
        self.dW = torch.zeros_like(self.W).index_add_(0, self.i, v)


class OnlyLongs(Rows):
    """Its backward takes int64 alone."""

    def backward(self, v):
        if self.given.dtype != torch.int64:
            raise IndexError("tensors used as indices must be long")
        super().backward(v)

    def forward(self, i):
        self.given = i
        return super().forward(i)


def drawn(kind, count=12):
    spec = LayerSpec(Rows, kind, dims={"V": (7, 200)})
    return [case_of(spec, e, None, CPU, None)[0].leaves["i"] for e in examples(spec, count, 0)]


def test_integers_are_drawn_in_the_dtypes_that_are_declared():
    assert {i.dtype for i in drawn(ints("B", below="V"))} == {torch.int64}
    assert {i.dtype for i in drawn(ints("B", below="V", dtype="uint8"))} == {torch.uint8}
    assert {i.dtype for i in drawn(ints("B", below="V", dtype=("int64", "int32", "uint8")))} == {
        torch.int64, torch.int32, torch.uint8,
    }  # fmt: skip


def test_numbers_stay_below_whatever_the_dtype():
    spec = LayerSpec(Rows, ints("B", below="V", dtype="uint8"), dims={"V": (200,), "B": (300,)})
    i = case_of(spec, examples(spec, 1, 0)[0], None, CPU, None)[0].leaves["i"].numpy()
    assert (i < 200).all()
    assert (i > 127).any()


@pytest.mark.parametrize(
    ("dtype", "said"), [("float32", "write one or several of int64"), ((), "write one or several")]
)
def test_other_dtypes_are_refused(dtype, said):
    with pytest.raises(SpecError, match=said):
        ints("B", below=3, dtype=dtype)


def test_a_domain_beyond_the_dtype_is_refused():
    with pytest.raises(SpecError, match="numbers that are no int8"):
        drawn(ints("B", below="V", dtype="int8"))


@pytest.mark.parametrize(("build", "outcome"), [(Rows, Outcome.PASS), (OnlyLongs, Outcome.FAIL)])
def test_a_backward_that_minds_the_dtype_is_seen(build, outcome):
    spec = LayerSpec(build, ints("B", below="V", dtype=("int64", "int32")), dims={"V": range(1, 7)})
    assert {r.outcome for r in check(spec, examples=8, only="parameter_gradient").results} == {outcome}


# Rank


class Norm:
    """x less its mean over the last axis; with more axes than these over the last two."""

    axes = 9

    def forward(self, x):
        return x - x.mean(-1, keepdim=True)

    def backward(self, v):
        return v - (v.mean(-1, keepdim=True) if v.ndim <= self.axes else v.mean((-2, -1), keepdim=True))


class UpToFourAxes(Norm):
    axes = 3


def test_a_starred_dimension_stands_for_up_to_three_axes():
    spec = LayerSpec(Norm, "*batch D")
    assert {len(e.sizes["batch"]) for e in examples(spec, 25, 0)} == {0, 1, 2, 3}
    assert check(spec, only="input_gradient").ok
    assert check(LayerSpec(UpToFourAxes, "*batch D"), only="input_gradient").failures


class PadsNothing(Norm):
    """An empty first axis comes back with one row."""

    def backward(self, v):
        return super().backward(v) if len(v) else v.new_zeros(1, *v.shape[1:])


class HalfForOne(Norm):
    def backward(self, v):
        return super().backward(v) if len(v) != 1 else super().backward(v) / 2


@pytest.mark.parametrize(("wrong", "name"), [(PadsNothing, "empty_batch"), (HalfForOne, "single_example")])
def test_the_first_axis_of_a_starred_dimension_is_the_batch(wrong, name):
    inputs, dims = "*batch C D", {"D": (3, 5)}
    assert check(LayerSpec(Norm, inputs, dims=dims), only=name).ok
    assert check(LayerSpec(wrong, inputs, dims=dims), only=name).failures


# Where outputs are not finite


class Xlogx:
    """x log x without its value at 0."""

    def forward(self, x):
        self.x = x
        return x * torch.log(x.abs())

    def backward(self, v):
        return v * (torch.log(self.x.abs()) + 1)


class Whole(Xlogx):
    def forward(self, x):
        return torch.where(x == 0, 0.0, super().forward(x))


def xlogx(x):
    return torch.special.xlogy(x, x.abs())


def test_outputs_that_are_not_finite_at_a_special_point_are_held_to_the_reference():
    def found(build, reference):
        (result,) = check(LayerSpec(build, "B D", reference=reference), examples=8, only="special_values").results
        return result

    failed = found(Xlogx, xlogx)
    assert failed.outcome is Outcome.FAIL
    assert "entries that are not finite where the reference's are" in failed.reason
    assert found(Whole, xlogx).outcome is not Outcome.FAIL
    assert found(Xlogx, None).outcome is not Outcome.FAIL
    assert found(Xlogx, lambda x: x * torch.log(x.abs())).outcome is not Outcome.FAIL


class Overflows:
    """exp(x) by way of its square."""

    def forward(self, x):
        self.y = torch.exp(x) * torch.exp(x) * torch.exp(-x)
        return self.y

    def backward(self, v):
        return v * self.y


def test_so_are_those_of_an_example():
    from harness import floats

    def found(reference):
        spec = LayerSpec(Overflows, floats("B D", low=-500.0, high=500.0), reference=reference)
        return next(r for r in check(spec, examples=8, only="reference").results)

    assert found(torch.exp).outcome is Outcome.FAIL
    assert "not finite where the reference's are" in found(torch.exp).reason
    assert found(lambda x: torch.exp(x) * torch.exp(x) * torch.exp(-x)).outcome is not Outcome.FAIL


def test_integers_of_numpy_layers_keep_their_dtype():
    def forward(x, i):
        assert i.dtype == np.int32
        return x[i], (x.shape, i)

    def backward(v, cache):
        shape, i = cache
        g = np.zeros(shape)
        np.add.at(g, i, v)
        return g, None

    spec = LayerSpec((forward, backward), ("V D", ints("B", below="V", dtype="int32")))
    assert check(spec, examples=4, only="input_gradient").ok


def test_a_builtin_without_a_signature_is_a_reference():
    class Sine:
        def forward(self, x):
            self.x = x
            return torch.sin(x)

        def backward(self, v):
            return v * torch.cos(self.x)

    def outcomes(reference):
        return {
            r.outcome for r in check(LayerSpec(Sine, "B D", reference=reference), examples=3, only="reference").results
        }

    assert outcomes(torch.sin) == {Outcome.PASS}
    assert outcomes(torch.tanh) == {Outcome.FAIL}
