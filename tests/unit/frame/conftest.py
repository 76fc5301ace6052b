"""The command line, in this process and in a folder of its own."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import harness
from harness.cli import main

LAYERS = Path(__file__).parents[2] / "plugin" / "sample_layers.py"
HEAD = "from harness import LayerSpec, floats, ints\nfrom sample_layers import *\n"


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def last(self):
        return self.out.splitlines()[-1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the sample layers in it; what is imported from it is forgotten afterwards."""
    shutil.copy(LAYERS, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(harness.__file__).parents[1]))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def specs(folder):
    """`specs("Scale", ...)`: a file mylayers.py with a spec of each of these sample layers."""

    def write(*layers, more=""):
        lines = [f'{name.upper()} = LayerSpec(build={name}, inputs="B D")' for name in layers]
        (folder / "mylayers.py").write_text(HEAD + "\n".join([*lines, more]), encoding="utf-8")

    return write


@pytest.fixture
def command(folder, capsys):
    """`command("check", ...)`: the command line's answer."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as leaving:
            status = leaving.code
        return Answer(status, *capsys.readouterr())

    return run


@pytest.fixture
def check(command):
    """`check(target, ...)` with two examples in each mode."""
    return lambda *arguments: command("check", *arguments, "--examples", "2")
