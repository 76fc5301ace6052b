"""summary.json: the settings, every measure of every run, and the paired differences."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from report.dataset import Dataset, train_counts
from report.errors import UsageError
from report.settings import COMPARISONS, EXPERIMENTS, Settings
from report.statistics import Statistic, Value, describe, paired
from report.store import read_json

MEASURES = (
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "train_loss",
    "val_loss",
    "test_loss",
    "epochs_to_95",
)
Measures = dict[str, Statistic]


class Summary(TypedDict):
    """The content of summary.json."""

    settings: dict[str, Any]
    experiments: dict[str, Measures]
    paired: dict[str, Measures]


def summarise(settings: Settings, dataset: Dataset, values: Mapping[str, Mapping[str, Sequence[Value]]]) -> Summary:
    """From each experiment's values, one for each seed in order; a measure that was not taken has none."""
    missing: list[Value] = [None] * settings.seeds
    taken = {name: {m: measured.get(m, missing) for m in MEASURES} for name, measured in values.items()}
    return Summary(
        settings=settings.to_dict() | {"dataset": describe_dataset(dataset, settings)},
        experiments={e.name: {m: describe(taken[e.name][m]) for m in MEASURES} for e in EXPERIMENTS},
        paired={
            c.name: {m: paired(taken[c.first.name][m], taken[c.second.name][m]) for m in MEASURES} for c in COMPARISONS
        },
    )


def describe_dataset(dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """The sizes that the text speaks of."""
    counts = [int((dataset.y == c).sum()) for c in range(dataset.n_classes)]
    train = sum(train_counts(counts, settings.train_share))
    return {
        "points": len(dataset.y),
        "features": dataset.X.shape[1],
        "classes": dataset.n_classes,
        "train": train,
        "validation": len(dataset.y) - train,
        "test": len(dataset.y_test),
        "bayes_accuracy": dataset.bayes,
    }


def read(path: Path) -> Summary:
    """The summary at a path; anything of another form is an error that says what is missing."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is not a summary of this report (found {type(content).__name__})")
    expected = {
        "settings": ["seeds", "epochs", "dataset"],
        "experiments": [e.name for e in EXPERIMENTS],
        "paired": [c.name for c in COMPARISONS],
    }
    for part, keys in expected.items():
        missing = [key for key in keys if key not in content.get(part, {})]
        if missing:
            raise UsageError(f"{path}: is not a summary of this report ({part!r} lacks {', '.join(missing)})")
    return Summary(settings=content["settings"], experiments=content["experiments"], paired=content["paired"])


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Marks the files that lie beside summary.json, so that results of different settings are never mixed."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
