"""Notebooks: what of them is run, and what is made of what only IPython reads."""

import ast
import json

import pytest

from harness.targets.notebook import needed, run, statements, without_magics

SETUP = """%matplotlib inline
import torch, sys
!pip install nothing
files = !ls
sys.path.append("somewhere")
from harness import LayerSpec"""
LAYER = """%%time
class Scale:
    def __init__(self, D):
        self.w = torch.linspace(1.0, 2.0, D) * FACTOR

    def forward(self, x):
        self.x = x
        return shifted(x * self.w)

    def backward(self, v):
        self.dw = SLOPE * (v * self.x).sum(0)
        return v * self.w"""
HELPER = """def shifted(x):
    return x + settings["shift"]"""
BEFORE = """FACTOR = base * 2.0
unused = open("nowhere")"""
TRAINING = """for step in range(3):
    raise RuntimeError("the training was run")
print(history)"""


def notebook(folder, *cells, name="layers.ipynb", **metadata):
    """Markdown, then code cells; sources alternate between a string and a list of lines, as both occur."""
    made = [{"cell_type": "markdown", "metadata": {}, "source": ["# A *layer*"]}]
    for k, text in enumerate(cells):
        source = text if k % 2 else text.splitlines(keepends=True)
        made.append({"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None})
    (folder / name).write_text(json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))


def cells(slope="1.0", training=TRAINING):
    spec = 'spec = LayerSpec(build=Scale, inputs="B D")'
    first = f'base = 1.0\nsettings = {{}}\nsettings["shift"] = 1.0\nSLOPE = {slope}'
    return SETUP, "%%bash\nrm -rf everything", first, BEFORE, HELPER, LAYER, training, "Scale?", spec


def test_definitions_and_what_they_use_are_run_and_no_more(check, folder):
    notebook(folder, *cells())
    answer = check("layers.ipynb")
    assert (answer.status, answer.out.split(",")[0]) == (0, "Scale: verified")


def test_a_notebook_may_begin_with_a_byte_order_mark(check, folder):
    notebook(folder, *cells())
    path = folder / "layers.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert check("layers.ipynb").status == 0


def test_a_wrong_layer_of_a_notebook_fails(check, folder):
    notebook(folder, *cells(slope="2.0"))
    answer = check("layers.ipynb:Scale", "--only", "parameter_gradient")
    assert answer.status == 1
    assert "Scale: WRONG, 1 of 1 checks failed" in answer.out
    assert "a script that shows it: --html FILE or --json FILE" in answer.out  # there is no report to ask


def test_a_layer_of_a_notebook_needs_no_spec(check, folder):
    notebook(folder, *cells()[:-1])
    assert check("layers.ipynb:Scale", "--build", "Scale(D)", "--inputs", "B D").status == 0


def test_run_all_runs_all(check, folder):
    quiet = "history = [Scale(3).forward(torch.ones(2, 3))]\ndisplay(history)"
    plain = [c for c in cells(training=quiet) if "nowhere" not in c]
    notebook(folder, *plain[:2], plain[2] + "\nFACTOR = 2.0", *plain[3:])
    assert check("layers.ipynb", "--run-all").status == 0
    notebook(folder, *cells())
    answer = check("layers.ipynb", "--run-all")
    assert (answer.status, answer.out) == (2, "")
    assert "importing layers.ipynb failed: FileNotFoundError" in answer.err


def test_a_cell_that_is_no_python_is_left_out_and_named_with_run_all(check, folder):
    notebook(folder, "if so:", *cells())
    assert check("layers.ipynb").status == 0
    answer = check("layers.ipynb", "--run-all")
    assert answer.status == 2
    assert "code cell 1 is no Python" in answer.err


def test_a_cell_that_is_left_out_is_told(folder, capsys):
    notebook(folder, "x = 1", "def f(:\n    pass", "%%bash\nls (")
    statements(folder / "layers.ipynb")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("layers.ipynb: code cell 2 is no Python (invalid syntax, line 1) and is left out")


MISSING = """import no_such_package.plots as plots
from no_such_package import Base
import no_such_package, torch"""
BESIDE = """from __future__ import annotations
from harness import LayerSpec
class Logged(Base):
    def forward(self, x):
        return x"""
LOGGED = 'logged = LayerSpec(build=Logged, inputs="B D")'


@pytest.mark.parametrize("slope", ["1.0", "2.0"])
def test_a_missing_package_costs_what_needs_it_alone(check, folder, slope):
    notebook(folder, MISSING, BESIDE, LOGGED, *cells(slope=slope))
    answer = check("layers.ipynb")
    assert answer.status == (0 if slope == "1.0" else 1)
    assert answer.out.startswith("Scale: verified" if slope == "1.0" else "Scale: WRONG")


def test_what_a_missing_package_costs_is_told(folder, capsys):
    notebook(folder, MISSING, BESIDE, LOGGED, *cells())
    run(folder / "layers.ipynb", {})
    told = capsys.readouterr().err
    said = "layers.ipynb: No module named 'no_such_package': "
    for line in (*MISSING.splitlines()[:2], "import no_such_package", "class Logged(Base):", LOGGED.replace('"', "'")):
        assert f"{said}`{line}` is left out" in told
    assert "torch" not in told


def test_what_is_left_out_and_what_is_not_checked_stand_in_the_json_file(check, folder):
    methods = "    def forward(self, x): return x\n    def backward(self, d): return d"
    unprobed = f"class Odd:\n    def __init__(self, table): self.t = table.rows\n{methods}"
    notebook(folder, MISSING, "def f(:", unprobed, *cells())
    answer = check("layers.ipynb", "--json", "out.json")
    assert answer.status == 3
    data = json.loads((folder / "out.json").read_text())
    assert [r["layer"] for r in data["reports"]] == ["Scale"]
    assert [row["layer"] for row in data["not_checked"]] == ["Odd"]
    assert data["not_checked"][0]["command"].startswith("harness check layers.ipynb:Odd --build")
    told = [row["why"] for row in data["left_out"]]
    assert {row["target"] for row in data["left_out"]} == {"layers.ipynb"}
    assert [line.removeprefix("harness: ") for line in answer.err.splitlines() if "left out" in line] == told
    assert any("code cell 2 is no Python" in why for why in told)
    assert any("`import no_such_package` is left out" in why for why in told)


def test_a_missing_package_is_the_end_of_a_run_of_all_cells(check, folder):
    notebook(folder, MISSING, "class A: pass")
    answer = check("layers.ipynb", "--run-all")
    assert answer.status == 2
    assert "importing layers.ipynb failed: No module named 'no_such_package'" in answer.err


def test_what_a_file_imports_is_named(check, folder):
    (folder / "layers.py").write_text("import no_such_package")
    answer = check("layers.py")
    assert answer.status == 2
    assert "importing layers.py failed: No module named 'no_such_package'" in answer.err


def test_a_name_that_was_never_given_is_an_error(folder):
    notebook(folder, MISSING, "class A(Other): pass")
    with pytest.raises(NameError, match="Other"):
        run(folder / "layers.ipynb", {})


def test_an_import_that_fails_within_a_try_is_left_to_it(folder, capsys):
    notebook(folder, "try:\n    import no_such_package as p\nexcept ImportError:\n    p = None", "class A:\n    k = p")
    scope = {}
    run(folder / "layers.ipynb", scope)
    assert scope["A"].k is None
    assert capsys.readouterr().err == ""


def test_annotations_are_those_of_the_notebook(folder):
    notebook(
        folder, "def f(x: int): pass", "from __future__ import annotations\ndef g(x: int): pass", "def h(x: int): pass"
    )
    scope = {}
    run(folder / "layers.ipynb", scope)
    assert [scope[n].__annotations__["x"] for n in "fgh"] == [int, "int", "int"]


def test_the_script_that_shows_a_failure_asks_for_the_layer(check, folder):
    notebook(folder, *cells(slope="2.0"))
    assert check("layers.ipynb", "--json", "out.json").status == 1
    data = json.loads((folder / "out.json").read_text())
    [script, *_] = [r["finding"]["reproduce"] for r in data["reports"][0]["results"] if r["finding"]]
    assert "# fill in: a Scale" in script


def test_run_all_without_a_notebook_is_a_usage_error(check, specs):
    specs("Scale")
    answer = check("mylayers.py", "--run-all")
    assert (answer.status, answer.out) == (2, "")
    assert "--run-all is for notebooks" in answer.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "is no Jupyter notebook"),
        ("[]", "is no Jupyter notebook"),
        ("{}", "is no Jupyter notebook"),
        ('{"cells": [{"source": ""}]}', "is no Jupyter notebook"),
        ('{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}', "is a notebook in R"),
        ('{"cells": []}', "layers.ipynb holds no"),
    ],
)
def test_what_is_no_notebook_is_a_usage_error(check, folder, text, said):
    (folder / "layers.ipynb").write_text(text)
    answer = check("layers.ipynb")
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("definition", "kept"),
    [
        ("def f(x): return np.tanh(x)", False),
        ("class L:\n    def forward(self, data): return [x for x in data]", False),
        ("f = lambda y: y", False),
        ("def f(y): return x * y", True),
        ("class L:\n    scale = x", True),
        ("def f(x): return (lambda: globals)()\ndef g(y=x): return y", True),
        ("def f():\n    global x\n    x += 1", True),
    ],
)
def test_a_name_of_a_functions_own_asks_for_no_assignment(definition, kept):
    body = needed(ast.parse(f"x = load('data.npy')\n{definition}").body)
    assert ("load" in ast.unparse(ast.Module(body, []))) == kept


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("x = 1\n%timeit f(x)\ny = 2", "x = 1\npass\ny = 2"),
        ("if x:\n    !ls {x}", "if x:\n    pass"),
        ("files = !ls\nroot = %pwd", "pass\npass"),
        ("?torch\ntorch.nn??", "pass\npass"),
        ("%%html\n<b>", "\n"),
        ("\n%%capture out\nx = 1", "\n\nx = 1"),
        ("x = 7\\\n% 3", "x = 7\\\n% 3"),
        ('text = """\n%d of them\n!"""', 'text = """\n%d of them\n!"""'),
    ],
)
def test_what_only_ipython_reads_is_taken_out(cell, plain):
    assert without_magics(cell) == plain


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("import a\nx = 1", ["import a"]),
        ("x = 1\ny = x\ndef f(): return y", ["x = 1", "y = x", "def f():\n    return y"]),
        ("x = 1\nx += 2\ndef f(): return x\nprint(x)", ["x = 1", "x += 2", "def f():\n    return x"]),
        ("class A: pass\nA.b = 3\nc.d = 4", ["class A:\n    pass", "A.b = 3"]),
        ("a, (b, *c) = z\nclass A: k = c", ["a, (b, *c) = z", "class A:\n    k = c"]),
        ("if cuda:\n    d = 1\nelse:\n    d = 2\ndef f(): return d",
         ["if cuda:\n    d = 1\nelse:\n    d = 2", "def f():\n    return d"]),
        ("try:\n    import a\nexcept ImportError:\n    a = None",
         ["try:\n    import a\nexcept ImportError:\n    a = None"]),
        ("if __name__ == '__main__':\n    import a\n    a.run()", []),
        ("specs = [LayerSpec(build=A)]", ["specs = [LayerSpec(build=A)]"]),
    ],
)  # fmt: skip
def test_what_is_needed(source, kept):
    assert [ast.unparse(node) for node in needed(ast.parse(source).body)] == kept
