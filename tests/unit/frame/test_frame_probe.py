"""Layers without a spec: which there are, how each is made and called, and what becomes of the rest."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import form_layers
import plain_layers
import pytest
import torch

from harness import LayerSpec
from harness import check as check_spec
from harness.targets.candidates import candidates
from harness.targets.probe import probe

UNIT = 'floats("B D", low=0, high=1, low_open=True, high_open=True)'
ONE_HOT = "lambda B, D, rng: (rng.integers(0, D, (B, 1)) == range(D)) * 1.0"
GUESSES = {
    "Linear": ("Linear(n_in, n_out)", "B n_in"),
    "ReLU": ("ReLU()", "B D"),
    "Sigmoid": ("Sigmoid()", "B D"),
    "Embedding": ("Embedding(vocab, dim)", 'ints("B", below="vocab")'),
    "CE": ("CE()", "B D", 'ints("B", below="D")'),
    "CEHot": ("CEHot()", "B D", ONE_HOT),
    "MSE": ("MSE()", "B D", ONE_HOT),
    "BCE": ("BCE()", UNIT, ONE_HOT),
    "MaxPool": ("MaxPool(k)", "B D H+k W+k"),
    "Halved": ("Halved()", "B D 2*H 2*W"),
    "Cell": ("Cell(input_size, hidden_size)", "B input_size", "B hidden_size"),
    "Conv1d": ("Conv1d(in_channels, out_channels, kernel_size)", "B in_channels T+kernel_size"),
    "affine": ("(affine_forward, affine_backward)", "B D", "D M", "M"),
    "told": (
        "(lambda x, gamma, beta: told_forward(x, gamma, beta, {'mode': 'train', 'p': 0.5}), told_backward)",
        "B D",
        "D",
        "D",
    ),
    "Square": ("Square", "B D"),
    "Log": ("Log()", UNIT),
    "Norm2d": ("Norm2d(C)", "B C H W"),
    "Column": ("Column(input_size, output_size)", "input_size 1"),
    "ColumnSoftmax": ("ColumnSoftmax()", "D 1"),
    "columns": ("(columns_forward, columns_backward)", "D B", "M D", "M 1"),
    "Tutorial": ("Tutorial(n_in, n_out)", "B n_in"),
    "TargetFirst": ("TargetFirst()", "B D", "B D"),
    "ActualFirst": ("ActualFirst()", "B D", "B D"),
    "LogitsCrossEntropy": ("LogitsCrossEntropy()", "B D", ONE_HOT),
    "Scaled3d": ("Scaled3d()", "B D H W Z"),
    "Attention": ("Attention()", "B T D", "B T D", "B T D"),
    "VectorCell": ("VectorCell(input_dim, hidden_dim)", "input_dim", "hidden_dim"),
    "Scores": ("Scores()", "B T D", "B D"),
    "Sequential": ("Sequential([Linear(n_in, n_out), ReLU()])", "B n_in"),
    "squares": ("(squares, squares_gradient)", "B D", ONE_HOT),
    "svm_loss": ("value_and_grad(svm_loss)", "B D", 'ints("B", below="D")'),
}
LEFT = {
    "batchnorm": "KeyError: 'std'",
    "Softmax32": "ValueError: could not broadcast input array from shape (3,5) into shape (32,10)",
}
FOUND = {c.name: c for c in candidates(plain_layers, [])}


def test_every_layer_is_found_and_no_stub():
    assert FOUND.keys() == GUESSES.keys() | LEFT.keys()


@pytest.mark.parametrize("name", GUESSES)
def test_how_it_is_made_and_called_is_found(name):
    probed = probe(FOUND[name])
    assert (probed.guess.build, *probed.guess.inputs) == GUESSES[name]
    assert probed.spec is not None


@pytest.mark.parametrize("name", LEFT)
def test_what_can_not_be_tried_out_is_told_with_why(name):
    probed = probe(FOUND[name])
    assert (probed.spec, probed.why) == (None, LEFT[name])


@pytest.mark.parametrize(
    "build",
    [
        plain_layers.Linear,
        "plain_layers.Linear(D, D)",
        "Linear(D, D)",
        lambda D: plain_layers.Linear(D, D),
        plain_layers.Linear(2, 3),
    ],
)
def test_a_layer_that_a_spec_makes_is_not_tried_out(build):
    spec = LayerSpec(
        build=build,
        inputs="B D",
        name="other",
        **({"dims": {"n_in": [2], "n_out": [2]}} if isinstance(build, type) else {}),
    )
    names = {c.name for c in candidates(plain_layers, [spec])}
    assert FOUND.keys() - names == {"Linear"}


@pytest.fixture
def plain(folder):
    shutil.copy(Path(plain_layers.__file__), folder / "plain.py")


def test_a_layer_is_checked_by_its_name_alone(check, plain):
    answer = check("plain.py:Linear")
    assert answer.status == 0
    assert "note: no LayerSpec; found by trying: --build 'Linear(n_in, n_out)' --inputs 'B n_in'" in answer.out


def test_the_command_in_the_note_checks_the_same(check, plain, folder):
    first = check("plain.py:CE", "--json", "first.json")
    again = check("plain.py:CE", "--build", "CE()", "--inputs", "B D", 'ints("B", below="D")', "--json", "again.json")
    assert (first.status, again.status) == (0, 0)
    results = [json.loads((folder / f).read_text())["reports"][0]["results"] for f in ("first.json", "again.json")]
    assert results[0] == results[1]


def test_sizes_that_the_class_alone_has_may_stand_in_the_command(check, plain):
    answer = check("plain.py:Linear", "--build", "Linear(n_in, n_out)", "--inputs", "B n_in", "--only", "gradient")
    assert answer.status == 0
    answer = check("plain.py:Linear", "--build", "Linear(n_in, other)", "--inputs", "B n_in")
    assert answer.status == 2
    assert "'other' is neither in plain" in answer.err


def test_a_wrong_layer_without_a_spec_fails(check, plain):
    answer = check("plain.py:Sigmoid")
    assert answer.status == 1
    assert "every entry is 2 times what it should be" in answer.out


STORED = """
import numpy as np
class Stored:
    def __init__(self, path, dim): self.W = np.load(path)
    def forward(self, x, mask): return x @ self.W * mask
    def backward(self, v): return v @ self.W.T
"""


FORGOT = """
import numpy as np
class Tanh:
    def forward(self, x): return np.tanh(x)
    def backward(self, v): return v * (1 - self.y ** 2)
"""


def test_of_one_whose_backward_raises_the_command_that_shows_it_is_told(check, folder):
    (folder / "forgot.py").write_text(FORGOT)
    answer = check("forgot.py")
    assert answer.status == 3
    assert (
        "(the forward went through and backward raised AttributeError: 'Tanh' object has no attribute 'y'" in answer.out
    )
    assert "\n  harness check forgot.py:Tanh --build 'Tanh()' --inputs 'B D'\n" in answer.out
    answer = check("forgot.py:Tanh", "--build", "Tanh()", "--inputs", "B D", "--only", "input_gradient")
    assert answer.status == 1


WITHOUT = """
import numpy as np
class Without:
    def __init__(self, n_in, n_out): self.W, self.s = np.random.randn(n_in, n_out), np.ones(n_out)
    def forward(self, x):
        self.x = x
        return x @ self.W * self.s
    def backward(self, v):
        self.dW = self.x.T @ (v * self.s)
        return (v * self.s) @ self.W.T
"""


def test_where_grads_is_to_be_written_the_spec_that_takes_it_is_told(check, folder):
    (folder / "without.py").write_text(WITHOUT)
    words = ("without.py", "--only", "parameter_gradient", "--examples", "2")
    answer = check(*words)
    assert answer.status == 3
    spec = "SPEC = LayerSpec(build='Without(n_in, n_out)', inputs='B n_in', dims={'n_out': range(1, 7)}, grads={...})"
    assert f"note: grads={{...}} stands in a spec in the file: {spec}\n" in answer.out
    spec = spec.replace("...", "'s': None")
    (folder / "without.py").write_text(f"from harness import LayerSpec\n{WITHOUT}\n{spec}\n")
    answer = check(*words)
    assert (answer.status, answer.out.splitlines()[-1]) == (0, "1 PASS, 0 FAIL, 0 INCONCLUSIVE, 0 SKIP, 0 ERROR")
    assert "note: grads" not in answer.out


def test_one_that_can_not_be_tried_out_is_not_verified_and_what_to_fill_in_is_told(check, folder):
    (folder / "stored.py").write_text(STORED)
    answer = check("stored.py")
    assert answer.status == 3
    assert "Stored: NOT CHECKED" in answer.out
    words = "--build 'Stored(path=…, dim=…)' --inputs '…' '…'"
    assert f"\n  harness check stored.py:Stored {words}\n" in answer.out
    answer = check("stored.py:Stored", "--build", "Stored(path=…, dim=…)", "--inputs", "…", "…")
    assert answer.status == 2
    assert "put something in the place of each …" in answer.err


SPACED = """
import numpy as np
class Table:
    def __init__(self, size=10):
        self.E = np.arange(4.0 * size).reshape(size, 4)
    def forward(self, i):
        self.i = i
        return self.E[i]
    def backward(self, v):
        self.dE = np.zeros_like(self.E)
        ADD
class Other:
    def __init__(self, settings): self.w = settings["w"]
    def forward(self, x): return x * self.w
    def backward(self, v): return v * self.w
"""


@pytest.mark.parametrize(("add", "status"), [("np.add.at(self.dE, self.i, v)", 0), ("self.dE[self.i] += v", 1)])
def test_a_table_of_a_fixed_size_is_looked_up_in(command, folder, add, status):
    (folder / "table.py").write_text(SPACED.replace("ADD", add))
    answer = command("check", "table.py:Table", "--examples", "8", "--only", "gradient")
    assert answer.status == status
    assert """found by trying: --build 'Table()' --inputs 'ints("B", below=2)'""" in answer.out


def test_a_file_whose_name_is_no_identifier_has_commands_and_scripts_that_run(command, folder):
    name = "01 layers.py"
    (folder / name).write_text(SPACED.replace("ADD", "self.dE[self.i] += v"))
    answer = command("check", name, "--examples", "8", "--only", "gradient", "--json", "out.json")
    assert "\n  harness check '01 layers.py:Other' --build" in answer.out
    report = json.loads((folder / "out.json").read_text())["reports"][0]
    script = next(r["finding"]["reproduce"] for r in report["results"] if r["finding"])
    (folder / "script.py").write_text(script.replace("Table(...)", "Table()"))
    environment = {
        k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"
    }  # tox sets it: a user's script sees its folder
    run = subprocess.run([sys.executable, "script.py"], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.startswith("E["), run.stderr


def test_all_layers_of_a_file_are_checked_or_listed(check, plain):
    answer = check("plain.py", "--only", "shapes")
    said = [line.split(":")[0] for line in answer.out.splitlines() if ": " in line and not line.startswith(" ")]
    assert said == [n for n in FOUND if n in GUESSES] + [n for n in FOUND if n in LEFT]
    assert answer.status == 3


def test_a_list_tells_how_each_would_be_checked(check, plain):
    lines = check("plain.py", "--list").out.splitlines()
    assert [line.split()[1] for line in lines] == list(FOUND)
    assert lines[0].endswith("--build 'Linear(n_in, n_out)' --inputs 'B n_in'")


def test_one_that_raises_where_it_is_looked_at_has_its_row(check, folder):
    (folder / "asked.py").write_text(
        "class Asked:\n    def __init__(self, D): vars(self)['held'] = {}\n    def __getattr__(self, name): return self.held[name]\n"
        "    def forward(self, x): return x * 1\n    def backward(self, v): return v\n"
        "class Same:\n    def forward(self, x): return x * 1\n    def backward(self, v): return v\n"
    )
    answer = check("asked.py", "--only", "shapes")
    assert answer.status == 4
    assert "Asked: not judged, trying it out raised KeyError: 'training'" in answer.out
    assert "Same: verified" in answer.out


def test_one_that_hangs_while_it_is_tried_out_has_its_row(check, folder):
    (folder / "hanging.py").write_text(
        "class Hanging:\n    def forward(self, x):\n        while True: pass\n    def backward(self, v): return v\n"
        "class Same:\n    def forward(self, x): return x * 1\n    def backward(self, v): return v\n"
    )
    answer = check("hanging.py", "--timeout", "3", "--json", "out.json")
    assert answer.status == 4
    reports = json.loads((folder / "out.json").read_text())["reports"]
    assert [(r["layer"], r["ok"]) for r in reports] == [("Hanging", False), ("Same", True)]
    assert reports[0]["results"][0]["reason"].startswith("timed out after 3 s")


UNBIASED = """
import torch
class Unbiased:
    def __init__(self, D): self.g = torch.ones(D)
    def forward(self, x):
        self.s, self.n = 1 / x.std(0), len(x)
        self.xh = (x - x.mean(0)) * self.s
        return self.g * self.xh
    def backward(self, dout):
        self.dg = (dout * self.xh).sum(0)
        d = dout * self.g
        return FACTOR * self.s * (d - d.mean(0) - self.xh * (d * self.xh).sum(0) / (self.n - 1))
"""


@pytest.mark.parametrize(("factor", "outcome"), [("1", "PASS"), ("2", "FAIL")])
def test_one_that_refuses_a_batch_of_one_is_not_taken_for_one_of_columns(command, folder, factor, outcome):
    """With "D 1" its forward broadcasts, so that its gradients have wrong shapes."""
    (folder / "unbiased.py").write_text(UNBIASED.replace("FACTOR", factor))
    answer = command("check", "unbiased.py", "--only", "input_gradient", "shapes", "--examples", "8")
    assert "--inputs 'B D'" in answer.out
    assert f"input_gradient    {outcome}" in answer.out.replace("INCONCLUSIVE", "PASS")
    assert "shapes            PASS" in answer.out


FORMS = {
    "Sigmoid": ("Sigmoid()", "B D"),
    "CrossEntropy": ("CrossEntropy()", ONE_HOT, UNIT),
    "MatMul": ("MatMul()", "B D", "D M"),
    "Multiply": ("Multiply()", "B D", "B D"),
    "Chained": ("Chained()", "B D"),
    "Both": ("Both()", "B D", "B D"),
    "ByIndex": ("ByIndex()", "B D", "B D"),
    "Called": ("Called()", "B D"),
    "relu": ("(relu, relu_backward)", "B D"),
    "cube": ("(forward_cube, backward_cube)", "B D"),
    "Heads": ("Heads(num_heads*d_model, num_heads, True)", "B T num_heads*d_model"),
    "Pool": ("Pool(kernel_size, stride)", "B D T+kernel_size"),
    "Cubed": ("Cubed()", "B D"),
    "Weighted": ("Weighted(rng.normal(size=(D, 3)), rng.normal(size=3))", "B D"),
    "Annotated": ("Annotated(torch.randn(D, 3))", "B D"),
    "Upsample": ("Upsample(scale_factor)", "B D H W"),
    "Scaled": ("Scaled", "B D", "lambda B: 0.5"),
    "Leaky": ("Leaky", "B D", "lambda B: 0.5"),
    "OfItsClass": ("OfItsClass()", "B D"),
    "sine": ("sine", "B D"),
    "swish": ("(swish, swish_prime)", "B D"),
    "squared": ("(squared, squared_derivative)", "B D", ONE_HOT),
    "Shaped": ("Shaped((D, H, W))", "B D H W"),
    "Sized": ("Sized((D, 3))", "B D"),
}
"""All of form_layers but a stub, functions without a backward, an operator without one, and what has no derivative."""


def test_other_forms_are_found_and_called():
    probed = {c.name: probe(c).guess for c in candidates(form_layers, [])}
    assert {n: (g.build, *g.inputs) for n, g in probed.items()} == FORMS


@pytest.mark.parametrize("factor", [1, 2])
def test_other_forms_are_verified_and_their_wrong_twins_fail(check, folder, factor):
    source = Path(form_layers.__file__).read_text()
    source = source.replace("FACTOR = 1", f"FACTOR = {factor}").replace("form_layers::", f"forms{factor}::")
    (folder / "forms.py").write_text(source)
    answer = check("forms.py", "--only", "input_gradient")
    outcome = "PASS" if factor == 1 else "FAIL"
    said = [line.split()[1] for line in answer.out.splitlines() if line.startswith("  input_gradient ")]
    assert said == [outcome] * len(FORMS)


VARIADIC = """
class Sequential:
    def __init__(self, *layers): self.layers = layers
    def forward(self, x):
        for layer in self.layers: x = layer.forward(x)
        return x
    def backward(self, d):
        for layer in reversed(self.layers): d = layer.backward(d)
        return d
class Passing(Sequential):
    def __init__(self, *args, **kwargs): super().__init__(*args, **kwargs)
"""


def test_what_takes_any_number_of_layers_is_not_verified_without_one(check, folder):
    (folder / "variadic.py").write_text(VARIADIC)
    answer = check("variadic.py", "--only", "shapes")
    assert "Sequential: NOT CHECKED" in answer.out
    assert "any number of layers" in answer.out
    assert "\nPassing: " in f"\n{answer.out}"
    assert answer.status == 3


KERNEL = """import torch

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        assert x.is_cuda
        return 2 * x

    @staticmethod
    def backward(ctx, dout):
        return 2 * dout
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_kernel_for_cuda_is_left_with_what_it_wants(check, folder):
    (folder / "kernels.py").write_text(KERNEL)
    answer = check("kernels.py")
    assert answer.status == 3
    assert "it wants CUDA tensors, and this machine has no CUDA device" in answer.out
    assert "--device cuda" in answer.out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_kernel_for_cuda_is_tried_where_it_is_to_run(check, folder):
    (folder / "kernels.py").write_text(KERNEL)
    assert check("kernels.py", "--device", "cuda", "--examples", "3").status == 0
    (folder / "kernels.py").write_text(KERNEL.replace("2 * dout", "3 * dout"))
    assert check("kernels.py", "--device", "cuda", "--examples", "3").status == 1


TORCH7 = """import numpy as np

class Linear:
    def __init__(self, n_in, n_out):
        self.weight = np.random.randn(n_in, n_out)
    def updateOutput(self, input):
        return input @ self.weight
    def updateGradInput(self, input, gradOutput):
        return gradOutput @ self.weight.T
    def accGradParameters(self, input, gradOutput):
        self.gradWeight = input.T @ gradOutput
"""


def test_torch7_s_three_methods_are_a_layer(check, folder):
    (folder / "torch7.py").write_text(TORCH7)
    answer = check("torch7.py", "--only", "gradient", "--examples", "3")
    assert answer.status == 0, answer.out
    assert "Linear: verified" in answer.out
    (folder / "torch7.py").write_text(TORCH7.replace("input.T @", "2 * input.T @"))
    assert check("torch7.py", "--only", "gradient", "--examples", "3").status == 1


@pytest.mark.parametrize("name", ["random", "types", "code"])
def test_a_file_named_like_a_module_of_python_has_scripts_that_run(command, folder, capsys, name):
    (folder / f"{name}.py").write_text(
        "import numpy as np\n\n\nclass Square:\n    def forward(self, x):\n        self.x = x\n        return x**2\n\n"
        "    def backward(self, d):\n        return 3 * self.x * d\n"
    )
    answer = command("check", f"{name}.py", "--json", "out.json", "--examples", "2", "--only", "gradient")
    assert answer.status == 1
    data = json.loads((folder / "out.json").read_text())
    [script] = [r["finding"]["reproduce"] for r in data["reports"][0]["results"] if r["finding"]]
    assert f"Square = runpy.run_path('{name}.py')['Square']" in script
    exec(script, {"__name__": "script"})
    found = re.search(r"backward (\S+), central difference (\S+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) == pytest.approx(1.5 * float(found[2]), rel=1e-4)


ASKING = """import numpy as np


class Epfl:
    def __init__(self, n_in, n_out):
        self.w, self.dl_dw = np.random.randn(n_in, n_out), np.zeros((n_in, n_out))

    def forward(self, *input):
        self.x, = input
        return self.x @ self.w

    def backward(self, *gradwrtoutput):
        g, = gradwrtoutput
        self.dl_dw += FACTOR * self.x.T @ g
        return g @ self.w.T

    def zero_grad(self):
        self.dl_dw[:] = 0


class Named:
    def forward(self, *, x):
        self.x = x
        return x**2

    def backward(self, d):
        return FACTOR * 2 * self.x * d


class Dense:
    def __init__(self, units):
        self.units = units

    def build(self, shape):
        self.W = np.random.randn(shape[-1], self.units)

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, d):
        self.dW = FACTOR * self.x.T @ d
        return d @ self.W.T
"""


@pytest.mark.parametrize(("factor", "outcome"), [("1", "verified"), ("2", "WRONG")])
def test_any_number_of_inputs_a_keyword_and_units_are_tried(command, folder, factor, outcome):
    (folder / "asking.py").write_text(ASKING.replace("FACTOR", factor))
    answer = command("check", "asking.py", "--examples", "3", "--only", "gradient")
    for name in ("Epfl", "Named", "Dense"):
        assert f"{name}: {outcome}" in answer.out
    assert answer.status == int(factor) - 1


LOSS = """
import numpy as np


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class CrossEntropy:
    def forward(self, x, y):
        self.p, self.y = {p}, y
        return -(y * np.log(self.p)).sum() / len(y)

    def backward(self):
        return {d} / len(self.y)
"""


@pytest.mark.parametrize(
    ("p", "d", "first"), [("softmax(x)", "(self.p - self.y)", "B D"), ("x", "(-self.y / self.p)", UNIT)]
)
def test_a_loss_that_sees_differences_alone_takes_logits_whatever_its_name(check, folder, p, d, first):
    (folder / "loss.py").write_text(LOSS.format(p=p, d=d), encoding="utf-8")
    assert f"--inputs '{first}' '{ONE_HOT}'" in check("loss.py", "--list").out


def _module(source):
    module = ModuleType("made")
    exec(source, vars(module))
    return module


CELLS = """
import numpy as np


def lstm_cell_forward(xt, a_prev, parameters):
    z = parameters["Wf"] @ np.concatenate([a_prev, xt]) + parameters["bf"]
    a = np.tanh(z)
    return a, parameters["Wy"] @ a + parameters["by"], (xt, a_prev, a, parameters)


def lstm_cell_backward(da, cache):
    xt, a_prev, a, parameters = cache
    dz = da * (1 - a**2)
    d = parameters["Wf"].T @ dz
    n = len(a_prev)
    dW = FACTOR * dz @ np.concatenate([a_prev, xt]).T
    return {"dxt": d[n:], "da_prev": d[:n], "dWf": dW, "dbf": dz.sum(1, keepdims=True)}


def mlp_forward(x, params):
    h = np.tanh(x @ params["W1"] + params["b1"])
    return hidden(h, params), (x, h, params)


def hidden(h, params):
    return h @ params["W2"]


def mlp_backward(dout, cache):
    x, h, params = cache
    dz = dout @ params["W2"].T * (1 - h**2)
    return dz @ params["W1"].T, {"W1": FACTOR * x.T @ dz, "b1": dz.sum(0), "W2": h.T @ dout}
"""


@pytest.mark.parametrize("factor", ["1", "2"])
def test_a_dict_of_parameters_that_nothing_makes_is_made_by_the_entries_that_are_read(factor):
    specs = [probe(candidate).spec for candidate in candidates(_module(CELLS.replace("FACTOR", factor)), [])]
    assert [spec.name for spec in specs] == ["lstm_cell", "mlp"]
    assert [check_spec(spec, examples=1, only=("gradient",)).ok for spec in specs] == [factor == "1"] * 2


MERGES = """
import numpy as np


class Dot:
    def forward(self, inputs):
        self.a, self.b = inputs
        return (self.a * self.b).sum(-1)

    def backward(self, g):
        return [FACTOR * g[:, None] * self.b, g[:, None] * self.a]


class Add:
    def forward(self, xs: list):
        self.n = len(xs)
        return sum(xs[1:], xs[0])

    def backward(self, g):
        return [FACTOR * g] * self.n


class CrossEntropy:
    def loss(self, y, p):
        p = np.clip(p, 1e-15, 1 - 1e-15)
        return -y * np.log(p) - (1 - y) * np.log(1 - p)

    def gradient(self, y, p):
        p = np.clip(p, 1e-15, 1 - 1e-15)
        return FACTOR * (-(y / p) + (1 - y) / (1 - p))
"""


@pytest.mark.parametrize("factor", ["1", "2"])
def test_layers_of_a_list_and_losses_of_probabilities_called_p_are_found(factor):
    specs = [probe(candidate).spec for candidate in candidates(_module(MERGES.replace("FACTOR", factor)), [])]
    assert [spec.name for spec in specs] == ["Dot", "Add", "CrossEntropy"]
    assert [check_spec(spec, examples=2, only=("gradient",)).ok for spec in specs] == [factor == "1"] * 3


def test_a_function_of_autograd_that_another_changes_is_found_too():
    source = """
import torch

class Doubles(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return 2 * x
    @staticmethod
    def backward(ctx, g): return 2 * g

class Wrong(Doubles):
    @staticmethod
    def backward(ctx, g): return g
"""
    assert [c.name for c in candidates(_module(source), [])] == ["Doubles", "Wrong"]


INITIALIZED = """
import numpy as np


class SGD:
    def __init__(self, learning_rate=0.01):
        self.learning_rate = learning_rate

    def update(self, w, g):
        return w - self.learning_rate * g


class Dense:
    def __init__(self, n_units, input_shape=None):
        self.n_units, self.input_shape = n_units, input_shape

    def set_input_shape(self, shape):
        self.input_shape = shape

    def initialize(self, optimizer):
        self.optimizer = optimizer
        self.W = np.random.randn(*self.input_shape, self.n_units)

    def forward_pass(self, X, training=True):
        self.X = X
        return X @ self.W

    def backward_pass(self, accum_grad):
        dX = accum_grad @ self.W.T
        self.W = self.optimizer.update(self.W, FACTOR * self.X.T @ accum_grad)
        return dX
"""


@pytest.mark.parametrize("asked", ["learning_rate=0.01", "learning_rate=0.01, **kwargs"])
@pytest.mark.parametrize("factor", ["1", "2"])
def test_a_layer_that_is_told_its_shape_and_given_an_optimizer_is_made_so(factor, asked):
    source = INITIALIZED.replace("FACTOR", factor).replace("learning_rate=0.01", asked)
    (found,) = candidates(_module(source), [])
    assert check_spec(probe(found).spec, examples=2, only=("gradient",)).ok is (factor == "1")


MADE_BY_EXEC = """
class Base:
    def forward(self, x): return x * 2
    def backward(self, dy): return dy * 2


class Doubles(Base):
    pass


names = {}
exec("def shown(self): return 'twice'", {}, names)  # its module is None
Base.shown = names["shown"]
"""


def test_a_method_of_no_module_is_no_stub():
    assert [c.name for c in candidates(_module(MADE_BY_EXEC), [])] == ["Base", "Doubles"]
