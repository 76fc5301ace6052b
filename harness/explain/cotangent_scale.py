"""Cotangents 2⁶⁶ times larger and smaller (in float64) give gradients as much larger and smaller.

Loss scaling and long sums send such gradients. A backward that adds a guard against division by zero, flushes small
numbers or clips by norm is right at unit size alone.
"""

from harness import LayerSpec


class Scale:
    """It takes cotangents below 1e-12 for zero."""

    def forward(self, x):
        return 3 * x

    def backward(self, v):
        return 3 * v * (abs(v) > 1e-12)


SPEC = LayerSpec(build=Scale, inputs="B D")

INCONCLUSIVE = (
    "Two forwards under one seed differ, so that no two backwards can be compared. Let the layer draw from a generator "
    "that can be replayed: torch's or NumPy's global one, Python's `random`, or one that it holds as an attribute."
)
