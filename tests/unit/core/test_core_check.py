"""A spec over its examples: what is refused, what fails, known gaps, the choice of checks, and the seed."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from typing import Any, ClassVar

import core_layers as layers
import pytest
import torch

from harness import LayerSpec, Outcome, Report, SpecError, check, gradcheck
from harness.checks import all_checks

CHECKS = {c.name: c for c in all_checks()}


def outcomes(report: Report) -> dict[str, Outcome]:
    return {r.check: r.outcome for r in report.results}


def spec(build: Any, inputs: Any = "B D", **more: Any) -> LayerSpec:
    return LayerSpec(build=build, inputs=inputs, **more)


class Plain(layers.Identity):
    """y = x, in the convention whose discovery needs no forward."""

    params: ClassVar[dict[str, torch.Tensor]] = {}
    grads: ClassVar[dict[str, torch.Tensor]] = {}


class Refuses(Plain):
    """Takes batches of at least `least`."""

    least = 2

    def forward(self, x):
        if len(x) < self.least:
            raise ValueError(f"a batch of at least {self.least}, not {len(x)}")
        return super().forward(x)


class RefusesMost(Refuses):
    least = 6


class Overflows(Plain):
    """Infinite at a batch of one."""

    def forward(self, x):
        return x / (0.0 if len(x) == 1 else 1.0)


# Refused examples


def test_refused_examples_are_counted_and_listed():
    report = check(spec(Refuses), examples=12)
    assert report.ok
    result = report.results[0]
    assert 6 <= result.examples < 12
    refused = 12 - result.examples
    assert report.notes == (f"refused {refused} examples: ValueError: a batch of at least 2, not 1",)


def test_output_that_is_not_finite_refuses_too():
    report = check(spec(Overflows), examples=12)
    assert report.ok
    assert any("the outputs are not finite" in note for note in report.notes)


def test_more_than_half_refused_is_an_error():
    report = check(spec(RefusesMost), examples=12)
    assert set(outcomes(report).values()) == {Outcome.ERROR}
    assert "the layer refuses" in report.results[0].reason
    assert "of 12 examples, the first with: ValueError: a batch of at least 6" in report.results[0].reason
    assert not report.ok


def test_a_reference_that_refuses_some_examples_is_asked_for_the_others():
    def picky(x):
        if len(x) == 1:
            raise ValueError("more than one example")
        return x * 1.0

    [result] = check(spec(layers.Identity, reference=picky), examples=12, only="reference").results
    assert (result.outcome, 0 < result.examples < 12) == (Outcome.PASS, True)


def test_a_custom_operator_has_its_own_name():
    spec = LayerSpec(build=lambda: layers.wrong_square, inputs=("B D", "B D"))
    assert check(spec, examples=1, only="shapes").layer == "wrong_square"


def test_a_build_that_raises_is_not_taken_for_the_forward():
    def build(D):
        if D > 0:
            raise RuntimeError("no licence")

    [line, *_] = str(check(LayerSpec(build=build, inputs="B D"), examples=3)).splitlines()
    assert line.endswith(
        "the layer refuses 3 of 3 examples, the first with: building it raises RuntimeError: no licence"
    )


def test_wrong_layer_that_refuses_most_is_still_wrong():
    class Wrong(RefusesMost):
        least = 5

        def backward(self, dy):
            return 2 * dy

    report = check(spec(Wrong), examples=12)
    assert outcomes(report)["input_gradient"] is Outcome.FAIL


def test_build_that_refuses_refuses_the_example():
    def build(D):
        if D % 2:
            raise ValueError("an even width")
        return layers.Identity()

    report = check(spec(build), examples=12)
    assert any("ValueError: an even width" in note for note in report.notes)


class AttributesRefuse(layers.AttributeLinear):
    def forward(self, x):
        return super().forward(_two(x))


class ModuleRefuses(layers.CubicModule):
    def forward(self, x):
        return super().forward(_two(x))


def _two(x):
    if len(x) < 2:
        raise ValueError("a batch of two")
    return x


def _pair_refuses(x):
    return _two(x) * 1.0, None


def _closure_refuses(x):
    return _two(x) * 1.0, lambda d: d * 1.0


def _function_refuses(x):
    return layers.Cubic.apply(_two(x), x)


REFUSING = {
    "attributes": spec(lambda: AttributesRefuse(3, 2), "B 3"),
    "module": spec(lambda: ModuleRefuses(3), "B 3"),
    "pair": spec((_pair_refuses, lambda d, c: d * 1.0)),
    "closure": spec(lambda: _closure_refuses),
    "callable": spec(lambda: _function_refuses),
}


@pytest.mark.parametrize("refusing", REFUSING.values(), ids=REFUSING)
def test_example_is_refused_in_every_convention(refusing):
    report = check(refusing, examples=12, only=("input_gradient",))
    assert report.ok
    assert any("ValueError: a batch of two" in note for note in report.notes)


def test_backward_that_raises_fails_where_gradients_are_attributes():
    class Raises(layers.AttributeLinear):
        def backward(self, dy):
            raise RuntimeError("division by B - 1")

    report = check(spec(lambda: Raises(3, 2), "B 3"), examples=4)
    assert outcomes(report)["input_gradient"] is Outcome.FAIL


def test_reference_that_accepts_a_refused_example_is_a_failure():
    report = check(spec(Refuses, reference=lambda x: x * 1.0), examples=12)
    assert outcomes(report)["reference"] is Outcome.FAIL


def test_reference_that_refuses_it_too_is_none():
    def reference(x):
        if len(x) < 2:
            raise ValueError("a batch of two")
        return x * 1.0

    assert check(spec(Refuses, reference=reference), examples=12).ok


REFERENCES = {
    "attributes": lambda x, W, b: x @ W + b,
    "module": lambda x, weight, shift: weight * x**3 + shift,
    "pair": lambda x: x * 1.0,
    "closure": lambda x: x * 1.0,
    "callable": lambda x: x**4,
}


@pytest.mark.parametrize("name", REFUSING)
def test_so_it_is_where_the_layer_refuses_before_its_parameters_are_found(name):
    report = check(replace(REFUSING[name], reference=REFERENCES[name]), examples=12, only=("reference",))
    assert outcomes(report)["reference"] is Outcome.FAIL
    assert "refuses an example that the reference accepts (B=1 " in report.failures[0].reason


@pytest.mark.parametrize("name", REFUSING)
def test_its_right_twin_has_a_reference_that_refuses_too(name):
    reference = functools.wraps(REFERENCES[name])(lambda x, *more, **named: REFERENCES[name](_two(x), *more, **named))
    assert check(replace(REFUSING[name], reference=reference), examples=12, only=("reference",)).ok


def test_a_reference_that_asks_for_what_the_layer_has_not_built_yet_says_nothing():
    class Lazy(layers.AttributeLinear):
        def __init__(self):
            self.W = None

        def forward(self, x):
            if self.W is None:
                super().__init__(3, 2)
            return super().forward(_two(x))

    assert check(spec(Lazy, "B 3", reference=REFERENCES["attributes"]), examples=12, only=("reference",)).ok


class Centred:
    """x − the mean over the batch while training, x − the running mean afterwards; `wrong` is a factor for an evaluated batch of one."""

    def __init__(self, wrong: float = 1.0):
        self.training, self.wrong, self.running_mean = True, wrong, torch.full((3,), 0.1, dtype=torch.float64)
        self.scale, self.dscale = torch.ones(3, dtype=torch.float64), None

    def forward(self, x):
        if self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * _two(x).mean(0)
        self.c = x - (x.mean(0) if self.training else self.running_mean)
        return self.scale * self.c

    def backward(self, d):
        self.dscale = (d * self.c).sum(0)
        d = self.scale * d
        return d - d.mean(0) if self.training else self.wrong * d if len(d) == 1 else d


def test_an_example_that_one_mode_refuses_is_looked_at_in_the_other():
    report = check(spec(Centred, "B 3"), examples=12)
    assert report.ok
    seen = {r.mode: r.examples for r in report.results if r.check == "parameter_gradient"}
    assert seen["train"] <= seen["eval"] == 12


def test_a_fault_that_only_the_other_mode_shows_is_found():
    failed = {(r.check, r.mode) for r in check(spec(lambda: Centred(2.0), "B 3"), examples=12).failures}
    assert ("input_gradient", "eval") in failed
    assert ("input_gradient", "train") not in failed


# Failures


class BackwardRefuses(Plain):
    def backward(self, dy):
        if len(dy) == 1:
            raise RuntimeError("division by B - 1")
        return dy * 1.0


def test_backward_that_raises_after_a_good_forward_fails():
    report = check(spec(BackwardRefuses), examples=12)
    assert outcomes(report)["input_gradient"] is Outcome.FAIL
    reason = report.failures[0].reason
    assert "the forward went through and backward raised RuntimeError: division by B - 1" in reason
    assert "of 12 examples)" in reason


def test_backward_that_raises_is_told_with_its_line_and_the_example_and_in_one_row():
    report = check(spec(BackwardRefuses), examples=12)
    _, line = inspect.getsourcelines(BackwardRefuses)
    assert f", at line {line + 3} of test_core_check.py, at B=1 " in report.failures[0].reason
    alike = sum(r.reason == report.failures[0].reason for r in report.failures)
    rows = [row.split() for row in str(report).splitlines() if " FAIL " in row]
    assert alike > 20
    assert [row[0] for row in rows if row[1] == "checks"] == [str(alike)]


class WrongAtOne(layers.Identity):
    def backward(self, dy):
        return dy * (2.0 if len(dy) == 1 else 1.0)


def test_single_failing_size_is_a_failure():
    report = check(spec(WrongAtOne), examples=12)
    assert {r.check for r in report.failures} == {"input_gradient", "autograd", "single_example"}
    assert "B=1" in report.failures[0].finding.example


def test_smallest_failing_example_is_shown():
    class Wrong(layers.Identity):
        def backward(self, dy):
            return dy * 2

    finding = check(spec(Wrong), examples=12, only=("input_gradient",)).failures[0].finding
    assert finding.total <= 2


def test_addresses_are_left_out():
    class Awkward(Plain):
        def backward(self, dy):
            raise RuntimeError(f"in {object()!r}")

    report = check(spec(Awkward), examples=2)
    assert "0x…" in report.failures[0].reason


def test_every_mode_is_looked_at():
    class WrongInEval(layers.RunningMean):
        def backward(self, dy):
            return super().backward(dy) if self.training else 2 * dy

    report = check(spec(WrongInEval), examples=6, only=("gradient",))
    assert {r.mode for r in report.failures} == {"eval"}
    assert {r.mode for r in report.results} == {"train", "eval"}


def test_modes_by_keyword_of_forward():
    class Switched:
        def forward(self, x, is_train):
            self.factor = 2.0 if is_train else 1.0
            return self.factor * x

        def backward(self, dy):
            return 2 * dy

    modes = {"train": {"is_train": True}, "eval": {"is_train": False}}
    report = check(spec(Switched, modes=modes), examples=4, only=("input_gradient",))
    assert {r.mode: r.outcome for r in report.results} == {"train": Outcome.PASS, "eval": Outcome.FAIL}


def test_error_of_a_check_is_the_harnesss_own(monkeypatch):
    from harness import engine
    from harness.checks import Check

    def broken(session):
        raise ZeroDivisionError("oops")

    found = engine.observe(Check("broken", "gradient", "", broken), session=None)  # type: ignore[arg-type]
    assert found.outcome is Outcome.ERROR
    assert "in broken (broken, line" in found.reason
    assert "ZeroDivisionError: oops" in found.reason


# Known gaps


def test_gap_that_fails_does_not_apply():
    report = check(
        spec(WrongAtOne, gaps=dict.fromkeys(("input_gradient", "autograd", "single_example"), "B = 1")), examples=8
    )
    assert report.ok
    gap = next(r for r in report.results if r.check == "input_gradient")
    assert gap.outcome is Outcome.SKIP
    assert gap.reason.startswith("known gap: B = 1 (x: ")
    assert gap.finding is None


def test_gap_that_passes_is_a_failure():
    report = check(spec(layers.Identity, gaps={"input_gradient": "B = 1"}), examples=4)
    assert outcomes(report)["input_gradient"] is Outcome.FAIL
    assert report.failures[0].reason == "listed as a known gap (B = 1) and no longer one: take it out of gaps"


def test_gap_that_does_not_apply_stays_skipped():
    report = check(spec(layers.Identity, gaps={"mask": "no draws"}), examples=2)
    assert outcomes(report)["mask"] is Outcome.SKIP
    assert report.ok


def test_gaps_may_be_left_in():
    report = check(spec(WrongAtOne, gaps={"input_gradient": "B = 1"}), examples=8, gaps=False)
    assert "input_gradient" in {r.check for r in report.failures}


# Which checks


def test_check_by_name():
    assert list(outcomes(check(spec(layers.Identity), examples=2, only=("shapes",)))) == ["shapes"]


def test_checks_by_group():
    report = check(spec(layers.Identity), examples=2, only=("gradient",))
    assert set(outcomes(report)) == {n for n, c in CHECKS.items() if c.group == "gradient"}


def test_groups_and_names_left_out():
    report = check(spec(layers.Identity), examples=2, skip=("gradient", "shapes"))
    assert set(outcomes(report)) == {n for n, c in CHECKS.items() if c.group != "gradient" and n != "shapes"}


def test_name_of_one_group_less_one_of_its_checks():
    report = check(spec(layers.Identity), examples=2, only=("gradient",), skip=("autograd", "reference"))
    assert set(outcomes(report)) == {"input_gradient", "parameter_gradient"}


@pytest.mark.parametrize("words", [{"only": ("gradeint",)}, {"skip": ("gradeint",)}])
def test_unknown_check_is_an_error_that_lists_them(words):
    with pytest.raises(SpecError) as raised:
        check(spec(layers.Identity), examples=1, **words)
    assert str(raised.value).startswith(
        "there is no check or group 'gradeint': did you mean 'gradient'? there are gradient, input_gradient,"
    )
    assert all(name in str(raised.value) for name in CHECKS)


def test_nothing_left_to_check_is_an_error():
    with pytest.raises(SpecError, match=r"only=\['shapes'\] and skip=\['contract'\] leave no check"):
        check(spec(layers.Identity), examples=1, only=("shapes",), skip=("contract",))


def test_single_name_as_a_string():
    assert list(outcomes(check(spec(layers.Identity), examples=2, only="shapes"))) == ["shapes"]


# The seed, the name, the settings


def _layer_norm(D):
    return layers.LayerNorm(D)


@pytest.mark.parametrize("build", [layers.LayerNorm, layers.LayerNormWithoutGamma, layers.Noise])
def test_same_seed_gives_the_same_bytes_and_another_does_not(build):
    texts = [check(spec(build), examples=6, seed=s, only=("gradient", "mask")).to_json() for s in (3, 3, 4)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_global_seed_changes_nothing():
    texts = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            texts.append(check(spec(layers.Noise), examples=4, only=("gradient",)).to_json())
    assert texts[0] == texts[1]


def test_settings_are_in_the_report():
    report = check(spec(layers.Identity), examples=2, seed=5, only=("shapes",))
    assert dict(report.settings) == {"seed": 5, "device": "cpu", "examples": 2}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: spec(layers.LayerNorm), "LayerNorm"),
        (lambda: spec(layers.LayerNorm, name="norm"), "norm"),
        (lambda: spec(_layer_norm), "LayerNorm"),
        (lambda: spec((layers.affine_forward, layers.affine_backward), ("B D", "D E", "E")), "affine"),
        (lambda: spec(layers.Cubic, ("B D", "B D")), "Cubic"),
    ],
)
def test_report_has_the_layers_name(made, name):
    report = check(made(), examples=2, only=("input_gradient",))
    assert report.layer == name
    assert report.ok


def test_example_that_asks_for_a_dtype_is_judged_in_it():
    report = check(spec(layers.Identity, dtypes=("float32",)), examples=4, only=("gradient",))
    assert report.ok


def test_domain_that_is_declared_is_kept():
    from harness import floats

    def make():
        return layers.Elementwise(torch.log, lambda x: 1 / x)

    assert check(spec(make, floats("B", low=0, low_open=True)), examples=12, only=("input_gradient",)).ok
    report = check(spec(make, "B"), examples=12, only=("input_gradient",))
    assert report.results[0].outcome is Outcome.ERROR
    assert "the outputs are not finite" in report.results[0].reason


@pytest.mark.parametrize("seed", ["x", 1.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    for call in (
        lambda: check(LayerSpec(layers.Identity, "B D"), seed=seed),
        lambda: gradcheck(layers.Identity(), torch.ones(2, 2), seed=seed),
    ):
        with pytest.raises(SpecError, match=f"seed={seed!r}: write a whole number, such as seed=0"):
            call()
