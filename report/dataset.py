"""The points that the models see: the built-in spiral, or whatever --data names in its place."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from report.errors import UsageError
from report.settings import SPIRAL, Settings
from report.spiral import bayes_accuracy, generate_spiral
from report.store import UNREADABLE, load_arrays

Points = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Points to split into train and validation, and fresh ones (perhaps none) from the same source."""

    X: Points
    y: Labels
    X_test: Points
    y_test: Labels
    bayes: float | None = None

    @property
    def n_classes(self) -> int:
        """K, from the labels 0 … K−1."""
        return int(self.y.max()) + 1


def load(settings: Settings) -> Dataset:
    """The dataset that the settings name."""
    if settings.data == SPIRAL:
        dataset = _generated(generate_spiral, settings, f"the built-in {SPIRAL}")
        return Dataset(
            dataset.X, dataset.y, dataset.X_test, dataset.y_test, bayes_accuracy(dataset.X_test, dataset.y_test)
        )
    if settings.data.endswith(".npz"):
        return _from_file(settings)
    if ":" in settings.data:
        return _from_function(settings)
    raise UsageError(
        f"--data {settings.data}: neither a file ending in .npz nor module:function; "
        "write --data points.npz (arrays X and y) or --data mymodule:generate_spiral"
    )


def _from_file(settings: Settings) -> Dataset:
    """Arrays X (N, D) and y (N,); X_test and y_test where there are fresh points."""
    path = Path(settings.data)
    try:
        arrays = load_arrays(path)
    except FileNotFoundError:
        raise UsageError(f"--data {path}: there is no such file") from None
    except UNREADABLE as error:
        raise UsageError(f"--data {path}: cannot be read as an .npz archive of plain arrays ({error})") from None
    if not {"X", "y"} <= arrays.keys():
        raise UsageError(f"--data {path}: needs arrays X and y, found {sorted(arrays)}; write np.savez(path, X=X, y=y)")
    X, y = _validated(arrays["X"], arrays["y"], str(path), settings)
    if not {"X_test", "y_test"} <= arrays.keys():
        return Dataset(X, y, X[:0], y[:0])
    X_test, y_test = _arrays(arrays["X_test"], arrays["y_test"], f"{path}, X_test and y_test")
    return _with_fresh(X, y, X_test, y_test, str(path))


def _from_function(settings: Settings) -> Dataset:
    module_name, _, function_name = settings.data.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"--data {settings.data}: cannot import {module_name!r} ({error})") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"--data {settings.data}: {module_name} has no function {function_name!r}")
    return _generated(function, settings, settings.data)


def _generated(function: Callable[..., Any], settings: Settings, source: str) -> Dataset:
    """Called with the assignment's arguments where it takes them; without them there are no fresh points."""
    if not {"n_per_class", "seed"} <= _keywords(function):
        X, y = _validated(*_call(function, source), source, settings)
        return Dataset(X, y, X[:0], y[:0])
    X, y = _validated(*_call(function, source, seed=settings.data_seed), source, settings)
    n_per_class = settings.test_points // (int(y.max()) + 1)
    fresh = _call(function, source, n_per_class=n_per_class, seed=settings.test_seed)
    return _with_fresh(X, y, *_arrays(*fresh, source), source)


def _keywords(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters)


def _call(function: Callable[..., Any], source: str, **arguments: int) -> tuple[object, object]:
    try:
        made = function(**arguments)
    except Exception as error:  # another's code: whatever it raises is told with its source
        raise UsageError(f"--data {source}: called with {arguments}, it raised {error!r}") from error
    if not isinstance(made, tuple) or len(made) != 2:
        raise UsageError(f"--data {source}: must return the pair (X, y), found {type(made).__name__}")
    return made


def _with_fresh(X: Points, y: Labels, X_test: Points, y_test: Labels, source: str) -> Dataset:
    if X_test.shape[1] != X.shape[1] or (len(y_test) and y_test.max() > y.max()):
        raise UsageError(
            f"--data {source}: fresh points have {X_test.shape[1]} columns and labels up to "
            f"{y_test.max(initial=0)}, the dataset {X.shape[1]} and {y.max()}; both must agree"
        )
    return Dataset(X, y, X_test, y_test)


def _arrays(X_given: object, y_given: object, source: str) -> tuple[Points, Labels]:
    X, y = _numpy(X_given), _numpy(y_given)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise UsageError(f"--data {source}: needs X of shape (N, D) and y of shape (N,), found {X.shape} and {y.shape}")
    if not np.issubdtype(X.dtype, np.floating) and not np.issubdtype(X.dtype, np.integer):
        raise UsageError(f"--data {source}: X must hold real numbers, found dtype {X.dtype}")
    if not np.isfinite(X).all():
        raise UsageError(f"--data {source}: X must be finite, found {X[~np.isfinite(X)][0]} in it")
    if not np.issubdtype(y.dtype, np.integer) or (y.size and y.min() < 0):
        raise UsageError(f"--data {source}: y must hold integer labels 0 … K−1, found {y.dtype} from {y.min()}")
    return X.astype(np.float32), y.astype(np.int64)


def _numpy(given: object) -> NDArray[Any]:
    return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)


def _validated(X_given: object, y_given: object, source: str, settings: Settings) -> tuple[Points, Labels]:
    """What can be split and trained on: at least two classes, none empty, and one full batch."""
    X, y = _arrays(X_given, y_given, source)
    counts = np.bincount(y) if y.size else np.zeros(0, int)
    if len(counts) < 2 or counts.min() < 2:
        raise UsageError(
            f"--data {source}: needs at least 2 classes 0 … K−1 with at least 2 points each, "
            f"found {dict(enumerate(counts.tolist()))} points by label"
        )
    n_train = sum(train_counts(counts.tolist(), settings.train_share))
    if n_train < settings.batch:
        raise UsageError(f"--data {source}: {n_train} training points are fewer than one batch of {settings.batch}")
    return X, y


def train_counts(counts: Sequence[int], share: float) -> list[int]:
    """How many points of each class train: the share, rounded, with at least one point on either side."""
    return [min(max(round(share * n), 1), n - 1) for n in counts]


def split(y: Labels, generator: torch.Generator, share: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the training and of the validation points: the share of every class, drawn at random."""
    train, val = [], []
    for c, n_train in enumerate(train_counts(np.bincount(y).tolist(), share)):
        of_class = torch.from_numpy(np.flatnonzero(y == c))
        drawn = of_class[torch.randperm(len(of_class), generator=generator)]
        train.append(drawn[:n_train])
        val.append(drawn[n_train:])
    return torch.cat(train), torch.cat(val)
