"""The specs of layers/: what the whole suite, the power tests and the report verify them by.

Each has a reference: the same function written by other means, from PyTorch's own operations.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (PyTorch's own custom)
from torch import Tensor

from harness import LayerSpec, ints
from layers import BatchNorm, Dropout, InstanceNorm, Linear, Sequential, SoftmaxCrossEntropy, Tanh

WIDTHS = range(1, 7)
OWN = ("owns", "portable", "stable")
ACCUMULATES = ("accumulates", *OWN)


def batch_norm(z: Tensor, gamma: Tensor, beta: Tensor, running_mean: Tensor, running_var: Tensor, mode: str) -> Tensor:
    """PyTorch's own: it refuses a batch of one in training and moves the statistics, as ours does."""
    affine, state = (gamma.flatten(), beta.flatten()), (running_mean.view(-1), running_var.view(-1))
    return F.batch_norm(z, *state, *affine, training=mode == "train", momentum=0.1, eps=1e-5)


def dropped(shape: torch.Size, p: float, generator: torch.Generator) -> Tensor:
    """The entries whose bits, read as an integer, lie below p·2ⁿ rounded; of each word the lowest come first."""
    n = 16 if 2**-6 <= p <= 1 - 2**-6 else 64
    count = shape.numel()
    words = torch.empty(-(-count * n // 64), dtype=torch.int64, device=generator.device)
    lanes = words.random_(-(2**63), None, generator=generator).cpu().numpy().view(f"int{n}")[:count]
    # biased: n bits of which the first is flipped
    bits = lanes.view(f"uint{n}") ^ np.array(2 ** (n - 1), f"uint{n}")
    return torch.as_tensor(bits < np.array(int(Fraction(p) * 2**n + Fraction(1, 2)), f"uint{n}")).reshape(shape)


def dropout(z: Tensor, p: float, mode: str, generator: torch.Generator) -> Tensor:
    """Zero where an entry is dropped, else z/(1−p)."""
    if mode == "eval" or p == 0:
        return z.clone()
    return torch.where(dropped(z.shape, p, generator).to(z.device), 0.0, z / (1 - p))


def mlp(z: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Linear → InstanceNorm → Tanh → Linear."""
    h = z @ params["0.W"] + params["0.b"]
    h = torch.tanh(F.layer_norm(h, h.shape[-1:], params["1.gamma"], params["1.beta"], 1e-5))
    return h @ params["3.W"] + params["3.b"]


SPECS = [
    LayerSpec(
        build=Linear,
        inputs="B D_in",
        dims={"D_out": [*WIDTHS, 33]},  # beyond a block of 32 too
        name="Linear",
        reference=lambda z, W, b: F.linear(z, W.T, b),
        promises=ACCUMULATES,
    ),
    LayerSpec(
        build=InstanceNorm,
        inputs="B D",
        reference=lambda z, gamma, beta: F.layer_norm(z, z.shape[-1:], gamma, beta, 1e-5),
        promises=ACCUMULATES,
    ),
    LayerSpec(build=BatchNorm, inputs="B D", reference=batch_norm, promises=ACCUMULATES),
    LayerSpec(build=Tanh, inputs="B D", reference=lambda z: 2 * torch.sigmoid(2 * z) - 1, promises=OWN),
    LayerSpec(
        build=Dropout,
        inputs="B D",
        options={"p": (0.0, 0.2, 0.5)},
        reference=dropout,
        promises=OWN,
        name="Dropout",
    ),
    LayerSpec(
        build=SoftmaxCrossEntropy,
        inputs=("B C", ints("B", below="C")),
        reference=F.cross_entropy,
        promises=OWN,
    ),
    LayerSpec(
        build=lambda D_in, H, D_out: Sequential(Linear(D_in, H), InstanceNorm(H), Tanh(), Linear(H, D_out)),
        inputs="B D_in",
        dims={"H": WIDTHS, "D_out": WIDTHS},
        reference=mlp,
        promises=ACCUMULATES,
        name="MLP",
    ),
    LayerSpec(
        build=lambda D_in, H, D_out, p, generator: Sequential(
            Linear(D_in, H), BatchNorm(H), Tanh(), Dropout(p, generator), Linear(H, D_out)
        ),
        inputs="B D_in",
        dims={"H": WIDTHS, "D_out": WIDTHS},
        options={"p": (0.0, 0.2, 0.5)},
        promises=ACCUMULATES,
        name="MLPWithBatchNormAndDropout",
    ),
]
