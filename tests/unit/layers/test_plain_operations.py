"""layers/ is plain tensor operations: its syntax trees use nothing of torch beyond the lists below."""

import ast
from pathlib import Path

import pytest
import torch

FILES = sorted((Path(__file__).parents[3] / "layers").glob("*.py"))

TORCH = {
    f"torch.{name}"
    for names in (
        "Tensor Generator Size dtype device",
        "float16 float32 float64 uint8 int8 int16 int32 int64 bool",
        "equal empty zeros ones full empty_like zeros_like ones_like full_like stack",
        "mul tanh exp log sqrt rsqrt square where addcmul clamp ge",  # elementwise mathematics
        "sum mean amax linalg.vector_norm",  # reductions
        "matmul mm mv addmm baddbmm bmm",
        "default_generator",
        "no_grad",  # switches autograd off: backward is the derivative itself
    )
    for name in names.split()
}
METHODS = {
    name
    for names in (
        "shape ndim dtype device numel is_floating_point is_complex is_inference requires_grad tolist",
        "to long type clone detach contiguous new_ones new_full expand_as",
        "add add_ sub sub_ mul mul_ div div_ addcmul addcmul_ lerp_ exp expm1_ log",
        "sqrt rsqrt square tanh zero_ copy_ clamp clamp_",
        "baddbmm_",
        "sum mean amax any all sum_to_size",
        "mT T reshape view flatten expand squeeze unsqueeze",
        "gather scatter_add_ nonzero",
        "uniform_ random_",  # random bits
        "_version",  # how often a tensor was changed in place
    )
    for name in names.split()
}
PYTHON = {"items", "values", "keys", "update", "join", "split", "append", "__name__", "__module__", "__init__"}
IMPORTS = {"collections.abc", "itertools", "math", "typing"}
REFLECTION = {"getattr", "setattr", "delattr", "eval", "exec", "compile", "globals", "__import__", "__builtins__"}


def definitions(tree: ast.Module) -> set[str]:
    """Names of functions, classes and variables, and of attributes set on self."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return names


OWN = set().union(*(definitions(ast.parse(path.read_text())) for path in FILES))


def refusals(source: str, own: set[str] = OWN) -> list[str]:
    """What in a source is more than plain tensor operations."""
    tree = ast.parse(source)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [f"import {a.name} as {a.asname}" for a in names if a.name != "torch" or a.asname]
            case ast.ImportFrom(module=module, names=names, level=level):
                allowed = {"Tensor"} if module == "torch" else own if str(module).startswith("layers.") else None
                if level or (allowed is None and module not in IMPORTS):
                    found.append(f"from {module}")
                found += [
                    f"from {module} import {a.name}" for a in names if allowed is not None and a.name not in allowed
                ]
            case ast.Name(id=name) if name in REFLECTION or (name == "torch" and id(node) not in inner):
                found.append(name)
            case ast.Match():
                found.append("match")  # a class pattern reads attributes unseen
            case ast.Attribute() if id(node) not in inner or ast.unparse(node) not in PREFIXES:
                found += _attribute(node, own)
    return found


PREFIXES = {name.rsplit(".", 1)[0] for name in TORCH if name.count(".") > 1}  # torch.linalg in torch.linalg.vector_norm


def _attribute(node: ast.Attribute, own: set[str]) -> list[str]:
    dotted = ast.unparse(node)
    if ast.unparse(node.value) in ("self", "layer", "super()") and node.attr in own:
        return []
    # Elsewhere the value may be a tensor: a layer's method called softmax must not let z.softmax pass.
    allowed = METHODS | PYTHON | own - set(dir(torch.Tensor))
    if dotted.startswith("torch.") and dotted.replace(".", "").isidentifier():
        within = any(dotted.startswith(f"{name}.") for name in TORCH)
        return [] if dotted in TORCH or (within and node.attr in allowed) else [dotted]
    return [] if node.attr in allowed else [f".{node.attr}"]


def test_there_are_layers_to_read():
    assert {"linear.py", "instance_norm.py", "softmax_cross_entropy.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_layers_are_plain_operations(path):
    assert refusals(path.read_text()) == []


PAIRS = {
    "function": ("torch.exp(z)", "torch.softmax(z, -1)"),
    "function_like_an_allowed_one": ("torch.log(z)", "torch.log_softmax(z, -1)"),
    "logsumexp": ("z.exp().sum(-1).log()", "z.logsumexp(-1)"),
    "logaddexp": ("(z.exp() + w.exp()).log()", "torch.logaddexp(z, w)"),
    "method": ("z.exp()", "z.softmax(-1)"),
    "method_after_a_call": ("(z + 1).amax(-1).exp()", "(z + 1).amax(-1, keepdim=True).softmax(-1)"),
    "unbound_method": ("z.exp()", "Tensor.softmax(z, -1)"),
    "method_of_the_type": ("torch.exp(z)", "torch.Tensor.softmax(z, -1)"),
    "private_operator": ("torch.exp(z)", "torch._softmax(z, -1, False)"),
    "nn": ("torch.tanh(z)", "torch.nn.Tanh()(z)"),
    "functional": ("torch.tanh(z)", "torch.nn.functional.tanh(z)"),
    "special": ("torch.exp(z)", "torch.special.softmax(z, -1)"),
    "linalg": ("torch.linalg.vector_norm(z)", "torch.linalg.norm(z)"),
    "linalg_alone": ("torch.linalg.vector_norm(z)", "f = torch.linalg"),
    "dropout": ("z.random_()", "torch.dropout(z, 0.5, True)"),
    "bernoulli_layer": ("z.random_()", "torch.alpha_dropout(z, 0.5, True)"),
    "layer_norm": ("z.mean(-1)", "torch.native_layer_norm(z, (3,), g, b, 1e-5)"),
    "layer_norm_public": ("z.mean(-1)", "torch.layer_norm(z, (3,))"),
    "batch_norm": ("z.mean(-2)", "torch.batch_norm(z, g, b, m, v, True, 0.1, 1e-5, False)"),
    "variance": ("z.square().mean(-1)", "torch.var_mean(z, -1)"),
    "cross_entropy": ("z.gather(-1, y)", "torch.nn.functional.cross_entropy(z, y)"),
    "autograd": ("torch.no_grad()", "torch.autograd.grad(a, z)"),
    "enable_grad": ("torch.no_grad()", "torch.enable_grad()"),
    "tensor_backward": ("layer.backward(δa)", "a.backward(δa)"),
    "tensor_grad": ("z.shape", "z.grad"),
    "requires_grad": ("z.detach()", "z.requires_grad_()"),
    "data": ("z.detach()", "z.data"),
    "ops": ("torch.exp(z)", "torch.ops.aten.softmax(z, -1)"),
    "func": ("torch.exp(z)", "torch.func.vjp(f, z)"),
    "compile": ("torch.exp(z)", "torch.compile(f)"),
    "getattr": ("torch.exp(z)", "getattr(torch, 'softmax')(z, -1)"),
    "getattr_on_a_tensor": ("z.exp()", "getattr(z, 'soft' + 'max')(-1)"),
    "vars": ("vars(self)", "vars(torch)['softmax'](z, -1)"),
    "dunder_dict": ("type(z).__name__", "torch.__dict__['softmax'](z, -1)"),
    "getattribute": ("type(z).__name__", "z.__getattribute__('softmax')(-1)"),
    "eval": ("z.exp()", "eval('z.softmax(-1)')"),
    "alias": ("t = torch.exp", "t = torch"),
    "alias_of_a_function": ("f = torch.exp", "f = torch.softmax"),
    "walrus": ("(m := z).exp()", "(t := torch).softmax(z, -1)"),
    "import": ("import torch", "import torch.nn.functional"),
    "import_as": ("import torch", "import torch as t"),
    "import_from": ("from torch import Tensor", "from torch import softmax"),
    "import_renamed": ("from torch import Tensor", "from torch import nn as Tensor"),
    "import_star": ("from torch import Tensor", "from torch import *"),
    "import_submodule": ("from torch import Tensor", "from torch.nn.functional import softmax"),
    "import_through_a_layer": ("from layers.layer import Layer", "from layers.layer import torch as t"),
    "import_relative": ("from layers.layer import Layer", "from .layer import torch as t"),
    "import_scipy": ("from math import sqrt", "from scipy.special import softmax"),
    "import_operator": ("from itertools import chain", "from operator import methodcaller"),
    "match": ("z.exp()", "match z:\n    case Tensor(softmax=f): f(-1)"),
    "self_as_a_tensor": ("f = lambda self: self.exp()", "f = lambda self: self.softmax(-1)"),
    "layer_as_a_tensor": ("layer.forward(z)", "layer = z\nlayer.softmax(-1)"),
    "in_a_lambda": ("f = lambda z: z.exp()", "f = lambda z: z.softmax(-1)"),
    "in_a_default": ("def f(z, g=torch.exp): ...", "def f(z, g=torch.sigmoid): ..."),
    "in_a_decorator": ("@torch.no_grad()\ndef f(): ...", "@torch.jit.script\ndef f(): ..."),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_plain_source_is_accepted_and_its_wrong_twin_refused(name):
    plain, wrong = PAIRS[name]
    assert refusals(plain) == []
    assert refusals(wrong) != []


def test_a_layers_own_method_does_not_open_the_tensors_method_of_that_name():
    source = "class A:\n    def softmax(self, z): return self.softmax(z)\n"
    own = definitions(ast.parse(source))
    assert refusals(source, own) == []
    assert refusals("z.softmax(-1)", own) == [".softmax"]
