"""Nothing is skipped in silence; gradients that are added up or overwritten are found out and held to it."""

from __future__ import annotations

import re

import layers_findings as layers
import pytest
from twins import NX, verified_in

from harness import LayerSpec, NotVerified, Outcome, SpecError, check, gradcheck


@pytest.mark.parametrize(("kind", "name"), [(layers.Scaled, "scale"), (layers.Deep, "inner.0.scale")])
def test_array_that_changes_the_output_without_gradient_is_a_finding(kind, name):
    with pytest.raises(NotVerified, match=f"`{name}` changes the output and has no gradient") as raised:
        gradcheck(kind(), NX)
    assert verified_in(raised.value.report) == {"x", name.replace("scale", "W")}


def accumulation(kind):
    report = gradcheck(kind(), NX, battery=True, raise_exception=False)
    assert {r.check for r in report.failures} <= {"accumulation"}
    return next(r for r in report.results if r.check == "accumulation")


@pytest.mark.parametrize(
    ("kind", "said"),
    [(layers.Accumulates, "gradients are added up"), (layers.Overwrites, "gradients are overwritten")],
)
def test_what_a_second_backward_does_is_said(kind, said):
    result = accumulation(kind)
    assert (result.outcome, result.reason) == (Outcome.PASS, said)
    assert set(result.tensors) == {"W", "b"}


@pytest.mark.parametrize(
    ("kind", "found", "expected"),
    [
        (layers.Mixed, "overwritten", "added up, as the gradient of W is"),
        (layers.Twice, "neither of the two", "after two backwards the last gradient, or the sum of both"),
    ],
)
def test_gradient_that_differs_from_the_others_is_named(kind, found, expected):
    result = accumulation(kind)
    assert result.outcome is Outcome.FAIL
    assert (result.finding.where[0], result.finding.analytic, result.finding.expected) == ("b", found, expected)


@pytest.mark.usefixtures("diagnosed")
def test_a_gradient_that_the_layer_s_own_reset_leaves_out_is_named():
    assert accumulation(layers.Resets).outcome is Outcome.PASS
    report = check(LayerSpec(layers.ResetsOne, inputs="B 3"), examples=6)
    result = next(r for r in report.failures if r.check == "accumulation")
    assert result.finding.where[0] == "b"
    assert result.finding.analytic == "what earlier backwards left stays in it"
    assert result.finding.expected == "cleared before the next backward, as the gradient of W is"
    # that so much is left that what is added does not show makes no cotangent ignored
    assert not any("ignores it" in s for r in report.failures if r.finding for s in r.finding.diagnosis)


def promised(kind, *promises, examples=3):
    spec = LayerSpec(kind, inputs="B 3", promises=promises)
    (result,) = check(spec, examples=examples, only="accumulation").results
    return result


@pytest.mark.parametrize(
    ("right", "wrong", "promise"),
    [
        (layers.Accumulates, layers.Overwrites, "accumulates"),
        (layers.Overwrites, layers.Accumulates, "overwrites"),
    ],
)
def test_a_promise_is_held_to(right, wrong, promise):
    assert promised(right, promise).outcome is Outcome.PASS
    failed = promised(wrong, promise)
    assert failed.outcome is Outcome.FAIL
    assert f'as the promise "{promise}" says' in failed.finding.expected
    assert promised(wrong).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(layers.Accumulates, Outcome.PASS), (layers.Overwrites, Outcome.PASS), (layers.Now, Outcome.FAIL)],
)
def test_it_is_one_or_the_other_at_every_example(kind, outcome):
    result = promised(kind, examples=12)
    assert result.outcome is outcome
    assert result.reason.startswith("gradients are added up in ") == (outcome is Outcome.FAIL)


def test_two_promises_that_exclude_each_other_are_refused():
    with pytest.raises(SpecError, match="write one of the two"):
        promised(layers.Accumulates, "accumulates", "overwrites")


def test_specs_are_held_to_it_too():
    assert check(LayerSpec(layers.Accumulates, inputs="B 3"), examples=3, only="accumulation").ok
    assert check(LayerSpec(layers.Mixed, inputs="B 3"), examples=3, only="accumulation").failures


class OtherNames:
    """A third power whose methods have names that nobody has heard of."""

    def forward_of_cube(self, x):
        self.x = x
        return x**3

    def backward_of_cube(self, v):
        return 3 * v * self.x**2


def test_methods_of_other_names_are_named_with_the_line_to_write():
    layer = OtherNames()
    line = "layer.forward, layer.backward = layer.forward_of_cube, layer.backward_of_cube"
    with pytest.raises(SpecError, match=re.escape(f"before the check write {line}")):
        gradcheck(layer, NX)
    exec(line, {"layer": layer})
    assert gradcheck(layer, NX).ok


CONSTANTS = {
    "by length": (layers.Position, "cache.4", "cache"),
    "by shape": (layers.ByShape, "cache.(4, 3)", "cache"),
    "mask": (layers.Causal, "mask", "mask"),
}


@pytest.mark.parametrize(("kind", "name", "declared"), CONSTANTS.values(), ids=CONSTANTS)
def test_constant_made_by_a_forward_is_named_with_the_line_to_write(kind, name, declared):
    said = f"`{name}` was made by forward, changes the output and has no gradient: if it is a constant, "
    with pytest.raises(NotVerified) as raised:
        gradcheck(kind(), NX)
    assert said in str(raised.value.report.to_dict())
    line = re.search(r"write grads=(\{.*?\})", str(raised.value.report.to_dict()))
    assert eval(line[1].replace("\\", "")) == {declared: None}


@pytest.mark.parametrize(("kind", "name", "declared"), CONSTANTS.values(), ids=CONSTANTS)
def test_and_that_line_serves(kind, name, declared):
    wrong = type("Wrong", (kind,), {"factor": 2.0})
    for grads in ({declared: None}, {name: None}):
        assert verified_in(gradcheck(kind(), NX, grads=grads)) == {"x"}
        assert gradcheck(wrong(), NX, grads=grads, raise_exception=False).failures
    assert check(LayerSpec(kind, inputs="B 3", grads={declared: None}), examples=8).ok
    assert check(LayerSpec(wrong, inputs="B 3", grads={declared: None}), examples=3).failures


def test_a_container_that_is_no_constant_is_not_excused_by_a_gradient():
    with pytest.raises(SpecError, match=r"grads names 'cache', which is no array of Position: it has cache\.4"):
        gradcheck(layers.Position(), NX, grads={"cache": "dcache"})


def test_an_entry_of_a_list_is_written_as_one():
    with pytest.raises(NotVerified, match=r"set self\.dws\[0\] in backward") as raised:
        gradcheck(layers.Listed(), NX)
    assert "self.dws[1]" in str(raised.value.report.to_dict())


def test_a_gradient_whose_parameter_is_not_there_is_named_wherever_it_stands():
    notes = gradcheck(layers.Biased(), NX).notes
    assert notes == ("`db` is written by backward and is the gradient of nothing that was found",)
    assert gradcheck(layers.Overwrites(), NX).notes == ()


def test_none_for_the_target_of_a_loss_is_said_and_not_failed():
    report = gradcheck(layers.Loss(), NX, NX + 1)
    assert report.results[0].reason == "backward returns no gradient of y; not judged"
    failed = gradcheck(layers.Difference(), NX, NX + 1, raise_exception=False).failures
    assert [r.finding.where[0] for r in failed if r.check == "input_gradient"] == ["y"]


@pytest.mark.parametrize(("dtype", "factor"), [(int, 1), (int, 2), (bool, 1)])
def test_gradient_in_integers_is_judged_by_its_numbers_and_said(dtype, factor):
    layer = type("Layer", (layers.Integers,), {"dtype": dtype, "factor": factor})()
    report = gradcheck(layer, NX, battery=True, raise_exception=False)
    assert not [r for r in report.results if r.outcome is Outcome.ERROR]
    assert {r.check for r in report.failures} == ({"dtypes"} if factor == 1 else {"dtypes", "input_gradient"})
    assert f"x: torch.{'int64' if dtype is int else 'bool'} on cpu, expected torch.float64" in str(report)
