"""Running statistics move in train forwards only, as a reference's do, and eval reads them.

A statistic that eval moves makes predictions depend on what was predicted before; one that backward moves counts a
batch twice; one that train keeps and eval does not read is kept for nothing. A reference that moves the buffers it is
handed in place, as torch's batch_norm does, says how they move: momentum, and which variance is kept, are held to it.
"""

import torch

from harness import LayerSpec


class Centre:
    """It keeps a running mean, and moves it in evaluation too."""

    def __init__(self, D):
        self.running_mean, self.training = torch.zeros(D), True

    def forward(self, x):
        self.running_mean = 0.9 * self.running_mean + 0.1 * x.mean(0)
        self.m = x.mean(0) if self.training else self.running_mean
        return x - self.m

    def backward(self, v):
        return v - v.mean(0) if self.training else 0.9 * v


SPEC = LayerSpec(build=Centre, inputs="B D")

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused in one of the modes. If the layer has no "
    "mode that can be set, name forward's keyword: modes={'train': {'training': True}, 'eval': {'training': False}}."
)
