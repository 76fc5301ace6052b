"""Whether a layer is handed tensors or arrays, where its own code names no library."""

import sys
from types import ModuleType

import numpy as np
import pytest

from harness import LayerSpec, check
from harness.arrays import library_of

CODE = """
{imports}

def columns_forward(A, W):
    return W.dot(A), (A, W)

def columns_backward(dZ, cache):
    A, W = cache
    return W.T.dot(dZ), {factor} * dZ.dot(A.T)
"""


@pytest.fixture
def pair(monkeypatch):
    def made(imports, factor=1):
        module = ModuleType("columns_alone")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(CODE.format(imports=imports, factor=factor), vars(module))
        return module.columns_forward, module.columns_backward

    return made


@pytest.mark.parametrize(
    ("imports", "library"),
    [
        ("import numpy", "numpy"),
        ("import numpy as np", "numpy"),
        ("import torch", "torch"),
        ("import torch, numpy", None),
        ("", None),
    ],
)
def test_what_its_module_imports_decides(pair, imports, library):
    assert library_of(pair(imports)) == library


@pytest.mark.parametrize(("factor", "right"), [(1, True), (2, False)])
def test_such_a_pair_is_judged_in_numpy(pair, factor, right):
    report = check(
        LayerSpec(pair("import numpy as np", factor), inputs=("D B", "M D")), examples=3, only="input_gradient"
    )
    assert report.ok is right
    assert bool(report.failures) is not right


def test_what_the_code_names_comes_first():
    def forward(x):
        return np.sin(x)

    assert library_of(forward) == "numpy"
