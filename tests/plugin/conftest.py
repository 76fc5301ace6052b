"""Suites of their own, run by pytester with warnings as errors."""

import shutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# pytester forgets what an inner run has imported first; torch can't be imported twice
import harness.api
import harness.items
import harness.render.html
from harness.checks import all_checks
from harness.conventions import conventions

all_checks()
conventions()

LAYERS = Path(__file__).with_name("sample_layers.py")
INSTALLED = any(e.value == "harness.plugin" for e in entry_points(group="pytest11"))
COMMON = (
    *(() if INSTALLED else ("-p", "harness.plugin")),
    *("-p", "no:cacheprovider", "-p", "no:benchmark", "-W", "error", "--strict-markers"),
)


@pytest.fixture
def common():
    """The arguments of every inner run."""
    return COMMON


@pytest.fixture
def written(pytester, monkeypatch):
    """`written(text)`: a test file of that text, beside the sample layers."""
    shutil.copy(LAYERS, pytester.path)
    monkeypatch.setenv("PYTHONPATH", str(Path(harness.__file__).parents[1]))

    def write(text):
        pytester.makepyfile(test_layers=f"import pytest\nfrom harness import *\nfrom sample_layers import *\n{text}")

    return write


@pytest.fixture
def suite(pytester, written):
    """`suite(text, *arguments)`: pytest's result on a test file of that text."""

    def run(text, *arguments):
        written(text)
        return pytester.runpytest_inprocess(*COMMON, *arguments)

    return run


@pytest.fixture
def items(pytester, written):
    """`items(text, *arguments)`: the items that pytest would run of it."""

    class Keep:
        def pytest_collection_finish(self, session):
            self.items = session.items

    def collect(text, *arguments):
        written(text)
        keep = Keep()
        assert pytester.inline_run(*COMMON, "--collect-only", *arguments, plugins=[keep]).ret == 0
        return keep.items

    return collect


@pytest.fixture
def checked(monkeypatch):
    """What `check` was asked for by the items: a list of (name, modes, settings), filled as they run."""
    real, asked = harness.items.check, []

    def check(spec, **settings):
        asked.append((spec.name, tuple(spec.modes), settings))
        return real(spec, **settings)

    monkeypatch.setattr(harness.items, "check", check)
    return asked
