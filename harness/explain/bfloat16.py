"""Every gradient in bfloat16: as exact as rounding there allows.

Eight bits are soon lost: a sum that is kept in bfloat16 stops growing, and a difference of neighbours has nothing
left. Kernels work in float32 and round at the end. The oracle and the allowance are as for float32.
"""

from harness import LayerSpec


class Square:
    """Its backward is a difference quotient, exact but for rounding."""

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, v):
        return v * ((self.x + 1 / 64) ** 2 - (self.x - 1 / 64) ** 2) * 32


SPEC = LayerSpec(build=Square, inputs="B D")

INCONCLUSIVE = (
    "In bfloat16 the forward is off by more than rounding too, or there is no second opinion (autograd, a reference) "
    "to tell what bfloat16 allows. A reference gives one. If the layer is not meant for it: gaps={'bfloat16': 'why'}."
)
