"""Every snippet of the cookbook runs as it stands, in a namespace of its own, and verifies something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import harness
from harness import GradientError, Report

COOKBOOK = Path(__file__).parents[3] / "docs" / "cookbook.md"
TEXT = COOKBOOK.read_text(encoding="utf-8")


class Snippet(NamedTuple):
    """A block with the heading above it."""

    title: str
    code: str


def snippets(text: str) -> list[Snippet]:
    found, title = [], ""
    for part in re.finditer(r"^#+ ([^\n]*)$|^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        title = part[1] or title
        if part[2] is not None:
            found.append(Snippet(title, part[2]))
    return found


def reports_of(code: str, monkeypatch: pytest.MonkeyPatch) -> list[Report]:
    """What the checks in a block said; a parametrised test in it is run."""
    made: list[Report] = []

    def recorded(function: Any) -> Any:
        def call(*args: Any, **words: Any) -> Report:
            try:
                made.append(function(*args, **words))
            except GradientError as error:
                made.append(error.report)
                raise
            return made[-1]

        return call

    for name in ("gradcheck", "check"):
        monkeypatch.setattr(harness, name, recorded(getattr(harness, name)))
    scope: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, "snippet", "exec"), scope)
    return made + [report for test in scope.values() if hasattr(test, "_harness") for report in run(test)]


def run(test: Any) -> Iterator[Report]:
    """Every item of `parametrize`; one that does not apply is skipped."""
    for item in test._harness.items({"examples": 5, "seed": 0, "device": "cpu"}, "fail"):
        with suppress(pytest.skip.Exception):
            test(item)
            yield item.run.report


SNIPPETS = snippets(TEXT)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[s.title.strip("`") for s in SNIPPETS])
def test_snippet_runs_and_checks_something(snippet, monkeypatch, capsys):
    assert reports_of(snippet.code, monkeypatch)


def test_a_block_without_a_check_is_seen(monkeypatch):
    assert reports_of("from harness import gradcheck\nx = 1", monkeypatch) == []


def test_a_wrong_layer_in_a_block_is_seen(monkeypatch):
    code = "import torch\nfrom harness import gradcheck\ngradcheck(lambda x: (x * x, lambda d: d * x), torch.randn(3))"
    with pytest.raises(GradientError):
        reports_of(code, monkeypatch)


def test_every_snippet_has_one_sentence_above_it():
    parts = re.split(r"^### .*$", TEXT, flags=re.MULTILINE)[1:]
    assert len(parts) == len(SNIPPETS)
    assert [p for p in parts if not re.match(r"\n\n[^\n]+[.]\n\n```python\n", p)] == []


def test_every_link_in_the_contents_leads_to_a_heading():
    titles = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles}
    assert [a for a in re.findall(r"\(#([^)]*)\)", TEXT) if a not in anchors] == []


def test_readme_leads_here():
    assert "docs/cookbook.md" in (COOKBOOK.parents[1] / "README.md").read_text(encoding="utf-8")
