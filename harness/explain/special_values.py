"""Every gradient where layers are special: ties, zeros, equal indices, thresholds, saturation, ends of the domain.

Random values never meet these points. At a kink any gradient between the one-sided slopes passes, along every
direction tried, also those that keep the kink (all tied entries together); where the forward is smooth, equality.
"""

from harness import LayerSpec


class RowMax:
    """Where k entries of a row tie, each gets the whole gradient: together k times too much."""

    def forward(self, x):
        self.x, self.y = x, x.amax(-1, keepdim=True)
        return self.y[:, 0]

    def backward(self, v):
        return v[:, None] * (self.x == self.y)


SPEC = LayerSpec(build=RowMax, inputs="B D")

INCONCLUSIVE = (
    "At the point that the reason names, the one-sided slopes could not be told. If the layer is not meant for that "
    "point, leave it out of the domain: floats(low=0, low_open=True). Otherwise look at the point by hand: the reason "
    "and the finding give its values."
)
