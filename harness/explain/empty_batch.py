"""No examples at all: outputs and gradients keep their shapes, and parameters have the gradient zero.

Asked of the first dimension of a LayerSpec's first input, unless the layer is built with it or indices go up to it. A mean over
nothing may be NaN, or a division by zero of Python's own numbers (1 / N), a size of -1 may be left to the library, and a layer
may refuse an empty batch with an error that it raises itself: all but the first are SKIP. So is a crash where what comes out is as
large for one row as for many, and the largest or smallest of nothing where one number comes out. Any other crash is a failure.
"""

from harness import LayerSpec


class Shift:
    """It looks for the largest entry, of which there is none."""

    def forward(self, x):
        return x - x.max()

    def backward(self, v):
        return v


SPEC = LayerSpec(build=Shift, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
