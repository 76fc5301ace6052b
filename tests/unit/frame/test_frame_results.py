"""The rules of `Outcome`, `Finding`, `Result` and `Report`: when a report is true, what it raises, how it reads."""

import json
import math
from dataclasses import replace
from itertools import product

import pytest

from harness import Finding, GradientError, NotVerified, Outcome, Report, Result

PASS, FAIL, INCONCLUSIVE, SKIP, ERROR = Outcome


def result(outcome, tensors=None, **more):
    tensors = {"x": 1e-9} if tensors is None and outcome is PASS else tensors or {}
    return Result("Layer", more.pop("check", "input_gradient"), more.pop("mode", "train"), outcome, tensors, **more)


def report(*results):
    return Report("Layer", tuple(r if isinstance(r, Result) else result(r) for r in results), {"seed": 0})


FINDING = Finding(
    ("W", (2, 0)), 2.5, 1.25, 1e-11, 3, 12, ("every entry is 2 times what it should be",), "print(1)", "B=2"
)


def test_a_report_is_one_line_where_an_assertion_shows_it():
    failed = result(FAIL, check="parameter_gradient", reason="W: 3 of 12 entries are out", finding=FINDING)
    assert repr(report(PASS, failed)) == (
        "<Report Layer: WRONG, 1 of 2 checks failed (parameter_gradient: W: 3 of 12 entries are out "
        "→ every entry is 2 times what it should be)>"
    )
    assert "\n" not in repr(report(PASS))


def test_the_script_that_is_named_is_one_that_is_there():
    bare = replace(FINDING, reproduce="")
    made = report(result(FAIL, check="shapes", finding=bare), result(FAIL, finding=FINDING))
    assert "a script that shows it: print(report.failures[1].finding.reproduce)" in str(made)
    assert made.failures[1].finding.reproduce == "print(1)"


# Truth


@pytest.mark.parametrize("outcome", Outcome)
def test_an_outcome_has_no_truth_value(outcome):
    with pytest.raises(TypeError, match="has no truth value: compare it"):
        bool(outcome)
    assert outcome is Outcome(outcome.value)


@pytest.mark.parametrize(
    ("results", "ok"),
    [
        ([PASS], True),
        ([PASS, SKIP], True),
        ([PASS, FAIL], False),
        ([PASS, INCONCLUSIVE], False),
        ([PASS, ERROR], False),
        ([SKIP], False),
        ([], False),
        ([result(PASS, tensors={})], False),
        ([result(PASS, tensors={}), result(PASS)], True),
    ],
)
def test_a_report_is_true_if_all_that_applies_passes_and_something_was_verified(results, ok):
    assert report(*results).ok is ok
    assert bool(report(*results)) is ok


@pytest.mark.parametrize("outcomes", list(product(Outcome, repeat=2)))
def test_a_report_raises_what_its_worst_result_says(outcomes):
    made = report(*outcomes)
    if made.ok:
        assert made.raise_for_failures() is None
        return
    with pytest.raises(GradientError) as caught:
        made.raise_for_failures()
    assert (type(caught.value) is GradientError) == bool({FAIL, ERROR} & set(outcomes))
    assert caught.value.report is made
    assert str(caught.value) == str(made)


def test_not_verified_is_caught_as_a_gradient_error_and_as_an_assertion():
    assert issubclass(NotVerified, GradientError)
    assert issubclass(GradientError, AssertionError)


def test_an_empty_report_raises_not_verified():
    with pytest.raises(NotVerified, match="no check verified a tensor"):
        report().raise_for_failures()


def test_failures_are_the_fails_alone():
    made = report(PASS, FAIL, INCONCLUSIVE, ERROR, SKIP, FAIL)
    assert [r.outcome for r in made.failures] == [FAIL, FAIL]
    assert made.counts() == {"PASS": 1, "FAIL": 2, "INCONCLUSIVE": 1, "SKIP": 1, "ERROR": 1}


# Text


def test_a_finding_reads_as_sentences():
    assert str(FINDING).splitlines() == [
        "W[2, 0]: backward gives 2.5, expected 1.25 ± 1.0e-11",
        "3 of 12 entries are out",
        "→ every entry is 2 times what it should be",
        "at B=2",
    ]


def test_a_finding_on_a_whole_tensor_has_no_index():
    assert str(Finding(("W", None), "no gradient", "shape (3,)", "exact", 1, 1)) == (
        "W: no gradient, expected shape (3,)"
    )


def test_a_result_is_named_like_its_item():
    assert result(PASS).id == "Layer-input_gradient-train"
    assert result(PASS, mode=None).id == "Layer-input_gradient"


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        ([PASS, PASS], "Layer: verified, 2 checks passed"),
        ([PASS, SKIP], "Layer: verified, 1 check passed, 1 not applicable"),
        ([FAIL, ERROR], "Layer: WRONG, 1 of 2 checks failed"),
        ([result(ERROR, reason="why"), result(ERROR, check="shapes", reason="why")], "Layer: not judged, why"),
        ([PASS, ERROR, INCONCLUSIVE], "Layer: not judged, 1 check ended in an error of the harness or the spec"),
        ([PASS, INCONCLUSIVE], "Layer: NOT VERIFIED, nothing failed, 1 check inconclusive"),
        ([SKIP], "Layer: NOT VERIFIED, no check verified a tensor"),
    ],
)
def test_the_first_line_is_the_verdict(results, verdict):
    assert str(report(*results)).splitlines()[0] == verdict


@pytest.mark.parametrize("outcome", [FAIL, ERROR])
def test_what_every_check_says_stands_in_one_row(outcome):
    why = "the layer refuses 5 of 5 examples, the first with: " + "ValueError: a long story " * 8
    checks = ("shapes", "dtypes", "repeatable")
    alike = report(*(result(outcome, check=c, reason=why) for c in checks))
    lines = str(alike).splitlines()
    assert [line.split()[:3] for line in lines[1:2]] == [["all", "3", "checks"]]
    assert sum("the layer refuses" in line for line in lines[1:]) == 2  # the row, and once in full
    assert why.strip() in str(alike)
    other = report(*(result(outcome, check=c, reason=f"{c}: {why}") for c in checks))
    assert [line.split()[0] for line in str(other).splitlines()[1:4]] == [*checks]


def test_a_report_shows_every_result_and_the_finding():
    lines = str(report(PASS, result(FAIL, finding=FINDING, reason="3 of 12 entries are out"), SKIP)).splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["input_gradient", "train", outcome] for outcome in ("PASS", "FAIL", "SKIP")
    ]
    assert any("W[2, 0]: backward gives 2.5" in line for line in lines)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("count", [1, 18, 19, 200])
def test_a_report_fits_in_one_screen(outcome, count):
    long = "an explanation that goes on\nover several lines " * 30
    finding = Finding(("W", (0,)), 1.0, 2.0, 0.1, 1, 2, (long,) * 30, "import torch\n" * 500, long)
    found = [result(outcome, reason=long, finding=finding, check=f"check_{k}") for k in range(count)]
    made = Report("Layer", tuple(found), {}, notes=(long,) * 50)
    lines = str(made).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 250
    shown = sum("check_" in line and f" {outcome.value} " in f"{line} " for line in lines)
    assert shown == min(count, 18)
    assert ("more results" in str(made)) == (count > 18)


def test_a_report_that_does_not_fit_shows_what_did_not_pass():
    text = str(report(*[result(PASS, check="other")] * 30, result(INCONCLUSIVE, check="the_one")))
    assert "the_one" in text
    assert "30 more results; in all 30 PASS, 0 FAIL, 1 INCONCLUSIVE, 0 SKIP, 0 ERROR" in text


def test_a_report_that_does_not_fit_names_the_gradients_that_are_right():
    others = [result(PASS, check=f"check_{k}") for k in range(30)]
    lines = str(report(PASS, result(FAIL, check="parameter_gradient"), *others)).splitlines()
    assert lines[1].split() == ["input_gradient", "train", "PASS", "x", "1e-09"]
    assert lines[2].split()[:3] == ["parameter_gradient", "train", "FAIL"]
    assert lines[3].startswith("  … and 30 more results")


def test_what_is_verified_beside_what_is_not_is_named():
    beside = str(report(result(INCONCLUSIVE, {"W": 1e-9, "b": 0.0}, reason="s: `s` has no gradient")))
    assert "INCONCLUSIVE  s: `s` has no gradient (verified: W 1e-09, b)" in beside
    assert "verified:" not in str(report(result(INCONCLUSIVE, reason="s: `s` has no gradient")))


# Data


def test_a_report_as_data():
    made = report(PASS, result(FAIL, finding=FINDING, reason="why", examples=7))
    data = made.to_dict()
    assert data.keys() == {"schema", "layer", "ok", "settings", "counts", "results", "notes"}
    assert (data["schema"], data["layer"], data["ok"], data["settings"]) == (1, "Layer", False, {"seed": 0})
    assert data["results"][0] == {
        "layer": "Layer",
        "check": "input_gradient",
        "mode": "train",
        "outcome": "PASS",
        "tensors": {"x": 1e-9},
        "reason": "",
        "finding": None,
        "examples": 0,
    }
    wrong = data["results"][1]
    assert (wrong["outcome"], wrong["reason"], wrong["examples"]) == ("FAIL", "why", 7)
    assert wrong["finding"] == {
        "tensor": "W",
        "index": [2, 0],
        "analytic": 2.5,
        "expected": 1.25,
        "allowed": 1e-11,
        "wrong": 3,
        "total": 12,
        "diagnosis": ["every entry is 2 times what it should be"],
        "reproduce": "print(1)",
        "example": "B=2",
    }


def test_a_report_as_json_is_its_data():
    made = report(result(PASS, tensors={"δ": 0.1}))
    assert json.loads(made.to_json()) == made.to_dict()
    assert made.to_json() == report(result(PASS, tensors={"δ": 0.1})).to_json()
    assert "δ" in made.to_json()


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_json_has_no_number_for_is_a_string(number):
    finding = Finding(("W", (0,)), number, 1.0, number, 1, 1)
    made = report(result(PASS, tensors={"x": number}), result(FAIL, finding=finding))
    data = json.loads(made.to_json(), parse_constant=pytest.fail)
    assert data["results"][0]["tensors"]["x"] == str(number)
    assert (data["results"][1]["finding"]["analytic"], data["results"][1]["finding"]["expected"]) == (str(number), 1.0)


# HTML


def test_html_is_a_page_and_a_notebook_gets_a_part_of_it():
    made = report(PASS, result(FAIL, finding=FINDING))
    page, part = made.to_html(), made._repr_html_()
    assert page.startswith("<!doctype html>")
    assert page.count("<html") == 1
    assert part.startswith("<div")
    assert "<html" not in part
    for text in (page, part):
        assert "Layer: WRONG, 1 of 2 checks failed" in text
        assert "W[2, 0]: backward gives 2.5" in text
        assert "<summary>reproduce</summary><pre>print(1)</pre>" in text


@pytest.mark.parametrize("outcome", [FAIL, INCONCLUSIVE, SKIP, ERROR])
def test_html_gives_reasons_in_full(outcome):
    why = "because " * 60 + "of this"
    assert why in report(result(outcome, reason=why)).to_html()


def test_every_text_in_html_is_escaped():
    odd = "<i>&'\""
    finding = Finding((odd, (0,)), odd, odd, odd, 1, 1, (odd,), odd, odd)
    found = tuple(Result(odd, odd, odd, outcome, {odd: 1e-9}, odd, finding) for outcome in Outcome)
    made = Report(odd, found, {odd: odd}, (odd,))
    for text in (made.to_html(), made._repr_html_()):
        assert "<i>" not in text
        assert "&lt;i&gt;&amp;&#x27;&quot;" in text


@pytest.mark.parametrize(("name", "said"), [("outputs", "backward gives"), ("output0", "forward gives")])
def test_an_input_that_is_called_outputs_is_none(name, said):
    assert f"{name}[0]: {said} 1, expected 2" in str(Finding((name, (0,)), 1.0, 2.0, 1e-9, 1, 1))
