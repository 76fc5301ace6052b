"""Variance shift, layer by layer: what a norm sees in evaluation beside what it was given in training."""

from collections.abc import Iterator

from torch import Tensor

from layers import BatchNorm, InstanceNorm, Sequential


def variances(model: Sequential, z: Tensor) -> Iterator[tuple[BatchNorm | InstanceNorm, Tensor]]:
    """Each norm with the variance over the points z of each feature that comes in, in the mode that the model is in."""
    for layer in model.layers:
        if isinstance(layer, BatchNorm | InstanceNorm):
            yield layer, z.var(-2, keepdim=True)
        z = layer.forward(z)


def shift(model: Sequential, z: Tensor) -> list[Tensor]:
    """For each norm, and each of S seeds, the variance in evaluation over that in training: geometric mean over features.

    In training is what BatchNorm's running variance says; InstanceNorm keeps none, so z goes through with masks once.
    """
    kept = {name: b.clone() for name, b in model.buffers.items()}
    masked = [seen for _, seen in variances(model.train(), z)]
    for name, b in kept.items():
        model.buffers[name].copy_(b)
    plain = list(variances(model.eval(), z))
    then = [norm.buffers.get("running_var", seen) for (norm, _), seen in zip(plain, masked, strict=True)]
    return [(seen / t).log().mean((-2, -1)).exp().double().cpu() for (_, seen), t in zip(plain, then, strict=True)]


def reestimate(model: Sequential, z: Tensor) -> None:
    """Give every BatchNorm the statistics of the points z as they arrive in evaluation, from the first layer on."""
    for layer in model.eval().layers:
        if isinstance(layer, BatchNorm):
            layer.buffers["running_mean"].copy_(z.mean(-2, keepdim=True))
            layer.buffers["running_var"].copy_(z.var(-2, keepdim=True))
        z = layer.forward(z)
