"""What the notebook has of its own: a check of the gradients, one function that trains, and each question's cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layers import Layer, SoftmaxCrossEntropy
from report.dataset import split
from report.measures import evaluate
from report.model import build
from report.settings import Experiment
from report.spiral import generate_spiral
from report.streams import stream, streams
from report.training import Split, epoch_batches, joined, update

WIDTH, BATCH, LR = 64, 32, 0.1

TITLE = """\
# Normalisation and Dropout by hand

Layers with hand-written backward passes, trained on a spiral: Q5 (InstanceNorm with Dropout), Q6 (InstanceNorm against
BatchNorm), Q7 (with and without Dropout). All code is in this notebook; it needs torch, numpy and matplotlib."""


def numeric(layer: Layer, z: Tensor, v: Tensor, h: float = 1e-6) -> Tensor:
    """∂⟨v, f(z)⟩/∂z by central differences, entry by entry."""
    slope = torch.zeros_like(z)
    for i in range(z.numel()):
        e = torch.zeros(z.numel(), dtype=z.dtype)
        e[i] = h
        above, below = (layer.forward(z + s * e.view(z.shape)) for s in (1, -1))
        slope.view(-1)[i] = (v * (above - below)).sum() / (2 * h)
    return slope


def check_gradients(named: dict[str, Layer]) -> None:
    """The largest relative difference between each backward and central differences, in float64."""
    random = torch.Generator().manual_seed(0)
    for name, layer in named.items():
        layer.to(dtype=torch.float64)
        z, v = (torch.randn(5, 4, dtype=torch.float64, generator=random) for _ in range(2))
        expected = numeric(layer, z, v)
        layer.forward(z)
        error = (layer.backward(v) - expected).abs().max() / expected.abs().max()
        print(f"{name:14s} {error:.1e}")
        assert error < 1e-6


def train(experiment: Experiment, seeds: Sequence[int], epochs: int) -> dict[str, Any]:
    """All seeds of one model in one pass; accuracies and losses over the epochs, the model and its data at the end."""
    X, y = generate_spiral()
    drawn = [split(y, stream(seed, "split")) for seed in seeds]
    train, val = (torch.stack(indices) for indices in zip(*drawn, strict=True))
    data = Split(*(t for part in (train, val) for t in (torch.from_numpy(X)[part], torch.from_numpy(y)[part])))
    model, loss, orders = build(experiment, seeds, (2, WIDTH, 2)), SoftmaxCrossEntropy(), streams(seeds, "batches")
    θ, δθ = joined(model)
    curves: dict[str, list[Tensor]] = {"train": [], "val": [], "loss": []}
    for _ in range(epochs):
        model.train()
        for z, labels in epoch_batches(data, orders, BATCH):
            update(model, loss, z, labels, θ, δθ, LR)
        model.eval()
        of_train, of_val = (evaluate(model, *part) for part in ((data.z_train, data.y_train), (data.z_val, data.y_val)))
        for name, value in (("train", of_train[0]), ("val", of_val[0]), ("loss", of_train[1])):
            curves[name].append(value)
    return {"model": model, **{name: np.stack([v.numpy() for v in values], 1) for name, values in curves.items()}}


SHOW = '''\
def show(name):
    """Mean and sd over seeds, and the median epoch of validation accuracy .95; a run that never gets there is later than any."""
    r = results[name]
    at = np.where((r["val"] >= 0.95).any(1), (r["val"] >= 0.95).argmax(1) + 1, np.inf)
    first = np.median(at)
    when = f"at median epoch {first:.0f}" if np.isfinite(first) else "never in the median run"
    print(f"{name}: train {r['train'][:, -1].mean():.3f} ± {r['train'][:, -1].std(ddof=1):.3f}, validation "
          f"{r['val'][:, -1].mean():.3f} ± {r['val'][:, -1].std(ddof=1):.3f}; validation ≥ .95 {when}")
    return at


def plot(*names):
    """Validation accuracy: median of the seeds, and the middle 80 %."""
    figure, ax = plt.subplots(figsize=(7, 3))
    for name, colour in zip(names, ("#0072B2", "#D55E00")):
        low, middle, high = np.quantile(results[name]["val"], [0.1, 0.5, 0.9], axis=0)
        ax.fill_between(range(EPOCHS), low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(middle, color=colour, ls="-" if name == names[0] else "--", label=name)
    ax.set(xlabel="epoch", ylabel="validation accuracy")
    ax.legend()
    plt.show()


with torch.inference_mode():
    results = {name: train(e, SEEDS, EPOCHS) for name, e in {
        "InstanceNorm + Dropout": Experiment("in", P), "InstanceNorm": Experiment("in", 0.0),
        "BatchNorm + Dropout": Experiment("bn", P), "BatchNorm": Experiment("bn", 0.0)}.items()}'''
DIFFERENCE = '''\
def compare(a, b):
    """Accuracy and loss of two models on the same splits, weights, batches and masks, paired by seed."""
    at = show(a), show(b)
    d = results[a]["val"][:, -1] - results[b]["val"][:, -1]
    half = 1.96 * d.std(ddof=1) / len(d) ** 0.5
    verdict = "not told from 0" if abs(d.mean()) <= half else "higher" if d.mean() > 0 else "lower"
    print(f"Answer: the validation accuracy of {a} minus that of {b} is {d.mean():+.3f} ± {half:.3f} ({verdict}); "
          f"the former arrives earlier in {(at[0] < at[1]).sum()} of {len(d)} seeds, later in {(at[0] > at[1]).sum()}. "
          "Why is not isolated by this comparison.")'''
QUESTIONS: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("markdown", "## The backward passes against central differences"),
        (
            "code",
            'check_gradients({"Linear": Linear(4, 4), "InstanceNorm": InstanceNorm(4), "BatchNorm": BatchNorm(4), "Tanh": Tanh()})',
        ),
    ),
    (
        ("markdown", "## Q5: train InstanceNorm with Dropout. What accuracy does it reach?"),
        ("code", SHOW),
        ("code", 'show("InstanceNorm + Dropout")\nplot("InstanceNorm + Dropout")'),
    ),
    (
        ("markdown", "## Q6: InstanceNorm or BatchNorm?"),
        ("code", DIFFERENCE),
        ("code", 'compare("InstanceNorm", "BatchNorm")\nplot("InstanceNorm", "BatchNorm")'),
        (
            "code",
            'compare("InstanceNorm + Dropout", "BatchNorm + Dropout")\nplot("InstanceNorm + Dropout", "BatchNorm + Dropout")',
        ),
    ),
    (
        ("markdown", "## Q7: what does Dropout change?"),
        ("code", 'compare("InstanceNorm + Dropout", "InstanceNorm")\nplot("InstanceNorm + Dropout", "InstanceNorm")'),
        ("code", 'compare("BatchNorm + Dropout", "BatchNorm")\nplot("BatchNorm + Dropout", "BatchNorm")'),
    ),
)
