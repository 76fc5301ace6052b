"""The gradient of every parameter, against central differences of the layer's own forward.

Parameters are drawn anew in each example, since at γ = 1 a missing γ is invisible. Which attribute is a parameter and
which its gradient is found by name and confirmed by trying: a changed parameter moves the output.
"""

import torch

from harness import LayerSpec


class Scale:
    """The gradient of w is a sum over the batch."""

    def __init__(self, D):
        self.w = torch.ones(D)

    def forward(self, x):
        self.x = x
        return x * self.w

    def backward(self, v):
        self.dw = (v * self.x).mean(0)
        return v * self.w


SPEC = LayerSpec(build=Scale, inputs="B D")

INCONCLUSIVE = (
    "Most often a tensor changes the output and no gradient of it was found: name its gradient d<name>, put it where "
    "the parameter's own is kept, or write LayerSpec(grads={'W': 'delta_w'}); of a constant, grads={'W': None}. "
    "Otherwise differences could not tell: as for input_gradient."
)
