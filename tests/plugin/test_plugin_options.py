"""Command line over ini over decorator over default."""

import pytest

import harness.items
from harness import Outcome
from harness.report import Report, Result

TEXT = """
@parametrize(LayerSpec(build=Scale, inputs="B D"), only=["shapes"]{examples})
def test_layers(case): case()
"""


@pytest.fixture
def asked(monkeypatch):
    """The settings that `check` was called with; it answers at once."""
    found = {}

    def check(spec, **settings):
        found.update(settings)
        return Report(spec.name, (Result(spec.name, "shapes", None, Outcome.PASS, {"x": 0.0}),))

    monkeypatch.setattr(harness.items, "check", check)
    return found


@pytest.mark.parametrize(
    ("name", "decorator", "ini", "command_line", "expected"),
    [
        ("examples", None, None, None, 25),
        ("examples", 3, None, None, 3),
        ("examples", 3, 4, None, 4),
        ("examples", 3, None, 5, 5),
        ("examples", 3, 4, 5, 5),
        ("examples", None, 4, None, 4),
        ("seed", None, None, None, 0),
        ("seed", None, 7, None, 7),
        ("seed", None, 7, 8, 8),
        ("seed", None, 7, 0, 0),
        ("device", None, None, None, "cpu"),
        ("device", None, "meta", None, "meta"),
        ("device", None, "meta", "cpu:0", "cpu:0"),
    ],
)
def test_the_nearest_word_counts(suite, pytester, asked, name, decorator, ini, command_line, expected):
    if ini is not None:
        pytester.makeini(f"[pytest]\ngradcheck_{name} = {ini}\n")
    arguments = [] if command_line is None else [f"--gradcheck-{name}={command_line}"]
    text = TEXT.format(examples="" if decorator is None else f", examples={decorator}")
    suite(text, *arguments).assert_outcomes(passed=1)
    assert asked[name] == expected


@pytest.mark.parametrize(
    ("ini", "command_line", "files"),
    [(None, None, []), ("ini.html", None, ["ini.html"]), ("ini.html", "line.html", ["line.html"])],
)
def test_the_page_is_written_where_asked_and_nowhere_else(suite, pytester, asked, ini, command_line, files):
    if ini is not None:
        pytester.makeini(f"[pytest]\ngradcheck_html = {ini}\n")
    before = {p.name for p in pytester.path.iterdir()} | {"test_layers.py", "__pycache__"}
    arguments = [] if command_line is None else ["--gradcheck-html", command_line]
    assert suite(TEXT.format(examples=""), *arguments).ret == 0
    assert sorted({p.name for p in pytester.path.iterdir()} - before) == files


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("examples", "many", "'many' is no whole number"),
        ("examples", "2.5", "'2.5' is no whole number"),
        ("examples", "0", "0 is less than 1"),
        ("examples", "-3", "-3 is less than 1"),
        ("seed", "lucky", "'lucky' is no whole number"),
        ("html", "nowhere/out.html", "can't write nowhere/out.html: there is no folder nowhere"),
        ("html", ".", "can't write .: it is a folder"),
    ],
)
@pytest.mark.parametrize("place", ["ini", "line"])
def test_a_value_that_can_not_be_used_is_a_usage_error(suite, pytester, asked, place, name, value, said):
    arguments = [f"--gradcheck-{name}={value}"]
    if place == "ini":
        pytester.makeini(f"[pytest]\ngradcheck_{name} = {value}\n")
        arguments = []
    result = suite(TEXT.format(examples=""), *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}"])
    result.stderr.fnmatch_lines([f"*gradcheck[_-]{name}*"])
    assert not asked


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_told_once(suite, asked, device):
    result = suite(TEXT.format(examples=""), f"--gradcheck-device={device}")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"test_layers: device '{device}' can't be used here: *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not asked


def test_help_lists_every_option(suite):
    said = suite("", "--help").stdout.str()
    options = ("examples", "seed", "device", "html")
    assert [n for n in options if f"--gradcheck-{n}=" not in said] == []
    assert [n for n in (*options, "inconclusive") if f"gradcheck_{n} " not in said] == []


def test_markers_are_registered(suite):
    said = suite("", "--markers").stdout.str()
    assert [n for n in ("gradcheck: ", "xdist_group(name): ") if f"@pytest.mark.{n}" not in said] == []
