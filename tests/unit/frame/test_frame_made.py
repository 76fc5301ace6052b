"""Layers without a spec that are made of layers, of settings, or hold sizes that no word says."""

import pytest

from harness.targets.candidates import candidates
from harness.targets.find import load
from harness.targets.probe import probe

LAYERS = """
import numpy as np

class Conv:
    def __init__(self, in_channels, out_channels, kernel_size=3):
        self.k, self.W = kernel_size, np.random.randn(out_channels, in_channels, kernel_size)
    def columns(self, x):
        L = x.shape[2] - self.k + 1
        return np.stack([x[:, :, i:i + L] for i in range(self.k)], -1)
    def forward(self, x):
        self.x = x
        return np.einsum("bclk,ock->bol", self.columns(x), self.W)
    def backward(self, v):
        self.dW, dx = FACTOR * np.einsum("bclk,bol->ock", self.columns(self.x), v), np.zeros_like(self.x)
        for i in range(self.k):
            dx[:, :, i:i + v.shape[2]] += np.einsum("oc,bol->bcl", self.W[:, :, i], v)
        return dx

class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)
    def backward(self, v):
        return v.reshape(self.shape)

class Chain:
    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x
    def backward(self, v):
        for layer in self.layers[::-1]:
            v = layer.backward(v)
        return v

class Pile(Chain):
    def __init__(self, *layers): self.layers = layers

class Stack(Chain):
    def __init__(self, layers): self.layers = layers

class Net(Chain):
    def __init__(self): self.layers = [Conv(2, 3), Flatten(), Dense(3 * 6, 2)]

class Dense:
    def __init__(self, a=4, b=5): self.W = np.random.randn(a, b)
    def forward(self, x):
        self.x = x
        return x @ self.W
    def backward(self, v):
        self.dW = FACTOR * self.x.T @ v
        return v @ self.W.T

class Flat:
    def __init__(self, n_in=3, n_out=2): self.theta = np.random.randn(n_in * n_out)
    def forward(self, x):
        self.x = x
        return x @ self.theta.reshape(3, 2)
    def backward(self, v):
        self.dtheta = FACTOR * (self.x.T @ v).ravel()
        return v @ self.theta.reshape(3, 2).T

class Hidden:
    def __init__(self, hidden): self.W, self.U = np.random.randn(4, hidden), np.random.randn(hidden, 3)
    def forward(self, x):
        self.x = x
        return x @ self.W @ self.U
    def backward(self, v):
        self.dU, self.dW = (self.x @ self.W).T @ v, FACTOR * self.x.T @ (v @ self.U.T)
        return v @ self.U.T @ self.W.T

class Block:
    def __init__(self, cfg): self.W = np.random.randn(cfg.dim, cfg.inner) * cfg.scale
    def forward(self, x):
        self.x = x
        return x @ self.W
    def backward(self, v):
        self.dW = FACTOR * self.x.T @ v
        return v @ self.W.T

class Entries(Block):
    def __init__(self, config): self.W = np.random.randn(config["dim"], config["inner"])

class Attributes(Block):
    def __init__(self, config): self.W = np.random.randn(config.dim, config.inner)

class Heir(Attributes):
    pass

class Activation:
    def __init__(self, activation, activation_prime): self.f, self.df = activation, activation_prime
    def forward(self, x):
        self.x = x
        return self.f(x)
    def backward(self, v):
        return FACTOR * v * self.df(self.x)

class Given:
    def __init__(self, table): self.W = table["W"]
    forward, backward = Block.forward, Block.backward

given = Given({"W": np.random.randn(4, 3)})
"""
WORDS = {
    "Conv": ("Conv(in_channels, out_channels)", "B in_channels T"),
    "Flatten": ("Flatten()", "B D"),
    "Pile": ("Pile(Conv(in_channels, out_channels), Flatten())", "B in_channels T"),
    "Stack": ("Stack([Conv(in_channels, out_channels), Flatten()])", "B in_channels T"),
    "Net": ("Net()", "B 2 8"),
    "Dense": ("Dense()", "B 4"),
    "Flat": ("Flat()", "B 3"),
    "Hidden": ("Hidden(hidden)", "B 4"),
    "Block": ("Block(SimpleNamespace(dim=dim, inner=inner, scale=0.5))", "B dim"),
    "Entries": ("Entries({'dim': dim, 'inner': inner})", "B dim"),
    "Attributes": ("Attributes(SimpleNamespace(dim=dim, inner=inner))", "B dim"),
    "Heir": ("Heir(SimpleNamespace(dim=dim, inner=inner))", "B dim"),
    "Activation": ("Activation(np.tanh, (lambda x: 1 - np.tanh(x) ** 2))", "B D"),
    "Given": ("given", "B 4"),
    "Chain": ("Chain()", "…"),
}


@pytest.fixture
def made(folder):
    """A file with these layers, their gradients times a factor."""

    def write(factor=1):
        (folder / "made.py").write_text(LAYERS.replace("FACTOR", str(factor)))
        return load("made.py")[0]

    return write


def test_how_each_is_made_and_called_is_found(made):
    found = {c.name: probe(c).guess for c in candidates(made(), [])}
    assert {n: (g.build, *g.inputs) for n, g in found.items()} == WORDS


@pytest.mark.parametrize("name", [n for n in WORDS if n not in ("Flatten", "Chain")])
@pytest.mark.parametrize("factor", [1, 2])
def test_each_is_verified_so_and_its_wrong_twin_fails(check, made, name, factor):
    made(factor)
    build, *inputs = WORDS[name]
    assert check("made.py", "--build", build, "--inputs", *inputs, "--only", "gradient").status == factor - 1


ONE_ROW = """
import numpy as np

class Layer:
    def __init__(self, n_in, n_out): self.W, self.b = np.random.randn(n_in, n_out), np.zeros((1, n_out))
    def forward_propagation(self, x):
        self.x = x
        return x @ self.W + self.b
    def backward_propagation(self, v, learning_rate):
        dx = v @ self.W.T
        self.W -= learning_rate * FACTOR * self.x.T @ v
        self.b -= learning_rate * v
        return dx
"""


@pytest.mark.parametrize("factor", [1, 2])
def test_a_layer_of_one_example_is_given_one(check, folder, factor):
    (folder / "row.py").write_text(ONE_ROW.replace("FACTOR", str(factor)))
    answer = check("row.py", "--only", "gradient")
    assert answer.status == factor - 1
    assert "--build 'Layer(n_in, n_out)' --inputs '1 n_in'" in answer.out


OTHER_NAMES = """
import numpy as np
import torch

class Elu:
    def apply_activation(self, X): return np.where(X > 0, X, np.exp(np.minimum(X, 0)) - 1)
    def compute_derivative(self, X): return FACTOR * np.where(X > 0, 1, np.exp(np.minimum(X, 0)))

def tanh(x): return np.tanh(x)
def tanh_vjp(g, x): return FACTOR * g * (1 - np.tanh(x) ** 2)

class Rms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps, causal):
        ctx.eps = eps
        ctx.save_for_backward(x)
        return x / (x * x + eps).sqrt()
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return FACTOR * g * ctx.eps / (x * x + ctx.eps) ** 1.5, None, None
"""


@pytest.mark.parametrize("factor", [1, 2])
def test_other_names_of_derivatives_and_numbers_beside_arrays_are_known(check, folder, factor):
    (folder / "named.py").write_text(OTHER_NAMES.replace("FACTOR", str(factor)))
    answer = check("named.py", "--only", "input_gradient")
    said = [line.split()[1] for line in answer.out.splitlines() if line.startswith("  input_gradient ")]
    assert said == [("PASS", "FAIL")[factor - 1]] * 3, answer.out
    assert "--build '(tanh, tanh_vjp)' --inputs 'B D'" in answer.out
    assert "--build Rms --inputs 'B D' 'lambda B: 0.5' 'lambda B: True'" in answer.out


WHOLE = """
import numpy as np

class Net:
    def __init__(self, hidden=5): self.params = {"W": np.random.randn(4, hidden), "U": np.random.randn(hidden, 3)}
    def loss(self, X, y=None):
        h = X @ self.params["W"]
        s = h @ self.params["U"]
        if y is None:
            return s
        p = np.exp(s - s.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        d = FACTOR * d / len(y)
        return -np.log(p[np.arange(len(y)), y]).mean(), {"W": X.T @ d @ self.params["U"].T, "U": h.T @ d}

class Other:
    def loss(self, X, y): return ((X - y) ** 2).mean()
"""


@pytest.mark.parametrize("factor", [1, 2])
def test_a_whole_model_is_tried_at_the_sizes_that_stand_in_it(check, folder, factor):
    (folder / "whole.py").write_text(WHOLE.replace("FACTOR", str(factor)))
    answer = check("whole.py", "--only", "parameter_gradient")
    assert answer.status == factor - 1, answer.out
    build = "(lambda model: value_and_grad(model.loss, params=model.params))(Net())"
    assert f"found by trying: --build '{build}' --inputs 'B 4' 'ints(\"B\", below=3)'" in answer.out
    assert "Other" not in answer.out


def test_one_whose_parameters_have_another_name_is_listed_with_what_to_fill_in(check, folder):
    (folder / "whole.py").write_text(WHOLE.replace("FACTOR", "1").replace("self.params", "self.theta"))
    answer = check("whole.py")
    assert answer.status == 3
    build = "(lambda model: value_and_grad(model.loss, params=model.params))(Net())"
    assert f"\n  harness check whole.py:Net --build '{build}' --inputs '…' '…'\n" in answer.out
