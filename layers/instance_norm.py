"""Normalisation of each sample over its features."""

import torch
from torch import Tensor

from layers.layer import Layer, over_batch


class InstanceNorm(Layer):
    """a_{b,i} = γ_i ẑ_{b,i} + β_i with ẑ_b = (z_b − μ_b)/√(σ²_b + ε).

    μ_b = (1/D) Σ_i z_{b,i} and σ²_b = (1/D) Σ_i (z_{b,i} − μ_b)², the biased variance, over the features of sample b.

    z: (…, B, D). γ ("gamma", ones) and β ("beta", zeros): (D,), or (*leading, 1, D).

    This is what PyTorch calls `LayerNorm(D)`; its `InstanceNorm1d` normalises over a length axis that z does not have.
    """

    def __init__(self, D: int, eps: float = 1e-5, leading: tuple[int, ...] = ()) -> None:
        if D < 1 or not eps >= 0:
            raise ValueError(f"InstanceNorm: found D={D}, eps={eps}, needs D ≥ 1, eps ≥ 0")
        shape = (*leading, 1, D) if leading else (D,)
        super().__init__(gamma=torch.ones(shape), beta=torch.zeros(shape))
        self.D, self.eps = D, eps

    def forward(self, z: Tensor) -> Tensor:
        """Return a = γ ẑ + β, of z's shape."""
        self._take(z, self.D)
        γ, β = self.params["gamma"], self.params["beta"]
        c = z - z.mean(-1, keepdim=True)  # centred first: E[z²] − μ² would cancel
        n = torch.linalg.vector_norm(c, dim=-1, keepdim=True)
        invstd = torch.addcmul(n.new_full((), self.eps), n, n, value=1 / self.D).rsqrt()  # σ² = n²/D
        ẑ = c * invstd
        return self._keep(torch.addcmul(β, γ, ẑ), ẑ, invstd, γ)

    def backward(self, δa: Tensor) -> Tensor:
        """δβ = Σ_b δa, δγ = Σ_b δa ẑ, δẑ = δa γ; return δz = (1/D) invstd (D δẑ − Σ_i δẑ − ẑ Σ_i δẑ ẑ)."""
        δa, ẑ, invstd, γ = self._recall(δa)
        δaẑ = δa * ẑ
        self._accumulate(gamma=over_batch(δaẑ), beta=over_batch(δa))
        Σδẑẑ = δaẑ.mul_(γ).sum(-1, keepdim=True)
        δẑ = torch.mul(δa, γ, out=δaẑ)  # in place: for large z, new memory costs more than the arithmetic
        δz = δẑ.sub_(δẑ.sum(-1, keepdim=True), alpha=1 / self.D)
        return δz.addcmul_(ẑ, Σδẑẑ, value=-1 / self.D).mul_(invstd)
