"""Every gradient, against autograd through the layer's own forward.

Autograd is exact to rounding where it applies, and sees errors far below what differences can. It vouches only where
differences confirm it: a forward that leaves the graph (detach, .data, NumPy) sets it aside. SKIP where backward is
autograd's own, or the forward is not torch's.
"""

import torch

from harness import LayerSpec


class Softmax:
    """Its backward subtracts the mean that the output weighs, not the plain one."""

    def forward(self, x):
        self.y = torch.softmax(x, -1)
        return self.y

    def backward(self, v):
        return self.y * (v - v.mean(-1, keepdim=True))


SPEC = LayerSpec(build=Softmax, inputs="B D")

INCONCLUSIVE = (
    "Autograd and the layer agree no further than the resolution, and differences could not decide between them. Look "
    "at input_gradient and parameter_gradient first: what makes these inconclusive does so here."
)
