"""Whether a layer is handed tensors or arrays, where its own code names no library."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from harness import LayerSpec, check, gradcheck
from harness.arrays import imported_beside, library_of

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
def test_what_its_module_imports_is_told(pair, imports, library):
    assert imported_beside(pair(imports)) == library
    assert library_of(pair(imports)) is None


@pytest.mark.parametrize(("factor", "right"), [(1, True), (2, False)])
def test_such_a_pair_is_judged_in_numpy(pair, factor, right):
    report = check(
        LayerSpec(pair("import numpy as np", factor), inputs=("D B", "M D")), examples=3, only="input_gradient"
    )
    assert report.ok is right
    assert bool(report.failures) is not right


def test_tensors_that_are_given_stay_tensors(pair):
    A, W = torch.randn(4, generator=torch.Generator().manual_seed(0)), torch.ones(4)
    seen = []

    def forward(*inputs):
        seen.extend(map(type, inputs))
        return pair("import numpy as np")[0](*inputs)

    gradcheck((forward, lambda v, cache: (v * cache[1], v * cache[0])), A, W)
    assert set(seen) == {torch.Tensor}


def test_what_the_code_names_is_told():
    def forward(x):
        return np.sin(x)

    assert library_of(forward) == "numpy"
