"""Random zeros in training."""

import torch
from torch import Tensor

from layers.generator import Generators, admitted, drawn
from layers.layer import Layer


class Dropout(Layer):
    """Training: a = m z/(1−p) with m ~ Bernoulli(1−p), entry by entry. Evaluation, or p = 0: a = z, nothing is drawn.

    z: any shape; with a sequence of S generators (S, …), one per leading index. The generator must be on z's device;
    None is `torch.default_generator`.

    An entry is dropped when 32 random bits, read as an integer, lie below p·2³² rounded: with probability p to within
    2⁻³² (a p below 2⁻³³ drops nothing). The scale is 1/(1−p) for the p given.
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

    @torch.no_grad()
    def backward(self, δa: Tensor) -> Tensor:
        """Return δz = m/(1−p) ⊙ δa, or a copy of δa after a forward that dropped nothing."""
        mask = self._recall(δa)
        return mask[0] * δa if mask else δa.clone()

    def _mask(self, z: Tensor) -> Tensor:
        """m/(1−p) in z's shape and dtype."""
        several = not (self.generator is None or isinstance(self.generator, torch.Generator))
        shape = z.shape[1:] if several else z.shape
        bits = drawn(lambda g: self._bits(shape, z.device, g), self.generator)
        if bits.shape != z.shape:
            self._refuse("z", f"of shape {tuple(z.shape)}", f"shape ({len(bits)}, …), one leading index a generator")
        below = min(round(self.p * 2**32), 2**32 - 1) - 2**31  # the integers are signed
        return (bits >= below).to(z.dtype).div_(1 - self.p)

    def _bits(self, shape: torch.Size, device: torch.device, generator: torch.Generator) -> Tensor:
        """32 random bits an entry, drawn two entries at a time."""
        if generator.device != device:
            self._refuse("the generator", f"on {generator.device}", f"torch.Generator({str(device)!r}), as z is there")
        pairs = torch.empty((shape.numel() + 1) // 2, dtype=torch.int64, device=device)
        return pairs.random_(-(2**63), None, generator=generator).view(torch.int32)[: shape.numel()].reshape(shape)
