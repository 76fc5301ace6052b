"""Every gradient in float32: as exact as rounding there allows.

A backward may be right in float64 and lose all digits in float32. The gradient is compared with the layer's own in
float64; allowed is what changes of the inputs' and intermediates' last digits, and autograd in float32, explain.
"""

from harness import LayerSpec


class Square:
    """Its backward is the difference of larger numbers, whose last digits are coarse."""

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, v):
        return v * (258 * self.x - 256 * self.x)


SPEC = LayerSpec(build=Square, inputs="B D")

INCONCLUSIVE = (
    "In float32 the forward is off by more than rounding too, or there is no second opinion (autograd, a reference) to "
    "tell what float32 allows. A reference gives one. If the layer is not meant for float32: gaps={'float32': 'why'}."
)
