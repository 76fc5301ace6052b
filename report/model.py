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
        dropout = [SeededDropout(experiment.p, masks)] if experiment.p else []
        return [Linear(D, width, weights), *_norm(experiment.norm, width, len(seeds)), Tanh(), *dropout]

    layers = [*block(D), *block(width), Linear(width, K, weights)]
    return Sequential(*layers).to(dtype=torch.float32, device=torch.device(device))


def _norm(norm: Norm, width: int, S: int) -> list[Layer]:
    kinds: dict[Norm, list[type[InstanceNorm] | type[BatchNorm]]] = {
        "in": [InstanceNorm],
        "bn": [BatchNorm],
        "none": [],
    }
    return [kind(width, leading=(S,)) for kind in kinds[norm]]
