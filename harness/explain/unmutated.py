"""Inputs, cotangents and parameters keep their bytes, and outputs theirs in backward; what others share stays as it was.

A backward that multiplies the gradient it was handed in place spoils it for whoever else reads it (a skip
connection), a forward that writes into its input changes the layer before, and a backward that works in the memory of
its output changes the logits that somebody still holds. Exact: compared by bytes.

What a layer changes for the whole program fails too: `np.random.seed(42)` or `torch.manual_seed(0)` inside forward or
backward (dropout draws one mask for ever, and so does every layer after it; a state that is put back later is fine, and so
is a generator of the layer's own), torch's grad mode, default dtype, determinism or threads and NumPy's error handling left
otherwise than they were found (`with torch.no_grad():`, `with np.errstate(...):` put them back), and a layer that switches
its own mode.
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
