"""`harness explain CHECK`: every check has an explanation, and catches the layer in it."""

import ast
import re
import subprocess
import sys
from importlib import import_module

import pytest

from harness import Outcome, check
from harness.checks import all_checks
from harness.explain import explained, explanation

CHECKS = [c.name for c in all_checks()]


def test_every_check_is_explained_and_nothing_else():
    assert set(explained()) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_the_check_fails_on_the_layer_that_it_is_said_to_catch(name):
    spec = import_module(f"harness.explain.{name}").SPEC
    results = [r for r in check(spec, examples=12).results if r.check == name]
    assert Outcome.FAIL in {r.outcome for r in results}, [r.reason for r in results]


@pytest.mark.parametrize("name", CHECKS)
def test_it_says_what_the_check_does_a_layer_and_what_to_do(command, name):
    answer = command("explain", name)
    assert answer.status == 0
    assert answer.out == explanation(name) + "\n"
    what, layer = answer.out.split("\n\nA layer that it catches")
    layer, advice = layer.split("\n\nOn INCONCLUSIVE\n\n")
    assert what.startswith(f"{name}: ")
    assert len(what.split()) > 20
    assert len(advice.split()) > 15
    source = re.sub(r"^    ", "", layer.split("\n\n", 1)[1], flags=re.MULTILINE)
    scope = {}
    exec(compile(ast.parse(source), name, "exec"), scope)
    assert "SPEC" in scope


def test_the_command_in_the_explanation_shows_the_failure(check):
    assert "harness check harness.explain.shapes" in explanation("shapes")
    assert check("harness.explain.shapes", "--only", "shapes").status == 1


def test_without_a_check_there_is_a_line_on_each(command):
    answer = command("explain")
    assert answer.status == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == sorted(CHECKS)


def test_a_check_that_is_not_there_is_a_usage_error(command):
    answer = command("explain", "shape")
    assert (answer.status, answer.out) == (2, "")
    assert "there is no check or group 'shape': did you mean 'shapes'? there are " in answer.err


def test_of_a_group_there_is_a_line_on_each_check_in_it(command):
    answer = command("explain", "gradient")
    assert answer.status == 0
    first, _, *lines = answer.out.splitlines()
    assert first == "gradient: a group of checks (--only gradient runs these alone)"
    assert [line.split()[0] for line in lines] == [c.name for c in all_checks() if c.group == "gradient"]


def test_explaining_loads_no_torch():
    code = "import sys; from harness.cli import main; main(['explain', 'mask']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_reader_that_has_enough_is_no_error_of_the_harness():
    line = f"{sys.executable} -m harness explain mask | true"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
