"""A part of the gradients, or of the cotangents, is what it is in the whole.

For autograd Functions, modules, operators and callables: each input and parameter requires a gradient alone, and each is left
out; each of several outputs has a cotangent alone, the others' being None. None, zero and missing gradients are told apart.
Other backwards always compute every gradient, and are skipped.
"""

import torch

from harness import LayerSpec


class Scale(torch.autograd.Function):
    """It goes by the input's flag where the weight's is meant: frozen inputs freeze the weight."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, v):
        x, w = ctx.saved_tensors
        if not ctx.needs_input_grad[0]:
            return None, None
        return v * w, (v * x).sum(0)


SPEC = LayerSpec(build=Scale, inputs=("B D", "D"))

INCONCLUSIVE = (
    "Does not occur by itself: only where too many examples were refused. See the reasons that the report's notes list, "
    "and state the domain with floats(low=, high=) or dims={...}."
)
