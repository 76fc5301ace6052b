"""Backward in lower precisions: what rounding explains passes, what it can't explain fails."""

import numpy as np
import pytest
import torch
from specs import SPECS
from subjects import spec_with

from harness import LayerSpec, Outcome, check, floats, gradcheck
from harness.faults import Fault, regraded

TERMS = 4096
DTYPES = ("float32", "bfloat16", "float16")


class Affine:
    """z W; dW = Σ_b z_b δ_b, its 4 096 terms summed in a way of its own."""

    def __init__(self, add) -> None:
        self.W, self.add = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), add
        self.dW = torch.zeros_like(self.W)

    def forward(self, z):
        self.z = z
        return z @ self.W

    def backward(self, d):
        self.dW = self.add(self.z[:, :, None] * d[:, None, :])
        return d @ self.W.T


def sequentially(terms):
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def in_float32(terms):
    return terms.float().sum(0).to(terms.dtype) if terms.dtype != torch.float64 else terms.sum(0)


def in_chunks(terms):
    return sequentially([sequentially(chunk) for chunk in terms.split(64)])


def outcomes(layer, *inputs, seed=0):
    report = gradcheck(layer, *inputs, battery=True, seed=seed, raise_exception=False)
    return {r.check: r for r in report.results if r.check in (*DTYPES, "input_gradient", "parameter_gradient")}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("add", "outcome"), [(sequentially, Outcome.FAIL), (in_float32, Outcome.PASS), (in_chunks, Outcome.PASS)]
)
def test_signed_terms_summed_in_bfloat16(add, outcome: Outcome, seed: int):
    z = torch.randn(TERMS, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = outcomes(Affine(add), z, seed=seed)
    assert found["bfloat16"].outcome is outcome, found["bfloat16"].reason
    assert found["parameter_gradient"].outcome is Outcome.PASS
    if outcome is Outcome.FAIL:
        assert "rounding explains" in found["bfloat16"].reason


@pytest.mark.parametrize("factor", [1 + 1e-4, 2.0, -1.0, 0.0])
def test_a_backward_wrong_only_in_float32(factor: float):
    def change(g, x):
        return g * factor if g.dtype == torch.float32 else g

    for name in ("Linear", "InstanceNorm", "Tanh"):
        spec = spec_with(name, Fault("in_float32", "float32", regraded("input", change)))
        report = check(spec, examples=8, only=("float32", "bfloat16", "input_gradient"))
        assert {r.outcome for r in report.results if r.check == "float32"} == {Outcome.FAIL}
        assert {r.outcome for r in report.results if r.check != "float32"} == {Outcome.PASS}


def test_a_backward_wrong_only_in_sixteen_bits():
    def change(g, x):
        return g * 2.0 if g.dtype.itemsize == 2 else g

    spec = spec_with("Linear", Fault("in_16_bits", "bfloat16", regraded("parameter", change), "parameter"))
    report = check(spec, examples=8, only=DTYPES)
    assert {r.outcome for r in report.results if r.check == "float32"} == {Outcome.PASS}
    assert {r.outcome for r in report.results if r.check != "float32"} == {Outcome.FAIL}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("k", range(len(SPECS)))
def test_right_layers_pass(k: int, seed: int):
    report = check(SPECS[k], examples=25, seed=seed, only=DTYPES)
    assert not [r for r in report.results if r.outcome not in (Outcome.PASS, Outcome.SKIP)], str(report)


class Elementwise:
    """f with the derivative g of the input and the output."""

    def __init__(self, f, g) -> None:
        self.f, self.g = f, g

    def forward(self, x):
        self.x = x
        self.y = self.f(x)
        return self.y

    def backward(self, d):
        return d * self.g(self.x, self.y)


class RowSoftmax:
    def forward(self, x):
        e = (x - x.amax(1, keepdim=True)).exp()
        self.p = e / e.sum(1, keepdim=True)
        return self.p

    def backward(self, d):
        return self.p * (d - (d * self.p).sum(1, keepdim=True))


class RowNorm:
    def forward(self, x):
        c = x - x.mean(1, keepdim=True)
        self.r = (c.square().mean(1, keepdim=True) + 1e-5).rsqrt()
        self.n = c * self.r
        return self.n

    def backward(self, d):
        return self.r * (d - d.mean(1, keepdim=True) - self.n * (d * self.n).mean(1, keepdim=True))


class RowMax:
    def forward(self, x):
        self.x, self.m = x, x.amax(1, keepdim=True)
        return self.m

    def backward(self, d):
        hit = (self.x == self.m).to(d)
        return d * hit / hit.sum(1, keepdim=True)


class Rectified:
    """relu(x W), whose argument rounding may put on the other side of zero."""

    def __init__(self) -> None:
        self.W = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def forward(self, x):
        self.x, self.z = x, x @ self.W
        return self.z.clamp_min(0)

    def backward(self, d):
        dz = d * (self.z > 0)
        self.dW = self.x.T @ dz
        return dz @ self.W.T


class NumpyNorm:
    """Nothing but the layer itself in float64 vouches for it."""

    def forward(self, x):
        c = x - x.mean(1, keepdims=True)
        self.r = (1 / np.sqrt((c * c).mean(1, keepdims=True) + 1e-5)).astype(x.dtype)
        self.n = c * self.r
        return self.n

    def backward(self, d):
        return self.r * (d - d.mean(1, keepdims=True) - self.n * (d * self.n).mean(1, keepdims=True))


class NumpyTanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, d):
        return d * (1 - self.y * self.y)


RIGHT = {
    "numpy_norm": NumpyNorm,
    "numpy_tanh": NumpyTanh,
    "tanh": lambda: Elementwise(torch.tanh, lambda x, y: 1 - y * y),
    "sigmoid": lambda: Elementwise(lambda x: 1 / (1 + (-x).exp()), lambda x, y: y * (1 - y)),
    "relu": lambda: Elementwise(torch.relu, lambda x, y: (x > 0).to(x)),
    "abs": lambda: Elementwise(torch.abs, lambda x, y: x.sign()),
    "square": lambda: Elementwise(torch.square, lambda x, y: 2 * x),
    "softmax": RowSoftmax,
    "norm": RowNorm,
    "max": RowMax,
    "rectified": Rectified,
}
X = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
FAMILIES = {
    "unit": X,
    "1e-6": 1e-6 * X,
    "1e6": 1e6 * X,
    "shifted": 1e3 + X,
    "saturated": 12 * X,
    "logits": 50 * X.sign() + X,
    "near_constant": 1 + 1e-4 * X,
    "zeros": X * (X > 0),
    "integers": X.round(),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", RIGHT)
def test_right_layers_at_awkward_inputs_never_fail(layer: str, family: str):
    x = FAMILIES[family]
    found = outcomes(RIGHT[layer](), x.numpy() if layer.startswith("numpy") else x)
    assert not [str(r) for r in found.values() if r.outcome in (Outcome.FAIL, Outcome.ERROR)]


def test_a_spec_judged_in_float32_has_nothing_lower_left_in_it():
    spec = LayerSpec(
        build=SPECS[0].build, inputs="B D_in", dims={"D_out": range(1, 4)}, name="Narrow", dtypes=("float32",)
    )
    report = check(spec, examples=6, only=(*DTYPES, "input_gradient"))
    assert {r.outcome for r in report.results if r.check == "float32"} == {Outcome.SKIP}
    assert {r.outcome for r in report.results if r.check != "float32"} == {Outcome.PASS}


class Cauchy:
    """y = 1/(1 + x²), with x² in the forward or without; backward takes x² in any case, which float16 has up to x = 256."""

    def __init__(self, squared: bool) -> None:
        self.squared = squared

    def forward(self, x):
        self.x = x
        self.y = 1 / (1 + x * x) if self.squared else 1 / x / (1 / x + x)
        return self.y

    def backward(self, d):
        return -2 * d * self.y**2 * (self.x * self.x) / self.x


@pytest.mark.parametrize("squared", [True, False])
def test_what_leaves_the_range_of_float16_is_not_for_float16(squared: bool):
    found = outcomes(Cauchy(squared), torch.tensor([[0.5, 3.0], [1.0, 300.0]], dtype=torch.float64))
    assert found["float16"].outcome is Outcome.SKIP, found["float16"].reason
    assert found["float32"].outcome is found["input_gradient"].outcome is Outcome.PASS


@pytest.mark.parametrize(("promises", "outcome"), [((), Outcome.SKIP), (("stable",), Outcome.FAIL)])
def test_what_leaves_it_in_backward_alone_is_a_fault_of_what_is_promised_to_be_stable(promises, outcome):
    far = floats("B D", low=260, high=300)
    report = check(
        LayerSpec(lambda: Cauchy(False), far, name="Cauchy", promises=promises), examples=6, only=("float16",)
    )
    assert [r.outcome for r in report.results] == [outcome]
