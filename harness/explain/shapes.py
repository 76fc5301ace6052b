"""Every gradient is there and has its tensor's shape.

A gradient of shape (1, D) for a bias of shape (D,) passes every comparison that broadcasts, and an optimiser then
changes the bias's shape. Exact: there is no tolerance.
"""

import torch

from harness import LayerSpec


class Shift:
    """The gradient of b keeps the summed axis."""

    def __init__(self, D):
        self.b = torch.zeros(D)

    def forward(self, x):
        return x + self.b

    def backward(self, v):
        self.db = v.sum(0, keepdim=True)
        return v


SPEC = LayerSpec(build=Shift, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
