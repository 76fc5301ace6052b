"""What is measured of S models at once: accuracy and loss in evaluation mode, and when a threshold was reached."""

import torch
from torch import Tensor

from layers import Sequential, SoftmaxCrossEntropy


def evaluate(model: Sequential, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy and loss of each model, both of shape (S,) and on the CPU; z is (S, N, D), y (S, N)."""
    logits = model.forward(z)
    loss = SoftmaxCrossEntropy().forward(logits, y)
    right = logits.argmax(-1) == y
    return right.cpu().to(torch.float64).mean(-1), loss.cpu().to(torch.float64)


def evaluate_shared(model: Sequential, z: Tensor, y: Tensor, S: int) -> tuple[Tensor, Tensor]:
    """The same over points (N, D) that all models share."""
    accuracy, loss = torch.zeros(2, S, dtype=torch.float64)
    for rows in _chunks(len(z)):
        part = evaluate(model, z[rows].expand(S, -1, -1), y[rows].expand(S, -1))
        accuracy += part[0] * len(y[rows])
        loss += part[1] * len(y[rows])
    return accuracy / len(y), loss / len(y)


def classify(model: Sequential, z: Tensor, S: int) -> Tensor:
    """Each model's class for points (N, D) that all share: (S, N)."""
    return torch.cat([model.forward(z[rows].expand(S, -1, -1)).argmax(-1) for rows in _chunks(len(z))], dim=-1)


def _chunks(n: int, rows: int = 500) -> list[slice]:
    """Some rows at a time, so that the activations of all models fit the cache."""
    return [slice(start, start + rows) for start in range(0, n, rows)]


class Threshold:
    """The first epoch at which each of S runs reached an accuracy; 0 while it has not."""

    def __init__(self, level: float, S: int) -> None:
        self.level = level
        self.first = torch.zeros(S, dtype=torch.int64)

    def see(self, epoch: int, accuracy: Tensor) -> None:
        """Epochs come in order."""
        self.first[(self.first == 0) & (accuracy >= self.level)] = epoch

    def epochs(self) -> list[int | None]:
        """None for a run that never got there."""
        return [epoch or None for epoch in self.first.tolist()]
