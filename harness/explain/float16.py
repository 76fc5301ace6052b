"""Every gradient in float16: as exact as rounding there allows.

Numbers above 65504 are infinite in float16, those below 6e-8 zero: what is harmless on its way in float32 is not
here. The oracle and the allowance are as for float32. Numbers inside that leave this range, as 1 + eˣ does from x = 11
on, or in backward (σ² + ε) to the −3/2, are a fault only under the promise "stable"; of outputs, where a reference stays
finite.
"""

from harness import LayerSpec


class Square:
    """Its backward scales up and down again."""

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, v):
        return (v * 1e6) * (2 * self.x) / 1e6


SPEC = LayerSpec(build=Square, inputs="B D", promises=("stable",))

INCONCLUSIVE = (
    "In float16 the forward is off by more than rounding too, or there is no second opinion (autograd, a reference) to "
    "tell what float16 allows. A reference gives one. If the layer is not meant for it: gaps={'float16': 'why'}."
)
