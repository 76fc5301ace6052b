"""Inputs, cotangents and parameters keep their bytes, and outputs theirs in backward.

A backward that multiplies the gradient it was handed in place spoils it for whoever else reads it (a skip
connection), a forward that writes into its input changes the layer before, and a backward that works in the memory of
its output changes the logits that somebody still holds. Exact: compared by bytes.
"""

from harness import LayerSpec


class ReLU:
    """It masks the incoming gradient in place."""

    def forward(self, x):
        self.on = x > 0
        return x * self.on

    def backward(self, v):
        v *= self.on
        return v


SPEC = LayerSpec(build=ReLU, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
