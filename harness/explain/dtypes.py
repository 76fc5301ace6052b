"""Outputs and gradients keep the dtype and device that they were given.

A float32 gradient of a float64 input was rounded on its way: some seven digits are left. A layer whose own state is
float32 is judged in float32 as a whole, and the report says so. Under the promise "portable" whatever is made on the way
must be made where the inputs are: `torch.zeros(n)` without `device=` is not.
"""

import torch

from harness import LayerSpec


class Cube:
    """Its gradient is put into a buffer of float32."""

    def forward(self, x):
        self.x = x
        return x**3

    def backward(self, v):
        out = torch.zeros(v.shape)
        out += v * 3 * self.x**2
        return out


SPEC = LayerSpec(build=Cube, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
