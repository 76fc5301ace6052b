"""A batch of one has right gradients, and in evaluation an example gives alone what it gives among others.

Asked of the first dimension of a LayerSpec's first input, unless the layer is built with it or indices go up to it. `squeeze()` without
an axis, and a branch for batches of one, are wrong there alone; statistics of the batch have no place in evaluation.
"""

from harness import LayerSpec


class Scale:
    """It halves the gradient of a batch of one."""

    def forward(self, x):
        return 2 * x

    def backward(self, v):
        return v if len(v) == 1 else 2 * v


SPEC = LayerSpec(build=Scale, inputs="B D")

INCONCLUSIVE = (
    "The gradient at a batch of one could not be resolved; the reason says how far it was. Ask for less with resolution=, "
    "or keep the inputs where the layer is well conditioned with floats(low=, high=)."
)
