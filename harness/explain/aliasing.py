"""What was handed out stays as it was when the layer is used again, and an update in place changes one thing alone.

Failed where an output or a returned gradient is overwritten by the layer's next use, and where a kept gradient shares memory
with another one or with a parameter. Said, and no failure, is what else lies in one memory: a gradient in the cotangent's, an
input's or a parameter's, two gradients in one another's. Under the promise "owns" what is returned fails that lies in the
memory of what was handed over.
"""

import torch

from harness import LayerSpec


class Square:
    """It returns its gradient in a buffer that the next backward fills again."""

    def __init__(self):
        self.out = torch.zeros(0)

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, v):
        if self.out.shape != v.shape or self.out.dtype != v.dtype:
            self.out = torch.zeros_like(v)
        self.out[...] = 2 * self.x * v
        return self.out


SPEC = LayerSpec(build=Square, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
