"""Inputs, cotangents and parameters keep their bytes, and outputs theirs in backward; what others share stays as it was.

A backward that multiplies the gradient it was handed in place spoils it for whoever else reads it (a skip
connection), a forward that writes into its input changes the layer before, and a backward that works in the memory of
its output changes the logits that somebody still holds. Exact: compared by bytes.

A layer that switches its own mode fails too, and one that leaves torch's grad mode or default dtype otherwise than it
found them (`with torch.no_grad():` puts it back): what runs after it computes something else.

What else it changes for the whole program is said beside a PASS: `np.random.seed(42)` or `torch.manual_seed(0)` inside
forward or backward, as layers have whose forwards are to be compared (all that draws after it draws the same at every
call; a state that is put back and a generator of the layer's own are better), and determinism, threads and anomaly
detection left otherwise than they were.
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
