"""Normalisation of each feature over the batch."""

import torch
from torch import Tensor

from layers.layer import Layer, over_batch


class BatchNorm(Layer):
    """a_{b,i} = γ_i ẑ_{b,i} + β_i with ẑ_{·,i} = (z_{·,i} − μ_i)/√(σ²_i + ε).

    z: (…, B, D). γ ("gamma", ones) and β ("beta", zeros): (D,), or (*leading, 1, D).

    Training (B ≥ 2): μ_i and σ²_i = (1/B) Σ_b (z_{b,i} − μ_i)², the biased variance, over the batch axis −2.
    Evaluation: μ and σ² are the buffers "running_mean" and "running_var", which each training forward moves:
    r ← (1 − momentum) r + momentum r_new. The variance stored is the *unbiased* one, B/(B−1) σ²: a batch is normalised
    by its own spread, but the buffer estimates the population's. PyTorch does the same, so evaluation compares with it.

    Buffers are per leading index: (D,) for z (B, D), else (…, 1, D). Plain ones become so in the first training forward
    that has leading axes: from the shared values, each index goes on with its own.
    """

    def __init__(self, D: int, eps: float = 1e-5, momentum: float = 0.1, leading: tuple[int, ...] = ()) -> None:
        if D < 1 or not eps >= 0 or not 0 <= momentum <= 1:
            raise ValueError(
                f"BatchNorm: found D={D}, eps={eps}, momentum={momentum}, needs D ≥ 1, eps ≥ 0, momentum in [0, 1]"
            )
        shape = (*leading, 1, D) if leading else (D,)
        super().__init__(gamma=torch.ones(shape), beta=torch.zeros(shape))
        self.buffers = {"running_mean": torch.zeros(shape), "running_var": torch.ones(shape)}
        self.D, self.eps, self.momentum = D, eps, momentum

    def forward(self, z: Tensor) -> Tensor:
        """Return a = γ ẑ + β, of z's shape."""
        self._take(z, self.D)
        γ, β = self.params["gamma"], self.params["beta"]
        B = z.shape[-2]
        if self.training:
            if B < 2:
                self._refuse("z", f"of shape {tuple(z.shape)}", "a batch of B ≥ 2 in training: one has no spread")
            each = z.ndim > 2  # leading index has statistics of its own, (…, 1, D)
            μ = z.mean(-2, keepdim=each)
            c = z - μ  # centred first: E[z²] − μ² would cancel
            σ2 = c.square().mean(-2, keepdim=each)
            self._track(running_mean=μ.detach(), running_var=σ2.detach() * (B / (B - 1)))
        else:
            c = z - self.buffers["running_mean"]
            σ2 = self.buffers["running_var"]
        invstd = (σ2 + self.eps).rsqrt()
        self._batch_statistics = self.training
        s = γ * invstd
        return self._keep(torch.addcmul(β, s, c), c, invstd, s)  # ẑ = c invstd is never stored

    def backward(self, δa: Tensor) -> Tensor:
        """δβ = Σ_b δa, δγ = Σ_b δa ẑ, δẑ = δa γ; return δz.

        After a training forward δz = (1/B) invstd (B δẑ − Σ_b δẑ − ẑ Σ_b δẑ ẑ). After one in evaluation μ and σ² were
        constants: δz = invstd δẑ.
        """
        δa, c, invstd, s = self._recall(δa)
        δac = δa * c
        δβ, δγ = over_batch(δa), over_batch(δac) * invstd
        self._accumulate(gamma=δγ, beta=δβ)
        if not self._batch_statistics:
            return s * δa
        # γ is constant over b: Σ_b δẑ = γ δβ, Σ_b δẑ ẑ = γ δγ, and so δz = s (δa − δβ/B − ẑ δγ/B)
        k = s / -δa.shape[-2]
        return torch.addcmul(k * δβ, s, δa, out=δac).addcmul_(c, k * invstd * δγ)

    def _track(self, **statistics: Tensor) -> None:
        """Move the running statistics, in place where their shape stays."""
        for name, new in statistics.items():
            old = self.buffers[name]
            if old.shape != new.shape:
                old = self.buffers[name] = old.expand(new.shape).clone()
            old.lerp_(new, self.momentum)
