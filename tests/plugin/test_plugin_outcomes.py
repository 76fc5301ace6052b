"""What each outcome does to its item."""

import pytest

from harness.outcome import GradientError, NotVerified

TEXT = """
@parametrize(LayerSpec(build={layer}, inputs="B D"{more}), only=["{check}"], examples=3)
def test_layers(case): case()
"""


def text(layer, check="parameter_gradient", more=""):
    return TEXT.format(layer=layer, check=check, more=more)


def test_pass_passes(suite):
    suite(text("Scale")).assert_outcomes(passed=1)


def test_fail_fails_with_the_finding(suite):
    result = suite(text("Twice"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*GradientError: FAIL: w: * entries are out*",
            "E*parameter_gradient",
            "E*w[[]*[]]: backward gives *, expected *",
            "E*→ *2*",
            "test_layers.py:*: GradientError",
        ]
    )
    result.stdout.no_fnmatch_line("*harness/items.py*")  # the harness's own frames are hidden


def test_a_call_in_a_test_of_ones_own_shows_no_frame_of_the_harness(suite):
    result = suite("import torch\n\ndef test_mine(): gradcheck(Twice(3), torch.ones(4, 3))\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*GradientError: Twice: WRONG*", "test_layers.py:*: GradientError"])
    result.stdout.no_fnmatch_line("*harness/*.py*")


def test_error_fails_with_its_reason(suite):
    result = suite(text("Refusing"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*GradientError: ERROR: the layer refuses 3 of 3 *no batch is good enough*"])


def test_inconclusive_fails_as_not_verified(suite):
    result = suite(text("Hidden"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*NotVerified: not verified: *`w` changes the output and has no gradient*"])


@pytest.mark.parametrize(
    ("ini", "outcomes"),
    [("fail", {"failed": 1}), ("skip", {"skipped": 1})],
)
def test_the_ini_file_says_what_inconclusive_does(suite, pytester, ini, outcomes):
    pytester.makeini(f"[pytest]\ngradcheck_inconclusive = {ini}\n")
    result = suite(text("Hidden"), "-rs")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["*not verified: *`w` changes the output*"])


def test_skipping_what_is_inconclusive_hides_no_failure(suite, pytester):
    pytester.makeini("[pytest]\ngradcheck_inconclusive = skip\n")
    suite(text("Twice")).assert_outcomes(failed=1)
    suite(text("Refusing")).assert_outcomes(failed=1)


def test_another_word_for_inconclusive_is_a_usage_error(suite, pytester):
    pytester.makeini("[pytest]\ngradcheck_inconclusive = ignore\n")
    result = suite(text("Scale"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gradcheck_inconclusive = 'ignore' in the ini file: write fail or skip"])


def test_skip_skips_and_says_why(suite):
    result = suite(text("Scale", check="state"), "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*test_layers.py:*: the layer has no buffers"])


GAP = ', gaps={"parameter_gradient": "the factor is known to be 2"}'


@pytest.mark.parametrize(
    ("layer", "outcomes"),
    [("Twice", {"xfailed": 1}), ("Hidden", {"xfailed": 1}), ("Scale", {"failed": 1})],
)
def test_a_gap_may_fail_and_must(suite, layer, outcomes):
    suite(text(layer, more=GAP)).assert_outcomes(**outcomes)


def test_a_gap_that_passes_says_so(suite):
    result = suite(text("Scale", more=GAP))
    result.stdout.fnmatch_lines(["*XPASS(strict)*known gap: the factor is known to be 2*"])


def test_a_gap_leaves_other_checks_alone(suite):
    suite(
        text("Twice", more=GAP).replace('"parameter_gradient"]', '"parameter_gradient", "autograd"]')
    ).assert_outcomes(xfailed=1, failed=1)


def test_the_exceptions_can_be_caught(items):
    def raised(layer):
        (item,) = items(text(layer))
        with pytest.raises(GradientError) as caught:
            item.callspec.params["case"]()
        assert caught.value.report.layer == layer
        return type(caught.value)

    assert raised("Twice") is GradientError
    assert raised("Hidden") is NotVerified


def test_a_test_that_never_calls_its_case_fails(suite):
    result = suite(text("Scale").replace("case()", "pass"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has not called its case, so that nothing was checked: write case()"])


def test_one_that_reads_its_result_has_asked_for_it(suite):
    suite(text("Scale").replace("case()", "assert case.result.outcome.value == 'PASS'")).assert_outcomes(passed=1)


def test_a_method_of_a_testcase_is_told(suite):
    method = text("Scale").strip().replace("(case)", "(self, case)").replace("\n", "\n    ")
    result = suite(f"import unittest\nclass TestLayers(unittest.TestCase):\n    {method}\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pytest parametrizes no method of a unittest.TestCase; write a function*"])
