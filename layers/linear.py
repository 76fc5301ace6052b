"""a = z W + b."""

from math import sqrt

import torch
from torch import Tensor

from layers.generator import Generators, admitted, drawn
from layers.layer import Layer


class Linear(Layer):
    """a = z W + b.

    z: (…, B, D_in). W: (D_in, D_out), b: (D_out,); from a sequence of S generators (S, D_in, D_out) and (S, 1, D_out).

    W and b start as `torch.nn.Linear(D_in, D_out)` starts them, to the bit from the same generator state (its weight is
    Wᵀ): uniform in ±1/√D_in, in the default dtype, on the generator's device. None is `torch.default_generator`.
    """

    def __init__(self, D_in: int, D_out: int, generator: Generators = None) -> None:
        if D_in < 1 or D_out < 1:
            raise ValueError(f"Linear: found D_in={D_in}, D_out={D_out}, needs both ≥ 1")
        generator = admitted(generator, "Linear")
        k = 1 / sqrt(D_in)
        W = drawn(lambda g: torch.empty(D_out, D_in, device=g.device).uniform_(-k, k, generator=g), generator)
        b = drawn(lambda g: torch.empty(D_out, device=g.device).uniform_(-k, k, generator=g), generator)
        super().__init__(W=W.mT.contiguous(), b=b if b.ndim == 1 else b[:, None])
        self.D_in, self.D_out = D_in, D_out

    def forward(self, z: Tensor) -> Tensor:
        """Return a = z W + b, (…, B, D_out)."""
        self._take(z, self.D_in)
        W, b = self.params["W"], self.params["b"]
        return self._keep(z @ W + b, z, W)

    @torch.no_grad()
    def backward(self, δa: Tensor) -> Tensor:
        """δW = zᵀ δa, δb = Σ_b δa_b; return δz = δa Wᵀ."""
        z, W = self._recall(δa)
        if W.ndim == 2:  # one model: its sum over all rows is one product
            self._accumulate(W=z.flatten(0, -2).mT @ δa.flatten(0, -2))
        else:
            self._accumulate(W=z.mT @ δa)
        self._accumulate(b=δa.sum(-2, keepdim=True))
        return δa @ W.mT
