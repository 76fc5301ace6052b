"""A kernel that takes CUDA tensors alone: what is said where it is given others."""

from __future__ import annotations

import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck
from harness.wanted import cuda_wanted

NO_DEVICE = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def bare(x):
    assert x.is_cuda


def with_others(x):
    assert x.is_cuda and x.is_contiguous(), "unsupported"  # noqa: PT018


def raised_below_a_condition(x):
    if x.device.type != "cuda":
        raise ValueError(f"unsupported device {x.device}")


def said(x):
    raise RuntimeError("Expected a CUDA tensor")


def without_a_driver(x):
    raise RuntimeError("Found no NVIDIA driver on your system")


def tritons_pointer(x):
    raise ValueError("Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)")


def tritons_driver(x):
    raise RuntimeError("0 active drivers ([]). There should only be one.")


def of_an_operator(x):
    raise NotImplementedError(
        "Could not run 'my::silu' with arguments from the 'CPU' backend. 'my::silu' is only available for these backends: [CUDA]"
    )


def on_the_way(x):
    torch.cuda.current_stream().synchronize()


WANT = (
    bare,
    with_others,
    raised_below_a_condition,
    said,
    without_a_driver,
    tritons_pointer,
    tritons_driver,
    of_an_operator,
    on_the_way,
)


def of_shape(x):
    assert x.dim() == 7, "seven axes"


def of_a_package(x):
    raise ModuleNotFoundError("No module named 'triton'")


def of_range(x):
    if x.min() < 0:
        raise ValueError("negative input")


OTHER = (of_shape, of_a_package, of_range)


def kernel(guard, factor=1.0):
    class Silu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            guard(x)
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, dout):
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return factor * dout * s * (1 + x * (1 - s))

    return Silu


class OnlyBackward:
    """Its forward runs anywhere."""

    def forward(self, x):
        self.x = x
        return 2 * x

    def backward(self, dout):
        assert dout.is_cuda
        return 2 * dout


def told(error):
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


@NO_DEVICE
@pytest.mark.parametrize("guard", WANT)
def test_it_is_said_what_it_wants_that_there_is_none_and_what_to_write(guard):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        gradcheck(kernel(guard), X)
    spec = LayerSpec(build=lambda: kernel(guard), inputs="B D", name="Silu")
    results = check(spec, examples=2, only=("input_gradient",)).results
    for text in (told(raised.value), results[0].reason):
        assert "it wants CUDA tensors, and this machine has no CUDA device" in text
        assert 'where there is one give inputs made with device="cuda", or write check(spec, device="cuda")' in text
    assert [r.outcome for r in results] == [Outcome.ERROR]


@pytest.mark.parametrize("guard", OTHER)
def test_what_is_refused_for_another_reason_is_not_told_of_devices(guard):
    with pytest.raises(Exception) as raised:  # noqa: PT011
        gradcheck(kernel(guard), X)
    assert "CUDA" not in told(raised.value)


@NO_DEVICE
def test_a_backward_alone_that_wants_them():
    report = gradcheck(OnlyBackward(), X, raise_exception=False)
    assert "backward raised AssertionError" in report.failures[0].reason
    assert "it wants CUDA tensors, and this machine has no CUDA device" in report.failures[0].reason


def test_where_there_is_one_no_other_machine_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeError, match="Expected a CUDA tensor") as raised:
        gradcheck(kernel(said), X)
    assert 'it wants CUDA tensors: give inputs made with device="cuda"' in told(raised.value)


def test_what_goes_wrong_on_a_cuda_device_wants_none():
    error = RuntimeError("CUDA out of memory")
    assert cuda_wanted(error, "cpu")
    assert cuda_wanted(error, "cuda:0") == ""


@CUDA
@pytest.mark.parametrize("guard", [bare, raised_below_a_condition, on_the_way])
def test_on_a_cuda_device_it_is_judged(guard):
    x = X.cuda()
    assert gradcheck(kernel(guard), x).ok
    assert gradcheck(kernel(guard, 2.0), x, raise_exception=False).failures
    for factor, fails in ((1.0, False), (2.0, True)):
        spec = LayerSpec(build=lambda f=factor: kernel(guard, f), inputs="B D", name="Silu")
        report = check(spec, examples=3, device="cuda", only=("input_gradient", "float32"))
        assert bool(report.failures) is fails
        assert fails or report.ok


@NO_DEVICE
def test_it_is_told_without_the_source():
    scope = {}
    exec("def guard(x):\n    y = x + 1\n    assert y.is_cuda\ndef other(x):\n    assert x.dim() == 7", scope)
    for name, wants in (("guard", True), ("other", False)):
        with pytest.raises(AssertionError) as raised:
            gradcheck(kernel(scope[name]), X)
        assert ("it wants CUDA tensors" in told(raised.value)) is wants
