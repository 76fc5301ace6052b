"""What `harness check` can be pointed at."""

import sys

import pytest

from harness.processes.job import files_of

PLAIN = """
import torch
from torch import Tensor

class InstanceNorm:
    def __init__(self, D, eps=1e-5):
        self.eps = eps
        self.gamma, self.beta = torch.ones(D), torch.zeros(D)

    def forward(self, z):
        self.s = ((z - z.mean(-1, keepdim=True)).square().mean(-1, keepdim=True) + self.eps).sqrt()
        self.h = (z - z.mean(-1, keepdim=True)) / self.s
        return self.gamma * self.h + self.beta

    def backward(self, v):
        self.dgamma, self.dbeta = (v * self.h).sum(0), v.sum(0)
        u = v * self.gamma
        return (u - u.mean(-1, keepdim=True) - self.h * (u * self.h).mean(-1, keepdim=True)) / self.s

class Pick:
    "Labels choose an entry of each row."

    def forward(self, z, y):
        self.shape, self.y = z, y
        return z[torch.arange(len(y)), y]

    def backward(self, v):
        d = torch.zeros_like(self.shape)
        d[torch.arange(len(v)), self.y] = v
        return d

class Embedding:
    def __init__(self, V):
        self.W = torch.linspace(0, 1, V)

    def forward(self, x, y):
        self.x, self.y = x, y
        return x * self.W[y]

    def backward(self, v):
        self.dW = torch.zeros_like(self.W).index_add(0, self.y, v * self.x)
        return v * self.W[self.y]
"""


@pytest.fixture
def plain(folder):
    (folder / "plain.py").write_text(PLAIN)


# Files, modules and packages with specs in them


def layers(answer):
    return [line.split(":")[0] for line in answer.out.splitlines() if line[:1].isupper()]


def test_a_file_and_a_module_are_the_same(check, specs):
    specs("Scale", "Hidden")
    assert check("mylayers.py") == check("mylayers") == check("./mylayers.py")


NODES = """class Value:
    def __init__(self, data):
        self.data, self.grad = data, 0.0
    def __mul__(self, other): return Value(self.data * other.data)
    def backward(self): self.grad = 1.0
"""


@pytest.mark.parametrize("name", ["random", "types", "harness", "copy", "hypothesis"])
def test_a_file_may_have_the_name_of_another_module(check, specs, folder, name):
    specs("Scale")
    (folder / "mylayers.py").rename(folder / f"{name}.py")
    assert (check(f"{name}.py").status, layers(check(f"{name}.py:Scale"))) == (0, ["Scale"])


def test_a_name_chooses_one_spec(check, specs):
    specs("Scale", "Twice")
    assert (check("mylayers.py:Scale").status, layers(check("mylayers.py:Scale"))) == (0, ["Scale"])
    assert (check("mylayers:Twice").status, layers(check("mylayers:Twice"))) == (1, ["Twice"])
    assert check("mylayers.py::Scale") == check("mylayers.py:Scale")  # as pytest has it


def test_specs_in_lists_tuples_and_dicts_are_found(check, specs):
    more = """
def spec(name): return LayerSpec(build=Scale, inputs="B D", name=name)
LISTED = [spec("Listed"), 3]
TUPLED = (spec("Tupled"),)
KEYED = {"one": spec("Keyed")}
"""
    specs("Scale", more=more)
    assert layers(check("mylayers.py", "--only", "shapes")) == ["Scale", "Listed", "Tupled", "Keyed"]


@pytest.fixture
def package(folder, specs):
    specs("Scale")
    inner = folder / "many" / "inner"
    inner.mkdir(parents=True)
    (folder / "many" / "__init__.py").write_text("from sample_layers import Scale\n")
    (folder / "many" / "first.py").write_text((folder / "mylayers.py").read_text())
    (inner / "__init__.py").write_text("")
    (inner / "second.py").write_text((folder / "mylayers.py").read_text().replace("Scale", "Switched"))
    return folder / "many"


def test_a_package_is_searched_through(check, package):
    assert layers(check("many", "--only", "shapes")) == ["Scale", "Switched"]
    assert layers(check("many.inner", "--only", "shapes")) == ["Switched"]
    assert layers(check("many.first", "--only", "shapes")) == ["Scale"]


def test_a_program_inside_a_package_is_not_run(check, package):
    (package / "__main__.py").write_text("raise SystemExit(0)\n")
    assert layers(check("many", "--only", "shapes")) == ["Scale", "Switched"]


def test_a_module_of_a_package_that_raises_is_told(check, package):
    (package / "inner" / "second.py").write_text("1 / 0\n")
    answer = check("many")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "harness: importing many.inner.second failed: ZeroDivisionError: division by zero\n"


def test_two_specs_of_one_name_are_an_error_that_names_both(check, specs):
    specs("Scale", more='AGAIN = LayerSpec(build=Scale, inputs="B C D")\n')
    answer = check("mylayers.py")
    assert answer.status == 2
    assert "two specs have the name 'Scale'" in answer.err
    assert "'B D'" in answer.err
    assert "'B C D'" in answer.err


# What is not there, or can't be imported


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.py", "there is no file nowhere.py"),
        ("nowhere.py:Scale", "there is no file nowhere.py"),
        (
            "nowhere.txt",
            "'nowhere.txt' is neither a file (its name would end in .py or .ipynb) nor an importable module",
        ),
        (
            "./nowhere.txt",
            "'./nowhere.txt' is neither a file (its name would end in .py or .ipynb) nor an importable mod",
        ),
        ("mylayer.py", "there is no file mylayer.py; did you mean mylayers.py?"),
        ("nowhere", "'nowhere' is neither a file (its name would end in .py or .ipynb) nor an importable module"),
        (
            "mylayers.txt",
            "'mylayers.txt' is neither a file (its name would end in .py or .ipynb) nor an importable module",
        ),
        ("notes.txt", "'notes.txt' is neither a file (its name would end in .py or .ipynb) nor an importable module"),
        ("some/", "some/ is a folder: name its files, such as some/*.py"),
        ("nowhere.layers", "'nowhere.layers' is neither a file"),
        ("", "importing  failed"),
        (".mylayers", "nor an importable module; did you mean mylayers.py?"),
        ("mylayers.py:Other", "no LayerSpec or layer named 'Other' (there are Scale)"),
        ("mylayers.py:scale", "(there are Scale); did you mean 'Scale'?"),
        ("empty.py", "empty.py holds no LayerSpec, and no layer (a class with forward and backward"),
        ("empty:Scale", "no LayerSpec or layer named 'Scale' (there are none)"),
        ("nodes.py", "Value is a number in a graph of its own: check a function of such numbers as a closure"),
        ("nodes.py:Value", "harness check nodes.py:run --build run --inputs '3'"),
        ("{}/nodes.py", "harness check '{}/nodes.py:run' --build run --inputs '3'"),
        (
            "empty:Nothing",
            "the class Nothing has forth, and no backward that is known as such; to check what has another",
        ),
    ],
)
def test_a_target_that_is_not_there_is_a_usage_error(check, specs, folder, target, said):
    specs("Scale")
    (folder / "empty.py").write_text("class Nothing:\n    def forth(self, x): return x\n")
    (folder / "notes.txt").write_text("no Python")
    (folder / "{}").mkdir()
    for nodes in ("nodes.py", "{}/nodes.py"):
        (folder / nodes).write_text(NODES)
    (folder / "some").mkdir()
    answer = check(target)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "importing broken.py failed: ZeroDivisionError: division by zero"),
        ("def (", "importing broken.py failed: SyntaxError"),
        ("import nowhere", "importing broken.py failed: No module named 'nowhere'"),
        ("raise SystemExit(0)", "importing broken.py failed: SystemExit: 0"),
        ("from harness import LayerSpec\nLayerSpec(build=3, inputs='B')", "build=3 is neither a class"),
    ],
)
def test_a_file_that_raises_on_import_is_a_usage_error(check, folder, source, said):
    (folder / "broken.py").write_text(source)
    answer = check("broken.py")
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err


# --build and --inputs


def test_a_layer_without_a_spec(check, plain):
    answer = check("plain.py:InstanceNorm", "--build", "InstanceNorm(D)", "--inputs", "B D")
    assert answer.status == 0
    assert layers(answer) == ["InstanceNorm"]


def test_a_wrong_layer_without_a_spec(check, plain, folder):
    (folder / "plain.py").write_text(PLAIN.replace("u - u.mean(-1, keepdim=True) - ", "u - "))
    assert check("plain.py:InstanceNorm", "--build", "InstanceNorm(D)", "--inputs", "B D").status == 1


def test_a_module_a_name_left_out_and_options_in_the_build(check, plain):
    assert layers(check("plain", "--build", "InstanceNorm(D, eps=1e-3)", "--inputs", "B D")) == ["InstanceNorm"]


def test_a_layer_without_arguments_needs_no_build(check, plain):
    answer = check("plain.py:Pick", "--inputs", "B C", "ints('B', below='C')")
    assert answer.status == 0
    assert layers(answer) == ["Pick"]


PAIR = """
def affine_forward(x, w):
    return x @ w, (x, w)

def affine_backward(dout, cache):
    return dout @ cache[1].T, cache[0].T @ dout
"""


def test_a_pair_goes_by_the_name_under_which_it_is_listed_and_by_the_command_that_is_shown(check, folder):
    (folder / "pair.py").write_text(PAIR)
    shown = check("pair.py", "--list").out
    assert shown.split("--build")[1].startswith(" '(affine_forward, affine_backward)' --inputs ")
    inputs = ("--inputs", "B D", "D E", "--only", "shapes")
    for build in ((), ("--build", "(affine_forward, affine_backward)")):
        answer = check("pair.py:affine", *build, *inputs)
        assert answer.status == 0
        assert answer.out.startswith("affine: verified, 1 check passed")


def test_a_dimension_may_occur_in_a_bound_alone(check, plain):
    inputs = ("--inputs", "B", 'ints("B", below="V", low=0)')
    assert check("plain.py:Embedding", "--build", "Embedding(V)", *inputs).status == 0


def test_floats_give_a_domain(check, plain):
    answer = check("plain.py:InstanceNorm", "--build", "InstanceNorm(D)", "--inputs", "floats('B D', low=1, high=2)")
    assert answer.status == 0


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("plain.py:Nothing", ["--build", "Nothing(D)", "--inputs", "B D"], "there is no 'Nothing' in plain; it has"),
        ("plain.py", ["--build", "Nothing(D)", "--inputs", "B D"], "'Nothing' is neither in plain (InstanceNorm"),
        ("plain.py", ["--build", "InstanceNorm(E)", "--inputs", "B D"], "'E' is neither in plain"),
        ("plain.py", ["--build", "InstanceNorm(D", "--inputs", "B D"], "build='InstanceNorm(D' is no expression"),
        ("plain.py", ["--build", "InstanceNorm(D)"], "give both --build 'MyLayer(D)' and --inputs 'B D'"),
        ("plain.py", ["--inputs", "B D"], "give both --build 'MyLayer(D)' and --inputs 'B D'"),
        (
            "plain.py",
            ["--build", "Pick()", "--inputs", "ints('B', under=3)"],
            "--inputs \"ints('B', under=3)\": TypeError",
        ),
        ("plain.py", ["--build", "Pick()", "--inputs", "print('B')"], "None is no input"),
        ("plain.py", ["--build", "Pick()", "--inputs", "B ** D"], "B ** D"),
    ],
)
def test_words_that_name_nothing_are_usage_errors(check, plain, target, arguments, said):
    answer = check(target, *arguments)
    assert answer.status == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_names_that_a_build_binds_itself_are_no_strangers(check, plain):
    build = "(lambda width, *rest: InstanceNorm(max(n for n in [width])))(D, 1)"
    assert check("plain.py", "--build", build, "--inputs", "B D").status == 0


@pytest.mark.parametrize("init", [True, False])
def test_a_file_with_relative_imports_is_a_module_of_its_folder(check, folder, init):
    package = folder / "relative"
    package.mkdir()
    if init:
        (package / "__init__.py").touch()
    (package / "base.py").write_text("class Layer:\n    def backward(self, d): return 2 * d\n")
    (package / "mine.py").write_text(
        "from .base import Layer\nclass Double(Layer):\n    def forward(self, x): return 2 * x\n"
    )
    answer = check("relative/mine.py", "--only", "input_gradient")
    assert answer.status == 0
    (package / "mine.py").write_text("from .missing import Layer\n")
    for name in [n for n in sys.modules if n.startswith("relative")]:
        del sys.modules[name]
    answer = check("relative/mine.py")
    assert answer.status == 2
    assert "importing relative/mine.py failed" in answer.err


def test_a_file_that_can_not_be_imported_is_never_verified_as_a_whole(check, plain, folder):
    (folder / "plain.py").write_text(PLAIN + "\n1 / 0\n")
    answer = check("plain.py:InstanceNorm", "--build", "InstanceNorm(D)", "--inputs", "B D", "--json", "out.json")
    assert answer.status == 3
    assert layers(answer) == ["InstanceNorm"]
    said = "importing plain.py failed: ZeroDivisionError: division by zero; run were its imports, definitions"
    assert said in answer.err
    assert said in (folder / "out.json").read_text()


def test_a_folder_that_is_no_package_stands_for_its_files(folder):
    for place in (
        "hw/a.py",
        "hw/b.ipynb",
        "hw/notes.txt",
        "course/alice/hw.py",
        "course/bob/hw.py",
        "course/.git/x.py",
        "p/__init__.py",
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    assert files_of("hw") == files_of("hw/") == ["hw/a.py", "hw/b.ipynb"]
    assert files_of("hw:Scale") == ["hw/a.py:Scale", "hw/b.ipynb:Scale"]
    assert files_of("course") == ["course/alice/hw.py", "course/bob/hw.py"]
    for target in ("p", "hw/a.py:Scale", "nowhere", "", "torch.nn"):
        assert files_of(target) == [target]


def test_of_a_folder_one_file_that_is_broken_costs_its_row_alone(check, specs, folder):
    specs("Scale", more="SCALE.name")
    (folder / "hw").mkdir()
    (folder / "mylayers.py").rename(folder / "hw" / "a.py")
    (folder / "hw" / "b.py").write_text("class Broken")
    answer = check("hw", "--only", "shapes,dtypes", "--examples", "1")
    assert answer.out.startswith("hw/a.py: Scale: verified, 2 checks passed")
    assert "hw/b.py: hw/b.py: not judged, importing hw/b.py failed: SyntaxError" in answer.out
    assert answer.status == 4
