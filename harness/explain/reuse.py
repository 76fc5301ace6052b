"""Backward belongs to its own forward, whatever came before it or in between.

Before: a forward and backward at other values, and of half and twice as many rows (the other mode is `mode_switch`'s); on
the very tensors that the evaluation gets, filled anew for it, so that what is kept under an array's identity is old. In
between: a forward and backward of another layer of the class, which finds what the first has left in globals and in the class.
Beside it: one made anew whose first batches were others, and which answers otherwise if the layer goes by its first for good
(its number of rows, a mask by shape). That a second forward replaces what the first kept is said, and is a failure only under
the promise "reentrant", and in what autograd runs (a Function, module or callable), whose graph keeps it for each forward; it is
said too where functions that keep it in a closure are used twice.
"""

from harness import LayerSpec


class Square:
    """It keeps its input on the class, where the next layer finds it."""

    x = 0.0

    def forward(self, x):
        Square.x = x
        return x * x

    def backward(self, v):
        return 2 * Square.x * v


SPEC = LayerSpec(build=Square, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
