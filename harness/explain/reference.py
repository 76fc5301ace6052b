"""Outputs and gradients, against the same function by other means (LayerSpec(reference=...)).

A forward and a backward may agree with one another and both be another function than was meant: only a reference
shows that. It is called with the inputs, and by name with parameters, buffers, dimensions, options and mode. FAIL too
where the layer refuses an example that the reference takes.
"""

from harness import LayerSpec


class Variance:
    """The reference divides by D - 1."""

    def forward(self, x):
        self.c = x - x.mean(-1, keepdim=True)
        return self.c.square().mean(-1)

    def backward(self, v):
        return v[:, None] * 2 * self.c / self.c.shape[-1]


SPEC = LayerSpec(build=Variance, inputs="B D", dims={"D": range(2, 7)}, reference=lambda x: x.var(-1))

INCONCLUSIVE = (
    "The reference's own gradient could not be told from rounding or from a kink, or it refuses points near the "
    "example, or it raised at every one (NotImplementedError says that it does not apply). Give a reference that computes "
    "in float64 in plain tensor operations, over the same domain as the layer."
)
