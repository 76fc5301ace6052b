"""Each module imports only from those that the package's table of contents names before it."""

import ast
import re
from pathlib import Path

import pytest

import report

HOME = Path(report.__file__).parent
CONTENTS = [n for names in re.findall(r"^    ((?:[a-z]+(?:, )?)+)  ", report.__doc__, re.M) for n in names.split(", ")]


def test_the_contents_name_every_module_once():
    modules = {path.stem for path in HOME.glob("*.py")} - {"__init__", "__main__"}
    assert sorted(CONTENTS) == sorted(modules)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_module_imports_only_from_those_before_it(name):
    tree = ast.parse((HOME / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    of_report = [node for node in imports if node.module.split(".")[0] == "report"]
    used = {a.name if n.module == "report" else n.module.split(".")[1] for n in of_report for a in n.names}
    assert used <= set(CONTENTS[: CONTENTS.index(name)])


@pytest.mark.parametrize("name", [n for n in CONTENTS if n not in ("prose", "document")])
def test_nothing_of_torch_trains_or_differentiates(name):
    assert not re.search(r"torch\.nn|torch\.optim|autograd|requires_grad", (HOME / f"{name}.py").read_text("utf-8"))
