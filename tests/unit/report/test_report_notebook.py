"""The notebook by itself: executed in an empty directory, with nothing of this project importable."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import report

ROOT = Path(report.__file__).parents[1]
ALLOWED = {"torch", "numpy", "matplotlib"} | set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """As the command line writes it."""
    out = tmp_path_factory.mktemp("notebook")
    command = [sys.executable, "-m", "report", "notebook", "--out", str(out), "--name", "Surname", "--seeds", "3"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--epochs", "5"], check=True, cwd=out, env=environment, capture_output=True, timeout=300)
    assert os.listdir(out) == ["Surname.ipynb"]
    return json.loads((out / "Surname.ipynb").read_text())


def code(notebook):
    return [c for c in notebook["cells"] if c["cell_type"] == "code"]


def test_every_cell_was_executed_and_none_raised(written):
    assert [c["execution_count"] for c in code(written)] == list(range(1, len(code(written)) + 1))
    kinds = {output["output_type"] for c in code(written) for output in c["outputs"]}
    assert kinds == {"stream", "display_data"}
    streams = {o["name"] for c in code(written) for o in c["outputs"] if o["output_type"] == "stream"}
    assert streams == {"stdout"}


def test_nothing_of_this_project_is_imported(written):
    for cell in code(written):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= ALLOWED


def test_it_runs_again_in_an_empty_directory_with_nothing_else_importable(written, tmp_path):
    """As a script of its cells, in isolated mode, where modules other than those named are refused."""
    guard = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("layers", "report", "harness", "tests", "benchmarks", "scipy_is_not_needed"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
"""
    cells = "\n\n".join("".join(c["source"]) for c in code(written))
    (tmp_path / "cells.py").write_text(guard + cells)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MPLBACKEND": "Agg"}
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", str(tmp_path / "cells.py")],
        cwd=empty, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert os.listdir(empty) == []


def test_each_question_has_its_answer(written):
    text = ["".join(c["source"]) for c in written["cells"] if c["cell_type"] == "markdown"]
    assert [re.search(r"Q\d", t)[0] for t in text if t.startswith("## Q")] == ["Q5", "Q6", "Q7"]
    said = "".join("".join(o["text"]) for c in code(written) for o in c["outputs"] if o["output_type"] == "stream")
    assert said.count("Answer: the validation accuracy of") == 4
    assert "InstanceNorm + Dropout: train 0." in said
    assert len(re.findall(r"^(?:Linear|InstanceNorm|BatchNorm|Tanh) +\d\.\de-\d\d$", said, re.M)) == 4


def test_the_layers_are_those_of_this_project(written):
    source = "\n".join("".join(c["source"]) for c in code(written))
    for path in sorted((ROOT / "layers").glob("[a-z]*.py")):
        body = [line for line in path.read_text().splitlines() if line.startswith("    ") and line.strip()]
        assert all(line in source for line in body)
