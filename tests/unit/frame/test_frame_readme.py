"""The README's examples run as written, and its failing output is what a user sees."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import GradientError

README = Path(__file__).parents[3] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_examples_run_as_written():
    scope: dict[str, Any] = {}
    with pytest.raises(GradientError) as first:
        exec(BLOCKS[0], scope)
    shown = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    assert f"{GradientError.__module__}.GradientError: {first.value}".startswith(shown.group(1).rstrip())
    for block in BLOCKS[1:]:
        exec(block, scope)
    assert scope["test_gradcheck"]


def test_the_missing_term_makes_it_right():
    wrong = "return self.invstd * (d - "
    assert wrong in BLOCKS[0]
    exec(BLOCKS[0].replace(wrong, wrong + "d.mean(-1, keepdim=True) - "), {})


@pytest.mark.parametrize(
    ("first", "result"), [("| model ", "report/results/report.md"), ("| Linear  ", "benchmarks/results/layers.md")]
)
def test_tables_are_those_of_the_result_files(first, result):
    stored = (README.parent / result).read_text(encoding="utf-8")
    begin = TEXT.index(f"\n{first}")
    table = TEXT[begin : TEXT.index("\n\n", begin)].strip()
    assert table.count("\n") >= 5
    assert table in stored


def test_no_tracked_file_names_this_machine():
    root = README.parent
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    here = str(root.parent) + "/"
    assert [
        name for name in listed if name.endswith((".py", ".md", ".ini", ".toml")) and here in (root / name).read_text()
    ] == []
