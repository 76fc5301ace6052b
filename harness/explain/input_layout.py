"""The same inputs in other memory give the same outputs and gradients: transposed, with gaps and an offset, channels-last.

What comes out of a transpose or a slice is not contiguous, and kernels that index memory by hand forget it.
"""

import torch

from harness import LayerSpec


class Scale:
    """Its backward reads the input as it lies in memory."""

    def __init__(self, D):
        self.w = torch.ones(D)

    def forward(self, x):
        self.x = x.as_strided(x.shape, (x.shape[1], 1))
        return x * self.w

    def backward(self, v):
        self.dw = (v * self.x).sum(0)
        return v * self.w


SPEC = LayerSpec(build=Scale, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
