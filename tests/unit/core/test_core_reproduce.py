"""The script of a finding runs on its own and prints two numbers that differ, in every convention."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import core_layers as layers
import drawing_layers as drawing
import pytest
import torch

from harness import Finding, LayerSpec, check, gradcheck

HERE = Path(__file__).parent
F64 = torch.float64
X = torch.randn(4, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
W = torch.randn(3, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
B = torch.randn(2, dtype=F64, generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([0, 2, 1, 1])

PRINTED = re.compile(r"backward (\S+), central difference (\S+)")


def script(layer: Any, *inputs: Any, **more: Any) -> str:
    report = gradcheck(layer, *inputs, raise_exception=False, **more)
    return report.failures[0].finding.reproduce


def filled(text: str, **lines: str) -> str:
    """The script with what it leaves open filled in, and that nothing else is open."""
    for old, new in lines.items():
        text = text.replace(f"{old}(...)  # fill in its arguments", new)
        assert re.search(rf"= {old}\((?!\.\.\.)", text), f"{old} is made otherwise than as {new}"
    assert "..." not in text, text
    assert "fill in" not in text
    return text


PROGRAM = """
import traceback
for name in {names!r}:
    try:
        exec(compile(open(name).read(), name, "exec"), {{}})
    except Exception:
        print("raised", traceback.format_exc().replace(chr(10), " | "))
"""


def numbers(folder: Path, *scripts: str) -> list[Any]:
    """What the scripts print, all run in one process that knows no harness and no test but the layers."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("core_layers.py", "drawing_layers.py"):
        (folder / name).write_text((HERE / name).read_text(encoding="utf-8"), encoding="utf-8")
    names = [f"script{k}.py" for k in range(len(scripts))]
    for name, text in zip(names, scripts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-c", PROGRAM.format(names=names)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == len(scripts), run.stdout
    return [(float(m[1]), float(m[2])) if (m := PRINTED.search(line)) else line for line in lines]


def numpy(*tensors: torch.Tensor) -> list[Any]:
    return [t.numpy() for t in tensors]


MODES = {"train": {"is_train": True}, "eval": {"is_train": False}}

# name: (wrong layer, inputs, what is to be filled in)
SCRIPTS: dict[str, tuple[Any, list[Any], dict[str, str]]] = {
    "dicts": (layers.WrongDictLinear(3, 2), [X], {"WrongDictLinear": "WrongDictLinear(3, 2)"}),
    "dicts in NumPy": (layers.WrongNumpyDictLinear(), numpy(X), {"WrongNumpyDictLinear": "WrongNumpyDictLinear()"}),
    "attributes": (layers.WrongAttributeLinear(), [X], {"WrongAttributeLinear": "WrongAttributeLinear()"}),
    "attributes in NumPy": (layers.WrongNumpyLinear(), numpy(X), {"WrongNumpyLinear": "WrongNumpyLinear()"}),
    "pair": ((layers.affine_forward, layers.wrong_affine_backward), [X, W, B], {}),
    "pair in NumPy": ((layers.numpy_affine_forward, layers.wrong_affine_backward), numpy(X, W, B), {}),
    "Function": (layers.WrongCubic, [X, X + 1], {}),
    "closure": (layers.wrong_closure, [X, W], {}),
    "closure in NumPy": (layers.wrong_numpy_closure, numpy(X, W), {}),
    "callable": (layers.call_wrong_cubic, [X, X + 1], {}),
    "operator": (layers.wrong_square, [X, X + 1], {}),
    "operator by its name": (torch.ops.core_layers.wrong_square, [X, X + 1], {}),
    "overload of an operator": (torch.ops.core_layers.wrong_square.default, [X, X + 1], {}),
    "loss": (layers.SoftmaxWithoutMean(), [X, LABELS], {"SoftmaxWithoutMean": "SoftmaxWithoutMean()"}),
    "drawn parameters": (
        layers.LayerNormWithoutGamma(3),
        [X],
        {"LayerNormWithoutGamma": "LayerNormWithoutGamma(3)"},
    ),
    "number": (layers.WrongSlope(), [X], {"WrongSlope": "WrongSlope()"}),
    "gradients by name": (layers.WrongNamed(), [X, X + 1], {"WrongNamed": "WrongNamed()"}),
    "composition": (layers.WrongComposed(), [X], {"WrongComposed": "WrongComposed()"}),
    "arguments": (layers.WrongPower(), [X, 3, 0.5], {"WrongPower": "WrongPower()"}),
}


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    reports = {n: gradcheck(layer, *inputs, raise_exception=False) for n, (layer, inputs, _) in SCRIPTS.items()}
    return {n: report.failures[0].finding for n, report in reports.items()}


@pytest.fixture(scope="module")
def printed(findings, tmp_path_factory) -> dict[str, Any]:
    texts = {n: filled(findings[n].reproduce, **fill) for n, (_, _, fill) in SCRIPTS.items()}
    return dict(zip(texts, numbers(tmp_path_factory.mktemp("scripts"), *texts.values()), strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_prints_two_numbers_that_differ(printed, name):
    analytic, numeric = printed[name]
    assert abs(analytic - numeric) > 1e-3 * abs(numeric)


@pytest.mark.parametrize("name", SCRIPTS)
def test_numbers_are_those_of_the_finding(findings, printed, name):
    finding = findings[name]
    analytic, numeric = printed[name]
    assert analytic == pytest.approx(finding.analytic, rel=1e-7)
    assert numeric == pytest.approx(finding.expected, rel=1e-5, abs=1e-7)


def test_only_constructor_arguments_are_left_to_fill(findings):
    for name, (_, _, fill) in SCRIPTS.items():
        # a constructor that takes no arguments is called
        open_ = [made for made in fill if inspect.signature(getattr(layers, made)).parameters]
        assert findings[name].reproduce.count("fill in") == len(open_)


def test_script_names_neither_harness_nor_test(findings):
    for finding in findings.values():
        assert "harness" not in finding.reproduce
        assert "test_core" not in finding.reproduce


def test_layer_that_cannot_be_imported_leaves_one_line():
    class Local(layers.WrongAttributeLinear):
        pass

    text = script(Local(), X)
    assert text.count("fill in") == 1
    assert "layer = ...  # fill in: a Local" in text


def test_local_functions_leave_a_line_each():
    def forward(x):
        return x * 1.0, None

    text = script((forward, lambda d, c: 2 * d), X)
    assert "forward_ = ...  # fill in: forward, which can't be imported by name" in text
    assert "backward_ = ...  # fill in: backward, which can't be imported by name" in text


def test_functions_of_a_script_or_notebook_go_by_their_names(monkeypatch):
    pair = layers.affine_forward, layers.wrong_affine_backward
    for function in pair:
        monkeypatch.setattr(function, "__module__", "__main__")
    text = script(pair, X, torch.ones(3, 2, dtype=X.dtype), torch.ones(2, dtype=X.dtype))
    assert "forward_ = ...  # fill in: affine_forward, which can't be imported by name" in text
    assert "backward_ = ...  # fill in: wrong_affine_backward, which can't be imported by name" in text


def test_lambda_leaves_a_line():
    text = script(lambda x, w: layers.WrongCubic.apply(x, w) + 0, X, X + 1)
    assert text.count("fill in") == 1


def test_module_has_a_script():
    assert script(layers.WrongCubicModule(3), X)


def test_example_of_a_spec_is_named():
    spec = LayerSpec(build=layers.WrongDictLinear, inputs="B D_in", dims={"D_out": [2]})
    finding = check(spec, examples=4, only=("parameter_gradient",)).failures[0].finding
    assert f"# {finding.example}" in finding.reproduce


# What a script is given beside the inputs


@pytest.fixture(scope="module")
def printed_of_specs(tmp_path_factory) -> dict[str, Any]:
    of_eval = LayerSpec(build=layers.WrongInEval, inputs="B 3")
    switched = LayerSpec(build=layers.WrongSwitched, inputs="B D", modes=MODES)
    written = LayerSpec(build="layers.WrongDictLinear(D_in, D_out=1 + 1)", inputs="B D_in")
    weights = check(written, examples=3, only=("parameter_gradient",)).failures[0].finding
    found = {n: check(s, examples=3, only=("input_gradient",)) for n, s in (("eval", of_eval), ("keyword", switched))}
    texts = {
        "eval": filled(found["eval"].failures[0].finding.reproduce, WrongInEval="WrongInEval(3)"),
        "keyword": filled(found["keyword"].failures[0].finding.reproduce, WrongSwitched="WrongSwitched()"),
        "kwargs": filled(script(layers.WrongPower(), X, kwargs={"power": 3, "scale": 0.5}), WrongPower="WrongPower()"),
        "written": filled(weights.reproduce),
        "noise": filled(script(layers.WrongNoise(), X, mode="train"), WrongNoise="WrongNoise()"),
        "large": filled(script(layers.WrongCubic, LARGE, LARGE + 1)),
    }
    return dict(zip(texts, numbers(tmp_path_factory.mktemp("specs"), *texts.values()), strict=True))


# Generators stand where the script reaches them, and arguments of constructors are written out

DRAWN: dict[str, tuple[Any, list[Any]]] = {
    "global": ((drawing.masked_by_global, drawing.twice), numpy(X)),
    "two globals": ((drawing.masked_by_two, drawing.twice), numpy(X)),
    "default": ((drawing.masked_by_default, drawing.twice), numpy(X)),
    "function that a closure calls": (drawing.closure, [X]),
    "of Python": (drawing.entry_by_entry, numpy(X)),
    "Function": (drawing.Masked, [X]),
    "apply": (drawing.Masked.apply, [X]),
    "callable": (drawing.call_masked, [X]),
    "partial": (drawing.bound, [X]),
    "module": (drawing.Module(), [X]),
    "in a dict of an object": (drawing.Held(), numpy(X)),
    "of the class": (drawing.OfClass(), numpy(X)),
    "infinite entries": (drawing.Causal(), [X]),
}
MADE = {
    "generator given": LayerSpec(drawing.Given, "B D", options={"p": (0.3,)}),
    "rng given": LayerSpec(drawing.GivenNumpy, "B D"),
    "rng in words": LayerSpec("drawing.GivenNumpy(rng)", "B D"),
    "arrays": LayerSpec("drawing.Affine(rng.normal(size=(D, 3)), rng.normal(size=3))", "B D"),
    "tensors": LayerSpec("drawing.Affine(torch.ones(D, 2), torch.zeros(2))", "B D"),
}


@pytest.fixture(scope="module")
def printed_of_drawn(tmp_path_factory) -> dict[str, Any]:
    texts = {n: script(layer, *inputs) for n, (layer, inputs) in DRAWN.items()}
    filled_in = "from drawing_layers import bound\nfunction = bound"
    texts["partial"] = re.sub(r"^function = \.\.\..*$", filled_in, texts["partial"], flags=re.MULTILINE)
    found = {n: check(s, examples=3, only=("gradient",)).failures[0].finding for n, s in MADE.items()}
    texts |= {n: finding.reproduce for n, finding in found.items()}
    assert [n for n, text in texts.items() if "..." in text or "fill in" in text] == []
    return dict(zip(texts, numbers(tmp_path_factory.mktemp("drawn"), *texts.values()), strict=True))


@pytest.mark.parametrize("name", [*DRAWN, *MADE])
def test_what_is_drawn_is_drawn_again(printed_of_drawn, name):
    analytic, numeric = printed_of_drawn[name]
    assert analytic == pytest.approx(2 * numeric, rel=1e-6)


LARGE = torch.randn(9, 9, dtype=F64, generator=torch.Generator().manual_seed(0))


def test_a_build_that_is_written_out_leaves_nothing_to_fill(printed_of_specs):
    analytic, numeric = printed_of_specs["written"]
    assert abs(analytic - numeric) > 1e-3 * abs(numeric)


@pytest.mark.parametrize("what", ["eval", "noise", "keyword", "kwargs"])
def test_modes_with_buffers_random_draws_modes_by_keyword_and_keywords_are_those_of_the_check(printed_of_specs, what):
    analytic, numeric = printed_of_specs[what]
    assert analytic == pytest.approx(2 * numeric, rel=1e-6)


def test_large_tensor_is_drawn_and_said(printed_of_specs):
    assert "too large to write out, drawn from a fixed seed" in script(layers.WrongCubic, LARGE, LARGE + 1)
    analytic, numeric = printed_of_specs["large"]
    assert abs(analytic - numeric) > 1e-3 * abs(numeric)
