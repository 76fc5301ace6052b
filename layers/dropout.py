"""Random zeros in training."""

import torch
from torch import Tensor

from layers.generator import Generators, admitted
from layers.layer import Layer


class Dropout(Layer):
    """Training: a = m z/(1−p) with m ~ Bernoulli(1−p), entry by entry. Evaluation, or p = 0: a = z, nothing is drawn.

    z: any shape; with a sequence of S generators (S, …), one per leading index. The generator must be on z's device;
    None is `torch.default_generator`.

    An entry is dropped when 16 random bits, read as an integer, lie below p·2¹⁶ rounded: with probability p to within
    2⁻¹⁷. Where p or 1−p is less than 2⁻⁶ there are 64 bits, and 2⁻⁶⁵. The scale is 1/(1−p) for the p given.
    Words of 64 bits are drawn (`random_` over all int64), four entries a word, the first in its lowest bits, or one; as
    signed integers, which 2¹⁵ or 2⁶³ is added to.
    """

    def __init__(self, p: float, generator: Generators = None) -> None:
        if not isinstance(p, (int, float)):
            raise TypeError(f"Dropout: found p of type {type(p).__name__}, needs a number")
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: found p={p}, needs 0 ≤ p < 1")
        super().__init__()
        self.p, self.generator = p, admitted(generator, "Dropout")

    def forward(self, z: Tensor) -> Tensor:
        """Return a = m z/(1−p), or a copy of z."""
        self._take(z)
        if not self.training or self.p == 0:
            return self._keep(z.clone())
        m = self._mask(z)
        return self._keep(m * z, m)

    def backward(self, δa: Tensor) -> Tensor:
        """Return δz = m/(1−p) ⊙ δa, or a copy of δa after a forward that dropped nothing."""
        δa, *mask = self._recall(δa)
        return mask[0] * δa if mask else δa.clone()

    def _mask(self, z: Tensor) -> Tensor:
        """m/(1−p) in z's shape and dtype."""
        S = len(self.generator) if isinstance(self.generator, tuple) else None
        if S is not None and z.shape[:1] != (S,):
            self._refuse("z", f"of shape {tuple(z.shape)}", f"shape ({S}, …), one leading index a generator")
        n, dtype = (16, torch.int16) if min(self.p, 1 - self.p) >= 2**-6 else (64, torch.int64)
        entries = z.numel() // (S or 1)
        bits = self._words(-(-entries * n // 64), z.device).view(dtype)[:, :entries].reshape(z.shape)
        below = round(self.p * 2**n) - 2 ** (n - 1)  # the integers are signed
        # compared straight into floats: by way of booleans it takes several times as long
        return torch.ge(bits, below, out=torch.empty_like(bits, dtype=z.dtype)).mul_(1 / (1 - self.p))

    def _words(self, count: int, device: torch.device) -> Tensor:
        """So many integers of 64 random bits from each generator, a row for each."""
        each = self.generator if isinstance(self.generator, tuple) else (self.generator or torch.default_generator,)
        words = torch.empty(len(each), count, dtype=torch.int64, device=device)
        for row, g in zip(words if isinstance(self.generator, tuple) else (words,), each, strict=True):
            if g.device != device:
                self._refuse("the generator", f"on {g.device}", f"torch.Generator({str(device)!r}), as z is there")
            row.random_(-(2**63), None, generator=g)
        return words
