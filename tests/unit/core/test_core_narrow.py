"""Kernels that take only float32, bfloat16 or float16: judged in what they take, against their reference in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from harness import GradientError, LayerSpec, NotVerified, Outcome, check, gradcheck

NARROW = (torch.float32, torch.bfloat16, torch.float16)
FAR = {torch.float32: 1.001, torch.bfloat16: 1.5, torch.float16: 1.1}
"""A factor on a gradient that is far outside the rounding of each."""


def randn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def silu_of(takes, factor=1.0, says=True):
    """x σ(x) w as a fused kernel: it computes in float32 inside and refuses what it was not compiled for."""

    class Silu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            if says and x.dtype is not takes:
                raise TypeError(f"Silu takes {takes}, not {x.dtype}")
            assert x.dtype is takes
            ctx.save_for_backward(x, w)
            return (x.float() * x.float().sigmoid() * w.float()).to(takes)

        @staticmethod
        def backward(ctx, dy):
            x, w = (t.float() for t in ctx.saved_tensors)
            s, dy = x.sigmoid(), dy.float()
            dx, dw = dy * w * s * (1 + x * (1 - s)), (dy * x * s).sum(0)
            return dx.to(takes), (factor * dw).to(takes)

    return Silu


def silu(x, w):
    return torch.nn.functional.silu(x) * w


class RMSNorm:
    def __init__(self, D, takes, factor=1.0):
        self.gamma, self.takes, self.factor = torch.ones(D), takes, factor

    def forward(self, x):
        if x.dtype is not self.takes:
            raise TypeError(f"RMSNorm takes {self.takes}, not {x.dtype}")
        self.x, x = x, x.float()
        self.r = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5)
        return (x * self.r * self.gamma.float()).to(self.takes)

    def backward(self, dy):
        xhat, d = self.x.float() * self.r, dy.float() * self.gamma.float()
        self.dgamma = (self.factor * (dy.float() * xhat).sum(0)).to(self.takes)
        return ((d - xhat * (d * xhat).mean(-1, keepdim=True)) * self.r).to(self.takes)


def rmsnorm(x, gamma):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * gamma


KERNELS = {
    "autograd.Function": (silu_of, silu, (randn(8, 6), randn(6)), {"x", "w"}, "w"),
    "class": (lambda *a: RMSNorm(6, *a), rmsnorm, (randn(8, 6),), {"x", "gamma"}, "gamma"),
}


def short(dtype):
    return str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("takes", NARROW, ids=short)
@pytest.mark.parametrize(("made", "reference", "inputs", "all_", "_"), KERNELS.values(), ids=KERNELS)
def test_right_one_is_verified_beside_its_reference_in_float64(takes, made, reference, inputs, all_, _):
    report = gradcheck(made(takes), *inputs, reference=reference)
    found = {r.check: r for r in report.results}[short(takes)]
    assert found.outcome is Outcome.PASS
    assert set(found.tensors) == all_
    assert max(found.tensors.values()) < {torch.float32: 1e-5, torch.bfloat16: 0.2, torch.float16: 0.02}[takes]
    assert report.notes[0].startswith(f"judged in {short(takes)}: in float64 TypeError: ")


@pytest.mark.parametrize("takes", NARROW, ids=short)
@pytest.mark.parametrize(("made", "reference", "inputs", "_", "tensor"), KERNELS.values(), ids=KERNELS)
def test_wrong_twin_is_failed_on_its_tensor(takes, made, reference, inputs, _, tensor):
    with pytest.raises(GradientError) as raised:
        gradcheck(made(takes, FAR[takes]), *inputs, reference=reference)
    found = next(r for r in raised.value.report.failures if r.check == short(takes))
    assert found.finding.where[0] == tensor
    said = ("expected is what the reference gives in float64 at the same numbers", "no single entry is out")
    assert str(found.finding.diagnosis[0]).startswith(said)


@pytest.mark.parametrize("takes", NARROW[1:], ids=short)
def test_without_a_reference_it_is_not_verified_and_the_report_says_what_to_give(takes):
    with pytest.raises(NotVerified, match=f"in {short(takes)} differences tell little: give reference="):
        gradcheck(silu_of(takes), *KERNELS["autograd.Function"][2])


def test_a_kernel_that_only_asserts_its_dtype():
    assert gradcheck(silu_of(torch.bfloat16, 1.0, False), *KERNELS["autograd.Function"][2], reference=silu).ok


class Picky(torch.autograd.Function):
    """Of its dtype its error says nothing that is understood; it says the same of the values."""

    factor = 1.0

    @staticmethod
    def forward(ctx, x, w):
        if x.dtype is not torch.bfloat16 or x.isnan().any():
            raise ValueError("unsupported input")
        return silu_of(torch.bfloat16).forward(ctx, x, w)

    @classmethod
    def backward(cls, ctx, dy):
        return silu_of(torch.bfloat16, cls.factor).backward(ctx, dy)


class WrongPicky(Picky):
    factor = 1.5


def test_a_kernel_that_takes_the_inputs_as_they_are_and_in_no_other_dtype():
    x, w = (t.bfloat16() for t in KERNELS["autograd.Function"][2])
    report = gradcheck(Picky, x, w, reference=silu)
    assert "judged in bfloat16, as it was given: in float64 ValueError: unsupported input" in report.notes[0]
    assert not gradcheck(WrongPicky, x, w, reference=silu, raise_exception=False).ok
    with pytest.raises(ValueError, match="unsupported input"):
        gradcheck(Picky, x * torch.nan, w, reference=silu)


def test_an_assertion_with_words_of_its_own():
    class Kernel(Picky):
        @staticmethod
        def forward(ctx, x, w):
            assert x.dtype is torch.bfloat16, "bf16 only"
            return silu_of(torch.bfloat16).forward(ctx, x, w)

    assert gradcheck(Kernel, *KERNELS["autograd.Function"][2], reference=silu).ok


@pytest.mark.parametrize("words", ["fp32 only", "single precision expected", "F32!"])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_refusal_that_names_the_dtype_in_short(words, factor):
    class Kernel(Picky):
        @staticmethod
        def forward(ctx, x, w):
            torch._assert(x.dtype is torch.float32, words)
            return silu_of(torch.float32, factor).forward(ctx, x, w)

        @staticmethod
        def backward(ctx, dy):
            return silu_of(torch.float32, factor).backward(ctx, dy)

    report = check(LayerSpec(lambda: Kernel, ("B D", "D"), reference=silu), examples=3, only="gradient")
    assert not any(r.outcome is Outcome.ERROR for r in report.results)
    assert bool(report.failures) == (factor > 1)


def test_a_reference_that_leaves_float64_verifies_nothing():
    def coarse(x, w):
        return silu(x.float(), w.float())

    report = gradcheck(
        silu_of(torch.bfloat16), *KERNELS["autograd.Function"][2], reference=coarse, raise_exception=False
    )
    found = {r.check: r for r in report.results}
    assert not report.ok
    assert found["bfloat16"].outcome is Outcome.SKIP
    assert "the reference answers float64 with torch.float32" in found["bfloat16"].reason


def test_another_function_than_the_reference_is_failed():
    report = gradcheck(
        silu_of(torch.bfloat16),
        *KERNELS["autograd.Function"][2],
        reference=lambda x, w: 2 * silu(x, w),
        raise_exception=False,
    )
    assert "bfloat16" in {r.check for r in report.failures}


@pytest.mark.parametrize("takes", NARROW, ids=short)
def test_specs(takes):
    spec = LayerSpec(build=lambda D: RMSNorm(D, takes), inputs="B D", reference=rmsnorm, name="RMSNorm")
    report = check(spec, examples=6)
    assert report.ok, str(report)
    found = {r.check: r for r in report.results}[short(takes)]
    assert set(found.tensors) == {"x", "gamma"}


def test_specs_of_wrong_ones():
    spec = LayerSpec(build=lambda D: RMSNorm(D, torch.bfloat16, 1.5), inputs="B D", reference=rmsnorm, name="RMSNorm")
    report = check(spec, examples=3)
    assert [r.check for r in report.failures] == ["bfloat16"]


def test_what_refuses_every_dtype_is_the_layers_own_error():
    class Never(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            raise TypeError(f"unsupported dtype {x.dtype}")

    with pytest.raises(TypeError, match=r"unsupported dtype torch\.float64"):
        gradcheck(Never, randn(2, 3))


class Tanh:
    """1 − a² cancels where a is nearly 1; the reference's own derivative does not."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def forward(self, x):
        self.a = torch.tanh(x)
        return self.a

    def backward(self, dy):
        return self.factor * dy * (1 - self.a * self.a)


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1.01, Outcome.FAIL)])
def test_a_formula_that_rounds_more_than_the_reference_is_held_to_its_own_rounding(factor: float, outcome: Outcome):
    spec = LayerSpec(
        lambda: Tanh(factor), "B D", "Tanh", dtypes=("float32",), reference=lambda x: 2 * torch.sigmoid(2 * x) - 1
    )
    assert [r.outcome for r in check(spec, examples=6, seed=1, only=("float32",)).results] == [outcome]


def swish(x, factor=1.0):
    """x / (1 + e⁻ˣ), the exponential in float32 and all else in float64: on a step of its staircase the slope is 1 / (1 + e⁻ˣ)."""
    e = np.exp(-x, dtype=np.float32)
    return x / (1 + e), lambda d: factor * d * (1 + e + x * e) / (1 + e) ** 2


@pytest.mark.parametrize("scale", [1e-3, 1e-2, 1.0, 4.0])
def test_a_part_in_float32_inside_is_no_failure(scale):
    for seed in range(4):
        x = scale * np.random.default_rng(seed).normal(size=(2, 3))
        for factor, wrong in ((1.0, False), (1.01, True)):
            report = gradcheck(partial(swish, factor=factor), x, raise_exception=False, seed=seed)
            assert bool(report.failures) is wrong, str(report)


class Half(torch.nn.Module):
    """A kernel in 16 bits behind a float32 interface, as of mixed precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.w, self.dtype = torch.nn.Parameter(torch.linspace(0.5, 1.5, 16)), dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(x.to(self.dtype)) * self.w.to(self.dtype)).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_computes_in_16_bits_behind_a_wider_interface_is_told_so(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    report = gradcheck(Half(dtype), torch.randn(4, 16), raise_exception=False)
    assert not report.failures, report
    assert not report.ok
    short = str(dtype).removeprefix("torch.")
    assert f"outputs are computed in {short} inside a float32 interface" in str(report)


class Grid(torch.autograd.Function):
    """What it is given on a grid of eighths, or times 3: wrong either way."""

    @staticmethod
    def forward(ctx, x, steps):
        return (8 * x).round() / 8 if steps else 3 * x

    @staticmethod
    def backward(ctx, g):
        return g, None


def test_coarser_steps_and_float32_itself_are_no_numbers_of_16_bits(diagnosed: None) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    report = gradcheck(Grid, x, True, raise_exception=False)
    assert "bfloat16" not in str(report)
    assert not report.ok
    report = gradcheck(Grid, x, False, dtype="float32", raise_exception=False)
    assert [r.check for r in report.failures] == ["input_gradient"]
