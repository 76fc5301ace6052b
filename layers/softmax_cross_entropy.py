"""The mean negative log-likelihood of labels under a softmax."""

import torch
from torch import Tensor

from layers.layer import Layer


class SoftmaxCrossEntropy(Layer):
    """L = −(1/B) Σ_b log ŷ_{b,y_b} with ŷ = softmax(z).

    z: logits (…, B, C) with B, C ≥ 1; y: integer labels (…, B), 0 ≤ y < C; L: (…). Finite for all finite logits, as the
    largest is subtracted before exponentiation.
    """

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return L, of shape z.shape[:-2]."""
        self._take(z)
        y = self._labels(z, y).unsqueeze(-1)
        z = z - z.amax(-1, keepdim=True)
        e = z.exp()  # exp2 takes a third of the time, but gives the last few entries other digits than within a tensor
        Σe = e.sum(-1, keepdim=True)
        L = (Σe.log() - z.gather(-1, y)).mean((-2, -1))
        return self._keep(L, e, Σe, y)

    def backward(self, δL: Tensor | None = None) -> Tensor:
        """Return δz = δL (ŷ − onehot(y))/B with ŷ = e/Σe; δL: (…), None: ones."""
        *given, e, Σe, y = self._recall(δL)
        B = y.shape[-2]
        w = given[0][..., None, None] / B if given else Σe.new_full((), 1 / B)
        return (e * (w / Σe)).scatter_add_(-1, y, -w.expand_as(y))

    def _labels(self, z: Tensor, y: Tensor) -> Tensor:
        """y as int64, after refusing logits without rows or classes, and by the first of them labels that are none."""
        if z.ndim < 2 or 0 in z.shape[-2:]:
            self._refuse("z", f"of shape {tuple(z.shape)}", "shape (…, B, C) with B, C ≥ 1")
        if not isinstance(y, Tensor):
            self._refuse("y", f"a {type(y).__name__}", "a torch.Tensor of integers", TypeError)
        if y.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
            first = _entry(y, [0] * y.ndim) if y.numel() else "y"
            self._refuse(first, f"of {y.dtype}", "integers", TypeError)
        if y.shape != z.shape[:-1]:
            self._refuse("y", f"of shape {tuple(y.shape)}", f"shape {tuple(z.shape[:-1])}, a label for each row of z")
        if y.device != z.device:
            self._refuse("y", f"on {y.device}", f"{z.device}, as z is there")
        C, y = z.shape[-1], y.long()  # before comparing: C may be beyond y's dtype
        nearest = y.clamp(0, C - 1)
        if not torch.equal(y, nearest):
            self._refuse(_entry(y, (y != nearest).nonzero()[0].tolist()), "among the labels", f"0 ≤ y < {C}")
        return y


def _entry(y: Tensor, index: list[int]) -> str:
    return f"y[{', '.join(map(str, index))}] = {y[tuple(index)].tolist()}"
