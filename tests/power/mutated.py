"""The layers with a mutant in them: every class made anew from source, and the specs that a mutant is judged by."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import CodeType, ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own custom)
from mutants import Mutant
from specs import dropout
from statements import SOURCES
from subjects import SPEC
from torch import Tensor

from harness import LayerSpec, floats, ints

FIRST = ("layer", "generator")
"""What other modules import."""


@cache
def _code(module: str) -> CodeType:
    return compile(SOURCES[module], f"<layers.{module}>", "exec")


@contextmanager
def _imported(modules: dict[str, ModuleType]) -> Iterator[None]:
    """These modules instead of the package's own while they import one another."""
    own = {n: m for n, m in sys.modules.items() if n == "layers" or n.startswith("layers.")}
    try:
        sys.modules.update(modules)
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(own)


def classes(mutant: Mutant | None) -> dict[str, Any]:
    """Every layer's class, made anew from source with the mutant's module in it; None: the right twins."""
    names = [*FIRST, *(n for n in SOURCES if n not in FIRST)]
    modules = {"layers": ModuleType("layers")} | {f"layers.{n}": ModuleType(f"layers.{n}") for n in names}
    with _imported(modules):
        for n in names:
            mutated = mutant is not None and mutant.module == n
            code = compile(mutant.source, f"<mutant of layers.{n}>", "exec") if mutated and mutant else _code(n)
            exec(code, vars(modules[f"layers.{n}"]))
    made = {n: v for m in modules.values() for n, v in vars(m).items() if isinstance(v, type)}
    return {n: v for n, v in made.items() if v.__module__.startswith("layers.") and n[0] != "_"}


# The specs, each with a reference

FEW = {"S": (1, 2, 3)}
LAST_BIT = "Dropout, the threshold's last bit"
FEWER = {LAST_BIT: 4}
"""Examples of a spec where they are large: a million entries in all."""


def linear(z: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """One product for each leading index."""
    return torch.einsum("...bi,...io->...bo", z, W) + b


def instance_norm(z: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """PyTorch's own, γ and β after it."""
    return F.layer_norm(z, z.shape[-1:], None, None, 1e-5) * gamma + beta


def batch_norm(z: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, mode: str) -> Tensor:
    """PyTorch's own, once for each leading index; it moves statistics that have all leading axes."""

    def rows(t: Tensor) -> Tensor:
        each = t.expand(*z.shape[:-2], 1, z.shape[-1])
        return (each if z.ndim == 2 or each.shape == t.shape else each.clone()).reshape(-1, z.shape[-1])

    made = [
        F.batch_norm(x, mean, var, g, b, mode == "train", momentum=0.1, eps=1e-5)
        for x, mean, var, g, b in zip(
            z.reshape(-1, *z.shape[-2:]), *map(rows, (running_mean, running_var, gamma, beta)), strict=True
        )
    ]
    return torch.stack(made).reshape(z.shape)


def cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    """PyTorch's own over the last axis."""
    return F.cross_entropy(z.movedim(-1, 1), y.long(), reduction="none").mean(-1)


def mlp(
    z: Tensor, params: dict[str, Tensor], buffers: dict[str, Tensor], p: float, mode: str, generator: torch.Generator
) -> Tensor:
    """Linear → BatchNorm → Tanh → Dropout → Linear."""
    h = z @ params["0.W"] + params["0.b"]
    affine, state = (params["1.gamma"], params["1.beta"]), (buffers["1.running_mean"], buffers["1.running_var"])
    return dropout(torch.tanh(batch_norm(h, *affine, *state, mode)), p, mode, generator) @ params["4.W"] + params["4.b"]


def dropouts(z: Tensor, p: float, mode: str, generator: tuple[torch.Generator, ...]) -> Tensor:
    """One generator for each leading index."""
    each = generator if isinstance(generator, tuple) else (generator,)
    return torch.stack([dropout(x, p, mode, g) for x, g in zip(z, each, strict=True)])


def generators(S: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in range(S)]


def specs(made: dict[str, Any]) -> dict[str, list[LayerSpec]]:
    """{module of layers/: the specs that its mutants are judged by}, building these classes.

    Those of tests/specs.py come first; after them leading axes, one model per leading index, a loss whose backward is
    called without a cotangent, and for what all layers share those that use all of it.
    """
    own = {n: replace(spec, build=made[n], name=n) for n, spec in SPEC.items() if n in made}
    linears = [own["Linear"], *_linears(made["Linear"])]
    batch_norms = [own["BatchNorm"], *_norms(made["BatchNorm"], batch_norm)]
    losses = [own["SoftmaxCrossEntropy"], *_losses(made["SoftmaxCrossEntropy"])]
    dropouts = [own["Dropout"], *_dropouts(made["Dropout"])]
    return {
        "linear": linears,
        "instance_norm": [own["InstanceNorm"], *_norms(made["InstanceNorm"], instance_norm)],
        "batch_norm": batch_norms,
        "tanh": [own["Tanh"], *_tanhs(own["Tanh"])],
        "dropout": dropouts,
        "generator": dropouts,
        "softmax_cross_entropy": losses,
        "sequential": _sequentials(made),
        "layer": [*linears, *batch_norms, *losses],
    }


def _linears(build: Any) -> list[LayerSpec]:
    widths = {"D_out": range(1, 7)}
    leading = LayerSpec(build, "*batch B D_in", "Linear, leading axes", dims=widths, reference=linear)

    def models(S: int, D_in: int, D_out: int) -> Any:
        return build(D_in, D_out, generators(S))

    dims = {**FEW, **widths}
    several = LayerSpec(models, "*batch S B D_in", "Linear, S models", dims=dims, reference=linear)
    # the leading index of the batch may be taken for that of the models
    square = LayerSpec(models, "S S B D_in", "Linear, S × S models", dims=dims, reference=linear)

    def replaced(S: int, D_in: int, D_out: int) -> Any:
        layer = build(D_in, D_out)
        for name, t in layer.params.items():
            layer.params[name] = t.view(-1, D_out).expand(S, -1, -1).clone()
        return layer

    put = LayerSpec(replaced, "S B D_in", "Linear, models put in its place", dims=dims, reference=linear)
    return [leading, several, square, put]


def _tanhs(own: LayerSpec) -> list[LayerSpec]:
    anywhere = replace(own, inputs="*shape", name="Tanh, any shape")
    # beyond the 5.5 at which e^{2z} leaves float16
    far = LayerSpec(own.build, floats("B D", low=-12.0, high=12.0), "Tanh, saturated", reference=own.reference)
    return [anywhere, far]


def _norms(build: Any, reference: Any) -> list[LayerSpec]:
    name = build.__name__
    leading = LayerSpec(build, "*batch B D", f"{name}, leading axes", reference=reference)

    def models(S: int, D: int) -> Any:
        return build(D, leading=(S,))

    return [leading, LayerSpec(models, "*batch S B D", f"{name}, S models", dims=FEW, reference=reference)]


def _losses(build: Any) -> list[LayerSpec]:
    class First(build):  # type: ignore[misc]
        """At the end of a chain backward is called without a cotangent."""

        def backward(self) -> Any:
            return super().backward()

    inputs = ("*batch B C", ints("*batch B", below="C"))
    leading = LayerSpec(build, inputs, "SoftmaxCrossEntropy, leading axes", reference=cross_entropy)
    # beyond the 709 at which exp overflows: finite for all finite logits
    far = (floats("B C", low=-3000.0, high=3000.0), ints("B", below="C"))
    large = LayerSpec(build, far, "SoftmaxCrossEntropy, large logits", reference=F.cross_entropy)
    small = LayerSpec(build, ("B C", _bytes), "SoftmaxCrossEntropy, labels of a byte", reference=cross_entropy)
    return [leading, replace(leading, build=First, name="SoftmaxCrossEntropy, no cotangent"), large, small]


def _bytes(B: int, C: int, rng: np.random.Generator) -> Tensor:
    return torch.as_tensor(rng.integers(0, C, B) % 256, dtype=torch.uint8)


def _dropouts(build: Any) -> list[LayerSpec]:
    def several(S: int, p: float) -> Any:
        return build(p, generators(S))

    def default(p: float) -> Any:
        return build(p)

    odd = {"B": (1, 3, 5), "D": (1, 3, 5)}  # bits are drawn for four entries at a time
    many = {"B": (104,), "D": (104,)}
    bits = (2.0**-6, 0.01, 0.03, 1 - 2.0**-6, 0.99, 0.97)
    return [
        LayerSpec(several, "S B D", "Dropout, S generators", dims=FEW, options={"p": (0.2, 0.5)}, reference=dropouts),
        LayerSpec(default, "B D", "Dropout, odd sizes", dims=odd, options={"p": (0.2, 0.5)}, reference=dropout),
        # 16 bits and 64 give wholly other masks
        LayerSpec(
            build,
            "B D",
            "Dropout, how many bits",
            dims={"B": (20,), "D": (20,)},
            options={"p": bits},
            reference=dropout,
        ),
        LayerSpec(build, "B D", "Dropout, p almost 1", options={"p": (1 - 2.0**-40,)}, reference=dropout),
        # of so many entries hardly any are kept; in 16 bits it would be 20 times as many, ten an example
        LayerSpec(
            build, "B D", "Dropout, p near 1", dims=many, options={"p": (1 - 0.1 * 2.0**-17,)}, reference=dropout
        ),
        # a threshold off by one drops another one in 65 536 entries: with p·2¹⁶ rounded down, and up
        LayerSpec(
            build, "B D", LAST_BIT, dims={"B": (512,), "D": (512,)}, options={"p": (0.2, 0.3)}, reference=dropout
        ),
    ]


def _sequentials(made: dict[str, Any]) -> list[LayerSpec]:
    Sequential, Linear, Tanh = made["Sequential"], made["Linear"], made["Tanh"]

    def plain(D_in: int, H: int, D_out: int) -> Any:
        return Sequential(Linear(D_in, H), made["InstanceNorm"](H), Tanh(), Linear(H, D_out))

    def random(D_in: int, H: int, D_out: int, p: float, generator: torch.Generator) -> Any:
        dropout_ = made["Dropout"](p, generator)
        return Sequential(Linear(D_in, H), made["BatchNorm"](H), Tanh(), dropout_, Linear(H, D_out))

    deep = replace(SPEC["MLPWithBatchNormAndDropout"], build=random, reference=mlp)
    return [replace(SPEC["MLP"], build=plain), deep]
