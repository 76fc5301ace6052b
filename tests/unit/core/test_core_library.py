"""Whether a layer is handed tensors or arrays, where its own code names no library."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck
from harness.tensors.library import imported_beside, library_of, meant_for

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

    def forward(*inputs):
        assert set(map(type, inputs)) == {torch.Tensor}
        return pair("import numpy as np")[0](*inputs)

    gradcheck((forward, lambda v, cache: (v * cache[1], v * cache[0])), A, W)


def test_what_the_code_names_is_told():
    def forward(x):
        return np.sin(x)

    assert library_of(forward) == "numpy"


class Masked:
    """m x, in a module that imports both libraries, by methods that tensors have or arrays have."""

    def __init__(self, cast: str, factor: float = 1.0) -> None:
        self.cast, self.factor = cast, factor

    def forward(self, x, m):
        self.m = getattr(m, self.cast)(x.dtype)
        return x * self.m

    def backward(self, d):
        return self.factor * d * self.m


@pytest.mark.parametrize("cast", ["to", "astype"])
@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1.5, Outcome.FAIL)])
def test_inputs_are_of_one_library_where_the_code_names_neither(cast, factor, outcome):
    mask = lambda B, D, rng: rng.random((B, D)) < 0.6  # noqa: E731
    spec = LayerSpec(build=lambda: Masked(cast, factor), inputs=("B D", mask), name="Masked")
    (result,) = check(spec, examples=4, only=("input_gradient",)).results
    assert result.outcome is outcome, result.reason


class Squares:
    """(p − y)² averaged, in code that names neither library: `size` is a number of arrays and a method of tensors."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, p, y):
        self.p, self.y = p, y
        return ((p - y) ** 2).mean()

    def backward(self):
        return self.factor * (self.p - self.y) / self.p.size


@pytest.mark.parametrize(("factor", "outcome"), [(2.0, Outcome.PASS), (1.0, Outcome.FAIL)])
def test_arrays_are_tried_where_backward_raises_with_tensors(factor, outcome):
    spec = LayerSpec(lambda: Squares(factor), ("B D", lambda B, D, rng: rng.normal(size=(B, D))), name="Squares")
    (result,) = check(spec, examples=4, only=("input_gradient",)).results
    assert result.outcome is outcome, result.reason


class Standardised:
    """Rows over their deviations, by NumPy's keywords in a module that imports both libraries: `var` divides by n there, and
    by n − 1 in torch, which takes these keywords too."""

    def __init__(self, n: int = 0) -> None:
        self.less = n

    def forward(self, x):
        self.c = x - x.mean(axis=1, keepdims=True)
        self.s = (x.var(axis=1, keepdims=True) + 1e-5) ** 0.5
        return self.c / self.s

    def backward(self, d):
        n = d.shape[1] - self.less
        g = d / self.s - self.c * (d * self.c).sum(axis=1, keepdims=True) / (n * self.s**3)
        return g - g.mean(axis=1, keepdims=True)


class StandardisedInTorch(Standardised):
    def forward(self, x):
        self.c = x - x.mean(1, keepdim=True)
        self.s = (x.var(1, keepdim=True) + 1e-5) ** 0.5
        return self.c / self.s

    def backward(self, d):
        g = d / self.s - self.c * (d * self.c).sum(1, keepdim=True) / ((d.shape[1] - self.less) * self.s**3)
        return g - g.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("layer", "less", "right"),
    [
        (Standardised, 0, True),
        (Standardised, 1, False),
        (StandardisedInTorch, 1, True),
        (StandardisedInTorch, 0, False),
    ],
)
def test_code_that_names_neither_library_is_judged_in_the_one_whose_keywords_it_uses(layer, less, right):
    spec = LayerSpec(lambda: layer(less), "B D", dims={"D": range(2, 7)})
    assert bool(check(spec, examples=6, only="input_gradient")) is right
    assert meant_for(layer) == ("numpy" if layer is Standardised else "torch")


class DrawnWithNumpy:
    """Torch under NumPy's keywords, beside a W that NumPy has drawn."""

    def __init__(self, D, factor=1.0):
        self.W = torch.tensor(np.random.default_rng(0).standard_normal((D, D)))
        self.factor = factor

    def forward(self, x):
        self.x = x
        return torch.tanh(x @ self.W).sum(axis=-1, keepdims=True)

    def backward(self, g):
        δ = g * (1 - torch.tanh(self.x @ self.W) ** 2)
        self.dW = self.factor * self.x.T @ δ
        return δ @ self.W.T


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_torch_under_numpys_keywords_is_handed_tensors(factor):
    spec = LayerSpec(lambda D: DrawnWithNumpy(D, factor), "B D")
    report = check(spec, examples=6, only="parameter_gradient")
    assert report.results[0].outcome is (Outcome.PASS if factor == 1 else Outcome.FAIL)
