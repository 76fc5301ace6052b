"""The script of a finding runs on its own and prints two numbers that differ, in every convention."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import core_layers as layers
import pytest
import torch

from harness import LayerSpec, check, gradcheck

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
        before, text = text, text.replace(f"{old}(...)  # fill in its arguments", new)
        assert text != before, f"{old} is not left to fill in"
    assert "..." not in text, text
    assert "fill in" not in text
    return text


def numbers(folder: Path, *scripts: str) -> list[tuple[float, float]]:
    """What the scripts print, each run in a process that knows no harness and no test but the layers."""
    found = []
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    (folder / "core_layers.py").write_text((HERE / "core_layers.py").read_text(encoding="utf-8"), encoding="utf-8")
    program = "\n".join(f"exec(compile({text!r}, 'script{k}', 'exec'), {{}})" for k, text in enumerate(scripts))
    (folder / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-W", "error", "program.py"]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found = [(float(a), float(b)) for a, b in PRINTED.findall(run.stdout)]
    assert len(found) == len(scripts), run.stdout
    return found


def numpy(*tensors: torch.Tensor) -> list[Any]:
    return [t.numpy() for t in tensors]


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
    "loss": (layers.SoftmaxWithoutMean(), [X, LABELS], {"SoftmaxWithoutMean": "SoftmaxWithoutMean()"}),
    "drawn parameters": (
        layers.LayerNormWithoutGamma(3),
        [X],
        {"LayerNormWithoutGamma": "LayerNormWithoutGamma(3)"},
    ),
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, tuple[float, float]]:
    texts = {n: filled(script(layer, *inputs), **fill) for n, (layer, inputs, fill) in SCRIPTS.items()}
    return dict(zip(texts, numbers(tmp_path_factory.mktemp("scripts"), *texts.values()), strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_prints_two_numbers_that_differ(printed, name):
    analytic, numeric = printed[name]
    assert abs(analytic - numeric) > 1e-3 * abs(numeric)


@pytest.mark.parametrize("name", SCRIPTS)
def test_numbers_are_those_of_the_finding(printed, name):
    layer, inputs, _ = SCRIPTS[name]
    finding = gradcheck(layer, *inputs, raise_exception=False).failures[0].finding
    analytic, numeric = printed[name]
    assert analytic == pytest.approx(finding.analytic, rel=1e-7)
    assert numeric == pytest.approx(finding.expected, rel=1e-5, abs=1e-7)


def test_only_constructor_arguments_are_left_to_fill():
    for layer, inputs, fill in SCRIPTS.values():
        assert script(layer, *inputs).count("fill in") == len(fill)


def test_script_names_neither_harness_nor_test():
    for layer, inputs, _ in SCRIPTS.values():
        text = script(layer, *inputs)
        assert "harness" not in text
        assert "test_core" not in text


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


def test_lambda_leaves_a_line():
    text = script(lambda x, w: layers.WrongCubic.apply(x, w) + 0, X, X + 1)
    assert text.count("fill in") == 1


@pytest.mark.xfail(strict=True, reason="a module comes without a script")
def test_module_has_a_script():
    assert script(layers.WrongCubicModule(3), X)


def test_random_layer_is_replayed(tmp_path):
    report = gradcheck(layers.WrongNoise(), X, mode="train", raise_exception=False)
    text = filled(report.failures[0].finding.reproduce, WrongNoise="WrongNoise()")
    ((analytic, numeric),) = numbers(tmp_path, text)
    assert analytic == pytest.approx(2 * numeric, rel=1e-6)


def test_large_tensor_is_drawn_and_said(tmp_path):
    x = torch.randn(9, 9, dtype=F64, generator=torch.Generator().manual_seed(0))
    text = script(layers.WrongCubic, x, x + 1)
    assert "too large to write out, drawn from a fixed seed instead; the numbers will differ" in text
    ((analytic, numeric),) = numbers(tmp_path, filled(text))
    assert abs(analytic - numeric) > 1e-3 * abs(numeric)


def test_example_of_a_spec_is_named():
    spec = LayerSpec(build=layers.WrongDictLinear, inputs="B D_in", dims={"D_out": [2]})
    finding = check(spec, examples=4, only=("parameter_gradient",)).failures[0].finding
    assert f"# {finding.example}" in finding.reproduce


def test_mode_and_buffers_are_set(tmp_path):
    spec = LayerSpec(build=layers.WrongInEval, inputs="B 3")
    finding = check(spec, examples=4, only=("input_gradient",)).failures[0].finding
    text = filled(finding.reproduce, WrongInEval="WrongInEval(3)")
    ((analytic, numeric),) = numbers(tmp_path, text)
    assert analytic == pytest.approx(2 * numeric, rel=1e-6)
