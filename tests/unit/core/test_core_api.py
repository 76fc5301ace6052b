"""The call for one layer and input: its arguments, what it raises, and what its report says."""

from __future__ import annotations

import re
from typing import Any

import core_layers as layers
import pytest
import torch

from harness import GradientError, LayerSpec, NotVerified, Outcome, Report, SpecError, check, const, gradcheck

F64 = torch.float64
X = torch.randn(4, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
W = torch.randn(3, 2, dtype=F64, generator=torch.Generator().manual_seed(1))


def outcomes(report: Report) -> dict[str, Outcome]:
    return {r.check: r.outcome for r in report.results}


def test_inputs_that_are_no_numbers_to_differ_by_are_named():
    scaled = gradcheck(lambda x, w: x * w, torch.arange(6).reshape(2, 3), torch.ones(3), raise_exception=False)
    assert not any("int64" in r.reason for r in scaled.results)  # w has a gradient, x may be meant as it is
    linear = gradcheck(layers.NumpyLinear(), torch.arange(6).reshape(2, 3).numpy())
    assert linear.results[0].reason == "no input wants a gradient: x is torch.int64"
    x = torch.tensor([1.0, float("nan")])
    assert "x holds values that are infinite or NaN" in gradcheck(layers.Identity(), x, raise_exception=False).notes
    assert gradcheck(layers.Identity(), X).notes == ()


# Arguments


def test_tuple_of_inputs_is_the_same_as_its_members():
    assert gradcheck(layers.closure, (X, W)).to_json() == gradcheck(layers.closure, X, W).to_json()


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("eps", 1e-6, "the step is chosen by a ladder from each tensor's own spread"),
        ("atol", 1e-5, "ask for a finer one with resolution=1e-8"),
        ("rtol", 1e-3, "the bound is computed from the forward's measured rounding"),
        ("fast_mode", True, "one random cotangent and direction always come first"),
        ("nondet_tol", 0.0, "every forward replays the random generators"),
    ],
)
def test_torchs_word_says_what_is_computed_instead(word, value, said):
    with pytest.raises(TypeError) as raised:
        gradcheck(layers.closure, (X, W), **{word: value})
    assert f"takes no {word}=: " in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize("word", ["check_undefined_grad", "check_batched_grad", "masked", "check_forward_ad"])
def test_torchs_other_words_are_refused_too(word):
    with pytest.raises(TypeError, match=word):
        gradcheck(layers.closure, (X, W), **{word: True})


def test_unknown_keyword_says_where_forwards_go():
    with pytest.raises(TypeError, match=r"an unexpected keyword 'referense': did you mean reference=\?"):
        gradcheck(layers.Identity(), X, referense=torch.tanh)
    with pytest.raises(TypeError, match=r"an unexpected keyword 'scale'; .* go into kwargs=\{'scale': \.\.\.\}"):
        gradcheck(layers.Identity(), X, scale=2)


def test_mode_is_the_one_asked_for():
    for mode in ("train", "eval"):
        assert {r.mode for r in gradcheck(layers.Noise(), X, mode=mode).results} == {mode}


def test_mode_is_the_layers_present_one():
    layer = layers.Noise()
    assert {r.mode for r in gradcheck(layer, X).results} == {"train"}
    layer.training = False
    assert {r.mode for r in gradcheck(layer, X).results} == {"eval"}
    assert {r.mode for r in gradcheck(layers.CubicModule(3).eval(), X).results} == {"eval"}
    assert {r.mode for r in gradcheck(layers.Identity(), X).results} == {None}


def test_mode_that_the_layer_has_not_is_an_error():
    with pytest.raises(SpecError, match="Noise has no mode 'test'; its modes: 'train' and 'eval'"):
        gradcheck(layers.Noise(), X, mode="test")
    with pytest.raises(SpecError, match="Identity has no mode 'eval'; its modes: none"):
        gradcheck(layers.Identity(), X, mode="eval")


def test_fault_of_one_mode_is_found_in_that_mode():
    class Inverted(layers.Noise):
        def backward(self, dy):
            return self.m * dy if self.training else dy / (1 - self.p)

    assert gradcheck(Inverted(), X, mode="train").ok
    with pytest.raises(GradientError):
        gradcheck(Inverted(), X, mode="eval")


def test_battery_runs_every_check_that_is_there():
    from harness.checks import all_checks

    without, full = (gradcheck(layers.Noise(), X, battery=b) for b in (False, True))
    assert {r.check for r in full.results} == {c.name for c in all_checks()}
    assert {r.check for r in without.results} == {c.name for c in all_checks() if c.given}
    assert outcomes(full)["mask"] is Outcome.PASS


def test_battery_finds_what_the_gradient_does_not_show():
    class Moving(layers.RunningMean):
        def backward(self, dy):
            self.running_mean = self.running_mean + 1
            return super().backward(dy)

    assert gradcheck(Moving(), X).ok
    report = gradcheck(Moving(), X, battery=True, raise_exception=False)
    assert [r.check for r in report.failures] == ["state"]


# Reference


def test_right_reference():
    report = gradcheck(layers.LayerNorm(3), X, reference=_layer_norm)
    assert outcomes(report)["reference"] is Outcome.PASS
    assert {"output", "x", "gamma", "beta"} <= set(next(r.tensors for r in report.results if r.check == "reference"))


def _layer_norm(x, gamma, beta):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta, 1e-5)


def test_layer_that_is_another_function_than_its_reference_fails():
    def other(x, gamma, beta):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], gamma, beta, 1e-3)

    report = gradcheck(layers.LayerNorm(3), X, reference=other, raise_exception=False)
    assert [r.check for r in report.failures] == ["reference"]
    assert "output" in report.failures[0].reason


def test_reference_of_another_shape_fails():
    report = gradcheck(layers.Identity(), X, reference=lambda x: x.sum(0), raise_exception=False)
    assert "outputs of shape [(4, 3)], the reference's are [(3,)]" in report.failures[0].reason


def test_reference_in_numpy():
    import numpy as np

    report = gradcheck(layers.Elementwise(torch.tanh, lambda x: 1 - torch.tanh(x) ** 2), X, reference=np.tanh)
    assert outcomes(report)["reference"] is Outcome.PASS


def _in_order(a, b, mode, /):
    return a / b


def _by_name(w, x, /):
    return x / w


@pytest.mark.parametrize("reference", [_in_order, _by_name])
def test_reference_with_arguments_that_can_not_be_named(reference):
    report = gradcheck(lambda x, w: x / w, X, X.abs() + 1, reference=reference)
    assert outcomes(report)["reference"] is Outcome.PASS


def test_reference_that_asks_for_something_else_is_an_error():
    with pytest.raises(SpecError, match=r"the reference of LayerNorm asks for 'weight'; there are x, .*gamma, beta"):
        gradcheck(layers.LayerNorm(3), X, reference=lambda x, *, weight: x * weight)


def test_reference_that_raises_does_not_apply():
    def refuses(x):
        raise NotImplementedError("not here")

    report = gradcheck(layers.Identity(), X, reference=refuses)
    reason = next(r.reason for r in report.results if r.check == "reference")
    assert reason == "the reference refuses the example: NotImplementedError: not here"


@pytest.mark.parametrize(
    ("raised", "outcome"), [(NotImplementedError, Outcome.SKIP), (NameError, Outcome.INCONCLUSIVE)]
)
def test_reference_that_never_answers_verifies_nothing(raised, outcome):
    def refuses(x):
        raise raised("not here")

    report = gradcheck(layers.Identity(), X, reference=refuses, raise_exception=False)
    assert (outcomes(report)["reference"], report.ok) == (outcome, outcome is Outcome.SKIP)


def test_reference_of_a_random_layer_does_not_apply():
    report = gradcheck(layers.Noise(), X, mode="train", reference=lambda x: x)
    assert outcomes(report)["reference"] is Outcome.SKIP


# derivative_of


class StraightThrough:
    """y = sign(x), whose backward is declared to be that of clamp(x, −1, 1)."""

    width = 1.0

    def forward(self, x):
        self.inside = (x.abs() <= self.width).to(x)
        return torch.sign(x)

    def backward(self, dy):
        return dy * self.inside


class StraightThroughTooWide(StraightThrough):
    width = 2.0


def declared(build: Any) -> Report:
    spec = LayerSpec(build=build, inputs="B D", derivative_of=lambda x: torch.clamp(x, -1.0, 1.0))
    return check(spec, examples=8, only=("gradient",))


def test_declared_derivative_is_what_backward_is_held_to():
    assert declared(StraightThrough).ok
    report = declared(StraightThroughTooWide)
    assert [r.check for r in report.failures] == ["input_gradient"]


def test_without_the_declaration_the_derivative_of_forward_is_zero():
    report = check(LayerSpec(build=StraightThrough, inputs="B D"), examples=8, only=("gradient",))
    assert "input_gradient" in {r.check for r in report.failures}


# Resolution and precision


def test_resolution_demands_more():
    assert gradcheck(layers.closure, X, W, resolution=1e-9).ok
    report = gradcheck(_coarse, X, resolution=1e-12, raise_exception=False)
    assert outcomes(report)["input_gradient"] is Outcome.INCONCLUSIVE
    reason = next(r.reason for r in report.results if r.check == "input_gradient")
    assert "the forward's own rounding hides" in reason


def _coarse(x):
    return (torch.sin(x) + 1e6) - 1e6


def test_resolution_that_asks_for_less_takes_a_coarser_layer():
    def noisy(x):
        return (torch.sin(x) + 1e8) - 1e8, lambda dy: dy * torch.cos(x)

    assert gradcheck(noisy, X, resolution=1e-2).ok


def test_float32_is_judged_in_float32():
    report = gradcheck(layers.closure, X, W, dtype="float32")
    assert report.settings["dtype"] == "float32"
    assert report.ok
    assert all(r > 1e-9 for n, r in report.results[0].tensors.items())
    with pytest.raises(GradientError):
        gradcheck(layers.wrong_closure, X, W, dtype=torch.float32)


def test_dtype_is_float64_by_default_whatever_the_input_is():
    report = gradcheck(layers.closure, X.float(), W.float())
    assert report.settings["dtype"] == "float64"


def test_layer_that_accepts_float32_alone_is_judged_in_it_and_the_report_says_so():
    def narrow(x):
        if x.dtype != torch.float32:
            raise TypeError(f"expected dtype float32, got {x.dtype}")
        return torch.sin(x), lambda dy: dy * torch.cos(x)

    report = gradcheck(narrow, X)
    assert report.ok
    assert report.settings["dtype"] == "float32"
    assert any(n.startswith("judged in float32: in float64 TypeError: expected dtype float32") for n in report.notes)


def test_unknown_dtype_is_an_error():
    with pytest.raises(SpecError, match="dtype='float63' is not one of float64, float32, bfloat16, float16"):
        gradcheck(layers.Identity(), X, dtype="float63")


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64])
def test_dtype_without_gradients_is_an_error(dtype):
    with pytest.raises(SpecError, match=rf"dtype={dtype} is not one of float64, float32, bfloat16, float16"):
        gradcheck(layers.Identity(), X, dtype=dtype)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (
            {"reference": "torch.tanh"},
            "reference='torch.tanh' can't be called: write a function, such as torch.tanh or",
        ),
        ({"kwargs": 3}, "kwargs=3: write a dict, {keyword of forward: value}, such as {'train': True}"),
        ({"grads": "dW"}, "grads='dW': write a dict, {parameter: name of its gradient}, such as {'W': 'dW'}"),
    ],
)
def test_argument_of_another_type_says_what_to_write(words, shown):
    with pytest.raises(SpecError, match=re.escape(shown)):
        gradcheck(layers.Identity(), X, **words)


# What comes back


def test_report_instead_of_an_exception():
    report = gradcheck(layers.wrong_closure, X, W, raise_exception=False)
    assert isinstance(report, Report)
    assert not report.ok
    assert not report
    assert [r.check for r in report.failures] == ["input_gradient", "autograd"]


def test_verified_report_is_true():
    report = gradcheck(layers.closure, X, W)
    assert report.ok is True
    assert bool(report)
    assert report.failures == []
    report.raise_for_failures()


def test_what_is_not_verified_is_an_error_of_its_own_kind():
    with pytest.raises(NotVerified) as raised:
        gradcheck(_coarse, X, resolution=1e-12)
    assert isinstance(raised.value, GradientError)
    assert isinstance(raised.value, AssertionError)
    assert "NOT VERIFIED" in str(raised.value)
    assert not raised.value.report


def test_report_without_a_gradient_is_not_true():
    report = gradcheck(layers.Identity(), const(X), raise_exception=False)
    assert not any(r.tensors for r in report.results if r.check.endswith("gradient"))
    assert not report.ok


INTEGERS = torch.ones(2, dtype=torch.long)


def test_integers_alone_are_no_failure():
    assert gradcheck(layers.Identity(), INTEGERS, raise_exception=False).failures == []


def test_outcome_has_no_truth_value():
    with pytest.raises(TypeError, match="has no truth value: compare it"):
        bool(Outcome.FAIL)


def test_forward_that_raises_is_the_callers_own_exception_or_no_pass():
    def broken(x):
        raise RuntimeError("no such kernel")

    with pytest.raises((RuntimeError, GradientError), match="no such kernel"):
        gradcheck((broken, lambda d, c: d), X)


class NamedAxis:
    def forward(self, x):
        return torch.exp(x - x.amax(1, keepdim=True))

    def backward(self, d):
        return d


@pytest.mark.parametrize(("x", "said"), [(X.numpy(), True), (X[0], False)])
def test_numpy_arrays_that_a_torch_layer_refuses_are_named(x, said):
    with pytest.raises((AttributeError, IndexError)) as raised:
        gradcheck(NamedAxis(), x)
    note = "it computes with torch and was given NumPy arrays: give torch.from_numpy(x)"
    assert (note in raised.value.__notes__) is said


def test_backward_that_raises_is_wrong():
    def backward(d, cache):
        raise RuntimeError("no such kernel")

    with pytest.raises(GradientError, match=r"the forward went through and backward raised RuntimeError: no such"):
        gradcheck((lambda x: (x * 1.0, None), backward), X)


# Constants and seeds


@pytest.mark.parametrize("width", [2, 3, 4, 7])
def test_factor_that_is_one_at_the_initial_value_is_found(width):
    x = torch.randn(5, width, dtype=F64, generator=torch.Generator().manual_seed(width))
    assert gradcheck(layers.LayerNorm(width), x).ok
    report = gradcheck(layers.LayerNormWithoutGamma(width), x, raise_exception=False)
    assert "input_gradient" in {r.check for r in report.failures}
    assert "constant parameters redrawn" in report.failures[0].finding.example


def test_drawn_parameters_are_judged_as_they_are_given():
    layer = layers.LayerNormWithoutGamma(3)
    layer.gamma = layer.gamma + torch.arange(3) / 8
    layer.beta = layer.beta + torch.arange(3) / 8
    report = gradcheck(layer, X, raise_exception=False)
    assert report.failures[0].finding.example == "the input as given"


@pytest.mark.parametrize("layer", [layers.closure, layers.wrong_closure], ids=["right", "wrong"])
def test_same_seed_gives_the_same_bytes(layer):
    texts = [gradcheck(layer, X, W, seed=s, raise_exception=False).to_json() for s in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_other_seed_gives_other_numbers():
    reports = [gradcheck(layers.wrong_closure, X, W, seed=s, raise_exception=False) for s in (1, 2)]
    assert reports[0].failures[0].finding.analytic != reports[1].failures[0].finding.analytic


def test_seeds_of_either_sign_differ():
    found = [gradcheck(layers.wrong_closure, X, W, seed=s, raise_exception=False).failures[0].finding for s in (1, -1)]
    assert found[0].analytic != found[1].analytic


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("check_forward_ad", "forward mode are not supported yet"),
        ("check_batched_grad", "vmap is not supported yet"),
        ("masked", "sparse tensors are not supported yet"),
        ("create_graph", "second derivatives are not supported yet"),
    ],
)
def test_what_is_not_supported_is_said(word, says):
    with pytest.raises(TypeError, match=says):
        gradcheck(torch.sin, torch.ones(2), **{word: True})


def test_second_derivatives_are_not_supported_yet():
    import harness

    with pytest.raises(AttributeError, match="second derivatives are not supported yet"):
        harness.gradgradcheck  # noqa: B018
