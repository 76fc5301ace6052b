"""A layer that was in the other mode before answers like one that never was.

Made anew, used in one mode, put into the other for a forward and backward, and used again: outputs and gradients are the
same. A flag or a cache that one mode leaves behind shows.
"""

import torch

from harness import LayerSpec


class Gain:
    """Evaluation sets a flag that training never takes back."""

    def __init__(self):
        self.params, self.grads = {"w": torch.ones(3)}, {"w": torch.zeros(3)}
        self.training, self.frozen = True, False

    def forward(self, x):
        self.frozen = self.frozen or not self.training
        self.x = x
        return x * self.params["w"]

    def backward(self, v):
        self.grads["w"] = 0 * self.x.sum(0) if self.frozen else (v * self.x).sum(0)
        return v * self.params["w"]


SPEC = LayerSpec(build=Gain, inputs="B 3")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
