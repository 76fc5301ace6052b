"""The mean of train outputs over draws is the eval output, and each entry of a mask is drawn on its own.

Asked of layers whose evaluation is the identity and that make zeros of zeros or add noise, and under the promise "unbiased": 7, 21 or 63
train forwards, as many as it takes to see a bias or that one of 1 % would be seen, against the bound of Chernoff's inequality
for masks, and of Hoeffding's for other noise, at three false alarms in 10⁹; a PASS states the smallest bias that would have
been seen. Channels of images that are dropped as a whole count as one entry each; other masks, and noise, that are meant to be
shared by several entries promise "shared_mask".
"""

import torch

from harness import LayerSpec


class Dropout:
    """It forgets to divide by the share that it keeps."""

    training = True

    def forward(self, x):
        self.m = (torch.rand(x.shape) >= 0.5).to(x) if self.training else torch.ones_like(x)
        return x * self.m

    def backward(self, v):
        return v * self.m


SPEC = LayerSpec(build=Dropout, inputs="B D")

INCONCLUSIVE = (
    "Two forwards under one seed differ, so that it can't be drawn from at will. Let the layer draw from a generator that "
    "can be replayed: torch's or NumPy's global one, Python's `random`, or one that it holds as an attribute."
)
