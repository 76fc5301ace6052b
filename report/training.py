"""The training loop, in the open: plain SGD on S models in one pass over the leading axis.

Seed s of a group is index s of every tensor: its points, its weights, its masks. No operation mixes indices.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layers import Sequential, SoftmaxCrossEntropy
from report.dataset import Dataset, split
from report.settings import Settings
from report.streams import stream, streams


@dataclass(frozen=True)
class Split:
    """Each seed's own training and validation points: z (S, N, D), y (S, N)."""

    z_train: Tensor
    y_train: Tensor
    z_val: Tensor
    y_val: Tensor


def split_by_seed(dataset: Dataset, seeds: Sequence[int], settings: Settings) -> Split:
    """One stratified split for each seed, from its own stream; the sizes are the same for all."""
    drawn = [split(dataset.y, stream(seed, "split"), settings.train_share) for seed in seeds]
    train, val = (torch.stack(indices) for indices in zip(*drawn, strict=True))
    X, y = torch.from_numpy(dataset.X), torch.from_numpy(dataset.y)
    return Split(*(part.to(settings.device) for part in (X[train], y[train], X[val], y[val])))


def epoch_batches(data: Split, orders: Sequence[torch.Generator], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every seed's training points in a new order of its own, in full batches; the remainder sits this epoch out."""
    S, N, _ = data.z_train.shape
    count = N // size
    order = torch.stack([torch.randperm(N, generator=generator) for generator in orders])
    # (batches, S, size), so that each batch is one contiguous block
    picked = order[:, : count * size].reshape(S, count, size).transpose(0, 1).to(data.z_train.device)
    seed = torch.arange(S, device=picked.device)[:, None]
    yield from zip(data.z_train[seed, picked], data.y_train[seed, picked], strict=True)


def joined(model: Sequential) -> tuple[Tensor, Tensor]:
    """All parameters as one tensor θ, all gradients as another, δθ; the model's own become views of them."""
    return _viewed(model.params), _viewed(model.grads)


def _viewed(tensors: dict[str, Tensor]) -> Tensor:
    # the order in memory stays: of a W that is stored transposed it is that of Wᵀ
    stored = {name: t if t.is_contiguous() else t.mT for name, t in tensors.items()}
    whole = torch.cat([t.reshape(-1) for t in stored.values()])
    parts = torch.split(whole, [t.numel() for t in stored.values()])
    for (name, t), part in zip(stored.items(), parts, strict=True):
        tensors[name] = part.view(t.shape) if t is tensors[name] else part.view(t.shape).mT
    return whole


def update(
    model: Sequential, loss: SoftmaxCrossEntropy, z: Tensor, y: Tensor, θ: Tensor, δθ: Tensor, lr: float
) -> None:
    """One step of plain SGD: θ ← θ − lr ∂L/∂θ. Each model has its own loss, so no gradient crosses seeds."""
    loss.forward(model.forward(z), y)
    model.backward(loss.backward())
    θ.sub_(δθ, alpha=lr)
    δθ.zero_()


def train(
    model: Sequential,
    data: Split,
    seeds: Sequence[int],
    settings: Settings,
    observe: Callable[[int, Sequential], None],
    epochs: int | None = None,
) -> None:
    """All epochs (or only the first so many); `observe(epoch, model)` sees the model in evaluation mode after each."""
    loss = SoftmaxCrossEntropy()
    orders, (θ, δθ) = streams(seeds, "batches"), joined(model)
    for epoch in range(1, (epochs or settings.epochs) + 1):
        model.train()
        for z, y in epoch_batches(data, orders, settings.batch):
            update(model, loss, z, y, θ, δθ, settings.lr)
        model.eval()
        observe(epoch, model)
