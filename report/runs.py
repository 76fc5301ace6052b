"""One job of the study: train a group of seeds of one model, and measure them along the way and at the end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from layers import Sequential
from report.dataset import Dataset
from report.measures import Threshold, classify, evaluate, evaluate_shared
from report.model import build
from report.settings import EXPERIMENTS, Experiment, Settings
from report.shift import reestimate, shift
from report.statistics import Value
from report.training import Split, split_by_seed, train

CURVES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")
GRID = 120  # points along each side of the map of decisions
Progress = Callable[[int], object]  # told how many epochs, summed over its seeds, a job has gone on


@dataclass(frozen=True)
class Job:
    """Which seeds of which model train together, and for how many epochs."""

    experiment: Experiment
    seeds: tuple[int, ...]
    epochs: int
    alone: bool = False  # a control: one seed without the others


@dataclass(frozen=True)
class Run:
    """What one seed of one model gave."""

    experiment: Experiment
    seed: int
    epochs: int
    values: dict[str, Value]
    curves: dict[str, NDArray[np.float32]]  # each of as many points as epochs were recorded
    decisions: NDArray[np.uint8] | None  # (GRID, GRID): the class of each point of the map
    seconds: float  # of training, with the measurements along the way: its share of the group's
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # the final parameters


def varied(settings: Settings, job: Job) -> Settings:
    """The settings with what the experiment has of its own."""
    e = job.experiment
    own = {"epochs": settings.epochs * e.longer, "lr": e.lr or settings.lr, "width": e.width or settings.width}
    return replace(settings, **own)  # type: ignore[arg-type]


def recorded_epochs(settings: Settings) -> NDArray[np.int64]:
    """The epochs of which learning curves keep a point: every so many, and the last."""
    epochs = np.arange(settings.record_every, settings.epochs + 1, settings.record_every)
    return epochs if epochs[-1] == settings.epochs else np.append(epochs, settings.epochs)


def run(job: Job, dataset: Dataset, settings: Settings, progress: Progress = lambda _: None) -> list[Run]:
    """Train and measure, seed by seed. One thread: small matrices gain nothing from more, and sums keep one order."""
    with one_thread(), torch.inference_mode():
        data = split_by_seed(dataset, job.seeds, settings)
        settings = varied(settings, job)
        sizes = (dataset.X.shape[1], settings.width, dataset.n_classes)
        model = build(job.experiment, job.seeds, sizes, settings.device)
        observer = Observer(data, settings, job.epochs, progress)
        start = time.perf_counter()
        train(model, data, job.seeds, settings, observer, job.epochs)
        seconds = (time.perf_counter() - start) / len(job.seeds)
        return _runs(job, model, dataset, data, observer, seconds)


class Observer:
    """Watches a group while it trains: validation after every epoch, the curves at the recorded ones."""

    def __init__(self, data: Split, settings: Settings, epochs: int, progress: Progress) -> None:
        self.data, self.progress = data, progress
        self.S, self.epochs = len(data.y_val), epochs
        self.recorded = set(recorded_epochs(settings).tolist())
        self.reached = Threshold(settings.threshold, self.S)
        self.rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in CURVES}

    def __call__(self, epoch: int, model: Sequential) -> None:
        """After each epoch, from 1."""
        accuracy, loss = evaluate(model, self.data.z_val, self.data.y_val)
        self.reached.see(epoch, accuracy)
        if epoch in self.recorded:
            train_accuracy, train_loss = evaluate(model, self.data.z_train, self.data.y_train)
            for name, row in zip(CURVES, (train_accuracy, accuracy, train_loss, loss), strict=True):
                self.rows[name].append(row.numpy().astype(np.float32))
        if epoch % 10 == 0 or epoch == self.epochs:
            self.progress(self.S * ((epoch - 1) % 10 + 1))

    def curves(self) -> dict[str, NDArray[np.float32]]:
        """One row for each seed."""
        return {name: np.stack(rows, axis=1) for name, rows in self.rows.items()}


def _runs(job: Job, model: Sequential, dataset: Dataset, data: Split, observer: Observer, seconds: float) -> list[Run]:
    """The final measures, on the training, validation and fresh points of each seed."""
    S = observer.S
    values = _final(model, dataset, data, S) | {"epochs_to_95": observer.reached.epochs()}
    curves = observer.curves()
    decisions = _decisions(model, dataset, S, data.z_val.device) if job.experiment in EXPERIMENTS else None
    values |= _shifted(model, dataset, data, S)
    weights = {name: θ.cpu().numpy().copy() for name, θ in model.params.items()}

    def of(s: int) -> Run:
        return Run(
            job.experiment,
            job.seeds[s],
            job.epochs,
            {name: value[s] for name, value in values.items()},
            {name: curve[s] for name, curve in curves.items()},
            None if decisions is None else decisions[s],
            seconds,
            {name: θ[s] for name, θ in weights.items()},
        )

    return [of(s) for s in range(S)]


def _final(model: Sequential, dataset: Dataset, data: Split, S: int) -> dict[str, Sequence[Value]]:
    """Accuracies, then losses, each with an entry for each seed."""
    parts = {"train": evaluate(model, data.z_train, data.y_train), "val": evaluate(model, data.z_val, data.y_val)}
    if len(dataset.y_test):
        z, y = (torch.from_numpy(part).to(data.y_val.device) for part in (dataset.X_test, dataset.y_test))
        parts["test"] = evaluate_shared(model, z, y, S)
    return {f"{part}_{m}": of[i].tolist() for i, m in enumerate(("accuracy", "loss")) for part, of in parts.items()}


def _shifted(model: Sequential, dataset: Dataset, data: Split, S: int) -> dict[str, Sequence[Value]]:
    """Variance shift at each norm, and what re-estimated statistics make of the accuracies; last, as it moves buffers."""
    found: dict[str, Sequence[Value]] = {
        f"variance_shift_{i}": of.tolist() for i, of in enumerate(shift(model, data.z_train), 1)
    }
    if not model.buffers:
        return found
    reestimate(model, data.z_train)
    return found | {f"reestimated_{name}": value for name, value in _final(model, dataset, data, S).items()}


def grid_axes(X: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the map of decisions is looked at: the square around all points, with a margin."""
    low, high = float(X.min()), float(X.max())
    margin = 0.1 * (high - low)
    axis = np.linspace(low - margin, high + margin, GRID, dtype=np.float32)
    return axis, axis


def _decisions(model: Sequential, dataset: Dataset, S: int, device: torch.device) -> NDArray[np.uint8] | None:
    """The class that each seed gives to each point of the grid; points that are not planar have no map."""
    if dataset.X.shape[1] != 2 or dataset.n_classes > 256:
        return None
    x, y = np.meshgrid(*grid_axes(dataset.X))
    points = torch.from_numpy(np.stack([x.ravel(), y.ravel()], axis=-1)).to(device)
    return classify(model, points, S).cpu().numpy().astype(np.uint8).reshape(S, GRID, GRID)


@contextmanager
def one_thread() -> Iterator[None]:
    """Put torch's thread count back afterwards: a caller's process is not ours to change."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def groups(seeds: Sequence[int], size: int = 30) -> list[tuple[int, ...]]:
    """About 30 seeds train fastest together: enough to share the cost of a call, few enough for the cache."""
    count = -(-len(seeds) // size)
    return [tuple(part.tolist()) for part in np.array_split(np.array(seeds), count)] if count else []
