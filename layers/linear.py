"""a = z W + b."""

from math import sqrt

import torch
from torch import Tensor

from layers.generator import Generators, admitted, drawn
from layers.layer import Layer, over_batch


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
        # of many small matrices the narrow side last would be slow
        W = W.mT if W.ndim == 3 and D_out < D_in else W.mT.contiguous()
        super().__init__(W=W, b=b if b.ndim == 1 else b[:, None])
        self.D_in, self.D_out = D_in, D_out

    def forward(self, z: Tensor) -> Tensor:
        """Return a = z W + b, (…, B, D_out)."""
        self._take(z, self.D_in)
        W, b = self.params["W"], self.params["b"]
        if _batched(z, W):
            a = torch.baddbmm(b, z, W)
        else:
            a = torch.addmm(b, z, W) if z.ndim == W.ndim == 2 else z @ W + b
        return self._keep(a, z, W)

    def backward(self, δa: Tensor) -> Tensor:
        """δW = zᵀ δa, δb = Σ_b δa_b; return δz = δa Wᵀ."""
        δa, z, W = self._recall(δa)
        if _batched(z, W):
            δW = self._gradient("W")
            if self.D_out < self.D_in:  # (δaᵀ z)ᵀ, the narrow one first
                δW.mT.baddbmm_(δa.mT, z)
            else:
                δW.baddbmm_(z.mT, δa)
            δz = torch.bmm(δa, W.mT)
        else:
            one = W.ndim == 2  # model: its sum over all rows is one product
            self._accumulate(W=_rows(z).mT @ _rows(δa) if one else z.mT @ δa)
            δz = δa @ W.mT
        self._accumulate(b=over_batch(δa))
        return δz


def _rows(z: Tensor) -> Tensor:
    """All rows of all leading indices as one matrix."""
    return z if z.ndim == 2 else z.flatten(0, -2)


def _batched(z: Tensor, W: Tensor) -> bool:
    """Whether each leading index has a z and a W of its own: all of them are one batched product, the fastest."""
    return z.ndim == 3 and z.shape[:1] == W.shape[:-2]
