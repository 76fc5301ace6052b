"""Which items there are, what they are called, and that `gradcheck` selects them and nothing else."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from harness.checks import all_checks

CHECKS = [c.name for c in all_checks()]
ROOT = Path(__file__).parents[2]

ONE = """
@parametrize(LayerSpec(build=Scale, inputs="B D"), examples=2)
def test_one(case): case()
"""

MIXED = """
SPECS = [LayerSpec(build=Scale, inputs="B D"), LayerSpec(build=Switched, inputs="B D")]

@parametrize(SPECS, only=["shapes", "dtypes"], examples=2)
def test_layers(case): case()

class TestGrouped:
    @parametrize(SPECS[:1], only=["shapes"], examples=2)
    def test_inner(self, case): case()

@pytest.mark.parametrize("case", ["gradient", "check"])
def test_other(case): pass

def test_check_of_gradient(): pass
"""

GENERATED = [
    "test_layers[Scale-shapes]",
    "test_layers[Scale-dtypes]",
    "test_layers[Switched-shapes-train]",
    "test_layers[Switched-dtypes-train]",
    "test_layers[Switched-shapes-eval]",
    "test_layers[Switched-dtypes-eval]",
    "test_inner[Scale-shapes]",
]
OTHERS = ["test_other[gradient]", "test_other[check]", "test_check_of_gradient"]


def names(found):
    return [item.name for item in found]


def test_an_item_for_every_check_of_a_layer_without_modes(items):
    assert names(items(ONE)) == [f"test_one[Scale-{check}]" for check in CHECKS]


def test_an_item_for_every_check_in_every_mode(items):
    found = names(items(ONE.replace("Scale", "Switched")))
    assert found == [f"test_one[Switched-{check}-{mode}]" for mode in ("train", "eval") for check in CHECKS]
    assert "test_one[Switched-parameter_gradient-train]" in found


def test_modes_of_the_spec_are_the_modes_of_the_items(items):
    spec = 'build=Switched, inputs="B D", modes=("eval",)'
    assert names(items(ONE.replace('build=Scale, inputs="B D"', spec))) == [
        f"test_one[Switched-{c}-eval]" for c in CHECKS
    ]


def test_a_name_of_the_spec_is_the_name_of_the_items(items):
    found = names(items(ONE.replace('inputs="B D"', 'inputs="B D", name="Mine"')))
    assert found == [f"test_one[Mine-{check}]" for check in CHECKS]


@pytest.mark.parametrize("option", ["-k", "-m"])
def test_selection_takes_the_generated_items_and_nothing_else(items, option):
    assert names(items(MIXED)) == [*GENERATED, *OTHERS]
    assert names(items(MIXED, option, "gradcheck")) == GENERATED
    assert names(items(MIXED, option, "not gradcheck")) == OTHERS


COLLECT = """
import pytest

class Tell:
    def pytest_collection_finish(self, session):
        self.tell("selected", session.items)
    def pytest_deselected(self, items):
        self.tell("left", items)
    def tell(self, how, items):
        for item in items:
            print(how, "marked" if item.get_closest_marker("gradcheck") else "plain", item.nodeid)

pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "-k", "gradcheck"], plugins=[Tell()])
"""


def test_selection_in_this_project_takes_the_items_of_one_file_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=False)
    told = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith(("selected ", "left "))]
    selected = [node for how, _, node in told if how == "selected"]
    assert len(selected) >= 8 * len(CHECKS)
    assert [node for _, mark, node in told if mark == "marked"] == selected
    assert [node for _, _, node in told if node.startswith("tests/test_gradcheck.py")] == selected
    assert len(told) > len(selected)


def test_only_and_skip_choose_checks_and_groups(items):
    def chosen(words):
        return [name[len("test_one[Scale-") : -1] for name in names(items(ONE.replace("examples=2", words)))]

    assert chosen("only=['gradient'], skip=['reference']") == ["input_gradient", "parameter_gradient", "autograd"]
    assert chosen("only=['shapes', 'state']") == ["shapes", "state"]
    assert chosen("only='shapes'") == ["shapes"]
    assert chosen("only='gradient', skip='reference'") == ["input_gradient", "parameter_gradient", "autograd"]
    assert chosen("skip=['gradient']") == CHECKS[CHECKS.index("reference") + 1 :]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("only=['shape']", "there is no check or group 'shape'"),
        ("skip=['gradients']", "there is no check or group 'gradients'"),
        ("only=['shapes'], skip=['contract']", "leave no check"),
        ("examples=0", "examples=0: at least one is needed"),
    ],
)
def test_words_that_name_nothing_are_told(suite, words, said):
    result = suite(ONE.replace("examples=2", words))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"E*SpecError: *{said}*".replace("[", "[[]")])


@pytest.mark.parametrize(
    ("decorator", "said"),
    [
        ("@parametrize(Scale)", "parametrize takes LayerSpecs, not Scale"),
        ("@parametrize([3])", "parametrize takes LayerSpecs, not int"),
        ("@parametrize", "parametrize takes LayerSpecs, not test_one: write @parametrize(LayerSpec("),
        ("@parametrize([])", "parametrize was given no spec"),
        ("@parametrize(SPEC)\n@parametrize(SPEC)", "test_one is parametrized twice"),
    ],
)
def test_what_would_check_nothing_is_told(suite, decorator, said):
    text = f'SPEC = LayerSpec(build=Scale, inputs="B D")\n{decorator}\ndef test_one(case): case()\n'
    result = suite(text)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"E*SpecError: {said}*"])


def test_specs_may_come_one_by_one_and_from_a_generator(items):
    text = """
        @parametrize((LayerSpec(build=c, inputs="B D") for c in (Scale, Twice)), LayerSpec(build=Hidden, inputs="B D"),
                     only=["shapes"])
        def test_one(case): case()
    """
    assert names(items(dedent(text))) == [f"test_one[{n}-shapes]" for n in ("Scale", "Twice", "Hidden")]


def test_a_build_that_raises_is_one_failing_item_and_the_rest_runs(suite):
    text = """
SPECS = [LayerSpec(build=Unbuildable, inputs="B D"), LayerSpec(build=Scale, inputs="B D")]
@parametrize(SPECS, only=["shapes"], examples=2)
def test_layers(case): case()
def test_beside(): pass
"""
    result = suite(text, "-v")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_layers[[]Unbuildable-build[]] FAILED*",
            "*test_layers[[]Scale-shapes[]] PASSED*",
            "*test_beside PASSED*",
            "E*the spec Unbuildable builds no layer: RuntimeError: no such <width>",
        ]
    )


def test_the_item_of_a_build_that_raises_is_selected_too(items):
    assert names(items(ONE.replace("Scale", "Unbuildable"), "-k", "gradcheck")) == ["test_one[Unbuildable-build]"]


def test_two_specs_of_one_name_are_an_error_that_names_both(suite):
    text = """
@parametrize(LayerSpec(build=Scale, inputs="B D"), LayerSpec(build=Scale, inputs="B C D"), only=["shapes"])
def test_layers(case): case()
"""
    result = suite(text)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*test_layers: two specs have the name 'Scale': *'B D'* and *'B C D'*name=*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert suite(text.replace('"B C D"', '"B D", name="Other"')).ret == 0
