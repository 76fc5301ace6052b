"""Backward is linear in its cotangent: −2v and 0 give −2g and 0, and ones the sum of what v′ and 1 − v′ give.

v′ is v with zeros for every second row, as a loss with a mask sends them: a backward that looks for such rows shows.

A backward that takes the cotangent's absolute value, clips it, or squares it is no pullback, whatever it gives at one
cotangent. One that takes a single entry of it, its sum or its mean for the whole is linear and wrong: where the gradients
for two cotangents are multiples of one another, differences say whether what takes them to nothing has none.

Exact where the arithmetic is; else within 64 units in the last place of the size before cancellation, the backward's
measured rounding, or the resolution (an adjoint solved by iteration is no finer).
"""

import torch

from harness import LayerSpec


class Clipped:
    """It clips the incoming gradient at 2, which no unit-sized cotangent reaches."""

    def forward(self, x):
        self.y = torch.tanh(x)
        return self.y

    def backward(self, v):
        return v.clamp(-2, 2) * (1 - self.y**2)


SPEC = LayerSpec(build=Clipped, inputs="B D")

INCONCLUSIVE = (
    "Two forwards under one seed differ, so that no two backwards can be compared. Let the layer draw from a generator "
    "that can be replayed: torch's or NumPy's global one, Python's `random`, or one that it holds as an attribute."
)
