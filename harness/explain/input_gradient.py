"""The gradient of every input, against central differences of the layer's own forward.

What backward returns for an output gradient v is compared with differences of v · forward(x), along random directions
first and entry by entry where these leave a doubt. FAIL: an entry lies outside a bound that is computed from the
differences' own error. Inputs of integers, and those marked `const` or `floats(grad=False)`, have no gradient.
"""

import torch

from harness import LayerSpec


class Tanh:
    """Its derivative is 1 - y²."""

    def forward(self, x):
        self.y = torch.tanh(x)
        return self.y

    def backward(self, v):
        return v * (1 - self.y)


SPEC = LayerSpec(build=Tanh, inputs="B D")

INCONCLUSIVE = (
    "Differences could not tell at the resolution asked for. The reason says why: a forward that answers differently "
    "each time (give it a seeded generator), rounding that hides the slope (compute in float64, or state the domain "
    "with floats(low=, high=)), or no gradient returned for a float input (return one, or mark it const). A coarser "
    "demand is LayerSpec(resolution=1e-4)."
)
