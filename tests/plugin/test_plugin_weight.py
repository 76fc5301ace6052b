"""pytest's start and `import harness` load nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "hypothesis")


def loaded_after(code, *arguments):
    """Which heavy modules a fresh interpreter holds after running this code."""
    code = f"import sys\n{code}\nprint('loaded:', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("module", ["harness", "harness.plugin", "harness.cli", "harness.options", "harness.outcome"])
def test_importing_loads_nothing_heavy(written, module):
    assert loaded_after(f"import {module}") == []


@pytest.mark.parametrize("name", ["check", "parametrize", "Subject"])
def test_a_name_of_the_library_loads_it_when_it_is_used(written, name):
    assert "torch" in loaded_after(f"import harness\nharness.{name}")


def test_help_on_the_command_line_loads_nothing_heavy(written):
    code = "from harness.cli import main\ntry: main(['check', '--help'])\nexcept SystemExit: pass"
    assert loaded_after(code) == []


START = "import pytest\nassert pytest.main([*sys.argv[1:], '-q', '-p', 'no:hypothesispytest']) == 0"


def test_a_suite_without_layers_loads_nothing_heavy(written, pytester, common):
    pytester.makepyfile(test_plain="def test_plain(): pass")
    assert loaded_after(START, *common, "--gradcheck-html=out.html", "test_plain.py") == []


def test_a_suite_with_layers_loads_torch(written, common):
    written('@parametrize(LayerSpec(build=Scale, inputs="B D"), only=["shapes"], examples=1)\ndef test_l(case): case()')
    assert "torch" in loaded_after(START, *common, "test_layers.py")
