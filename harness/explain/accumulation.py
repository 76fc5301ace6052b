"""Gradients that the layer keeps on itself are all added to what stands there, or all put in its place.

Two backwards, the second without clearing what the first left: every kept gradient must then be the sum of both or the
second alone, and all of a layer in the same way; the report says in which. The promise "accumulates" or "overwrites"
holds the layer to one of them.
"""

import torch

from harness import LayerSpec


class Affine:
    """The gradient of w is added up, that of b overwritten."""

    def __init__(self, D):
        self.w, self.b = torch.ones(D), torch.zeros(D)
        self.dw, self.db = torch.zeros(D), torch.zeros(D)

    def forward(self, x):
        self.x = x
        return x * self.w + self.b

    def backward(self, v):
        self.dw += (v * self.x).sum(0)
        self.db = v.sum(0)
        return v * self.w


SPEC = LayerSpec(build=Affine, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
