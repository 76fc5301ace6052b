"""The network of Q5: two hidden blocks Linear -> norm -> Tanh -> Dropout, then Linear to the classes."""

from collections.abc import Sequence

import torch

from layers import BatchNorm, Dropout, InstanceNorm, Linear, Sequential, Tanh
from report.settings import Experiment, Norm
from report.streams import streams


def build(experiment: Experiment, seeds: Sequence[int], sizes: tuple[int, int, int], device: str = "cpu") -> Sequential:
    """S models in one, a leading index for each seed; sizes are (inputs, width, classes).

    Weights are drawn on the CPU, in the order of the layers, so that every device starts from the same ones.
    """
    D, width, K = sizes
    weights = streams(seeds, "initialisation")
    masks = streams(seeds, "masks", device)
    S = len(seeds)
    return Sequential(
        Linear(D, width, weights),
        _norm(experiment.norm, width, S),
        Tanh(),
        Dropout(experiment.p, masks),
        Linear(width, width, weights),
        _norm(experiment.norm, width, S),
        Tanh(),
        Dropout(experiment.p, masks),
        Linear(width, K, weights),
    ).to(dtype=torch.float32, device=torch.device(device))


def _norm(norm: Norm, width: int, S: int) -> InstanceNorm | BatchNorm:
    if norm == "in":
        return InstanceNorm(width, leading=(S,))
    return BatchNorm(width, leading=(S,))
