"""The network of Q5: two hidden blocks Linear -> norm -> Tanh -> Dropout, then Linear to the classes."""

from collections.abc import Sequence

import torch

from layers import BatchNorm, InstanceNorm, Layer, Linear, Sequential, Tanh
from report.masks import SeededDropout
from report.settings import Experiment, Norm
from report.streams import bits, streams


def build(experiment: Experiment, seeds: Sequence[int], sizes: tuple[int, int, int], device: str = "cpu") -> Sequential:
    """S models in one, a leading index for each seed; sizes are (inputs, width, classes).

    Weights are drawn on the CPU, in the order of the layers, so that every device starts from the same ones.
    """
    D, width, K = sizes
    weights, masks = streams(seeds, "initialisation"), bits(seeds, "masks")

    def block(D: int) -> list[Layer]:
        linear, norm = Linear(D, width, weights), _norm(experiment.norm, width, len(seeds))
        return [linear, norm, Tanh(), *([SeededDropout(experiment.p, masks)] if experiment.p else [])]

    layers = [*block(D), *block(width), Linear(width, K, weights)]
    return Sequential(*layers).to(dtype=torch.float32, device=torch.device(device))


def _norm(norm: Norm, width: int, S: int) -> InstanceNorm | BatchNorm:
    if norm == "in":
        return InstanceNorm(width, leading=(S,))
    return BatchNorm(width, leading=(S,))
