"""The same cotangent in other memory: transposed, with gaps and an offset, channels-last, one number or one row expanded.

`sum()` and `mean()` send a gradient that is one number with strides 0, `y.mean(0)` one row for all rows with a stride of 0,
and a transpose sends one in another order. A backward that reads memory as if it were contiguous, or that can't take it, is
wrong for them.
"""

from harness import LayerSpec


class Double:
    """It reads the cotangent as it lies in memory."""

    def forward(self, x):
        return 2 * x

    def backward(self, v):
        return 2 * v.as_strided(v.shape, (v.shape[1], 1))


SPEC = LayerSpec(build=Double, inputs="B D")

INCONCLUSIVE = (
    "Two forwards under one seed differ, so that no two backwards can be compared. Let the layer draw from a generator "
    "that can be replayed: torch's or NumPy's global one, Python's `random`, or one that it holds as an attribute."
)
