"""The same again: from a fresh forward and backward, and from a second call of one backward, which may raise instead.

And what the very first backward of a new layer gave, where one was run to find out whose gradient is whose; and where another
check fails or stays open, or further calls of one backward differ, eight calls at one point: a layer that goes by a count of
its calls is named as that.

Once more with memory that is allocated without being written to filled with NaN: what shows was read unwritten. torch fills all
of its own, NumPy what `numpy.empty` and `numpy.empty_like` make; not filled is what `from numpy import empty`,
`numpy.ndarray(shape)` and compiled code allocate, which shows only if what stands there differs from call to call.
"""

import torch

from harness import LayerSpec


class Square:
    """It writes into what it has kept, and answers otherwise the second time."""

    def forward(self, x):
        self.x = torch.clone(x)
        return x * x

    def backward(self, v):
        self.x *= 2
        return self.x * v


SPEC = LayerSpec(build=Square, inputs="B D")

INCONCLUSIVE = (
    "Two forwards under one seed differ, by the amount that is said. If the layer draws, let it draw from a generator that "
    "can be replayed; if its sums come in another order each time (atomics, threads), ask for their deterministic form."
)
