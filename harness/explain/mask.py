"""Layers that draw: a new mask each train forward, the same one in backward, none in eval.

Where outputs are inputs times 0 or a constant, backward must multiply by the same; evaluations must agree with one
another, unless no mask or noise on an input is seen in what they draw, as in a sample's: then it is INCONCLUSIVE; and a
layer with an option drop, p_drop ... between 0 and 1 (p and rate too, if it does nothing but scale its input) must draw in
training at all, unless that is the slope of a leaky relu. Where a spec's build asks for a generator, a layer that keeps it
and draws from a global one instead fails.
"""

import torch

from harness import LayerSpec


class Dropout:
    """It drops in evaluation too."""

    def __init__(self, p):
        self.p, self.training = p, True

    def forward(self, x):
        self.m = (torch.rand(x.shape) >= self.p) / (1 - self.p)
        return x * self.m

    def backward(self, v):
        return v * self.m


SPEC = LayerSpec(build=Dropout, inputs="B D", options={"p": (0.0, 0.5)})

INCONCLUSIVE = (
    "It draws in evaluation and no mask is seen: where the layer is a sample, write skip=('mask',). Or two forwards under "
    "one seed differ: the layer's generator can't be replayed. Let it draw from torch's or NumPy's global generator, "
    "Python's `random`, or a generator that it holds as an attribute (not from os.urandom or one made anew without a seed "
    "in each forward)."
)
