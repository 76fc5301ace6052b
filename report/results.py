"""The results of a run as they lie in its directory: what is computed once, and everything else is made from."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from report import summary
from report.dataset import Dataset
from report.errors import UsageError
from report.runs import grid_axes, recorded_epochs
from report.settings import EXPERIMENTS, Settings
from report.statistics import Value, finite
from report.store import Arrays, read_arrays, read_json, to_json, to_npz, write
from report.study import Outcome, control
from report.summary import Summary
from report.verification import Row, peers

SUMMARY, CURVES, VERIFICATION, TIMING = "summary.json", "curves.npz", "verification.json", "timing.json"
EVIDENCE = "evidence.json"

Evidence = Mapping[str, Mapping[str, Sequence[Value]]]
"""Every measure of every model, the explorations among them, seed by seed."""


@dataclass(frozen=True)
class Stored:
    """The summary; curves, votes and points; the verification matrix; the control of independence; explorations."""

    summary: Summary
    arrays: Arrays
    matrix: Sequence[Row]
    control: dict[str, Any]
    evidence: Evidence = field(default_factory=dict)
    peers: dict[str, Any] | None = None


def save(
    directory: Path,
    settings: Settings,
    dataset: Dataset,
    outcomes: Mapping[str, Outcome],
    matrix: Sequence[Row],
) -> None:
    """summary.json last: where it lies, the files beside it are complete."""
    of_four = {e.name: outcomes[e.name] for e in EXPERIMENTS}
    content = summary.summarise(settings, dataset, {name: o.values for name, o in of_four.items()})
    mark = summary.fingerprint(content["settings"])
    arrays = {"settings": np.array(mark), **_arrays(settings, dataset, of_four)}
    every = {name: {m: finite(v) for m, v in o.values.items()} for name, o in outcomes.items()}
    evidence = {"settings": mark, "experiments": every}
    checked = {"settings": mark, "control": _control(settings, of_four), "results": list(matrix), "peers": peers()}
    files = {CURVES: to_npz(arrays), VERIFICATION: to_json(checked), EVIDENCE: to_json(evidence)}
    write(directory, files | {SUMMARY: to_json(content)})


def _arrays(settings: Settings, dataset: Dataset, outcomes: Mapping[str, Outcome]) -> Arrays:
    """All that the figures need beside the summary."""
    made: Arrays = {"epochs": recorded_epochs(settings), "X": dataset.X, "y": dataset.y}
    made["grid_x"], made["grid_y"] = grid_axes(dataset.X)
    for name, outcome in outcomes.items():
        made |= {f"{name}.{curve}": values for curve, values in outcome.curves.items()}
        if outcome.votes is not None:
            made[f"{name}.votes"] = outcome.votes
    return made


def _control(settings: Settings, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Which seed was trained once more alone, for how long, and whether that gave the same bits."""
    seed, epochs = control(settings)
    same = {name: outcome.alone for name, outcome in outcomes.items()}
    return {"seed": None if None in same.values() else seed, "epochs": epochs, "same": same}


def save_timing(directory: Path, settings: Settings, dataset: Dataset, seconds: Mapping[str, float]) -> dict[str, Any]:
    """How long it took: apart from the results, as it is another each time."""
    seconds = {name: value for name, value in seconds.items() if name in (*(e.name for e in EXPERIMENTS), "total")}
    steps = summary.describe_dataset(dataset, settings)["train"] // settings.batch * settings.epochs * settings.seeds
    timing = {
        "machine": f"{platform.system()} {platform.machine()}",
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "microseconds_per_seed_step": {
            name: round(1e6 * value / steps, 1) for name, value in seconds.items() if name != "total"
        },
    }
    write(directory, {TIMING: to_json(timing)})
    return timing


def read(directory: Path) -> Stored:
    """The stored results; files of different runs are refused."""
    if not directory.is_dir():
        raise UsageError(f"{directory}: there is no such directory; `python -m report --out {directory}` makes it")
    content = summary.read(directory / SUMMARY)
    arrays = read_arrays(directory / CURVES)
    verification, evidence = (read_json(directory / name) for name in (VERIFICATION, EVIDENCE))
    settings = summary.fingerprint(content["settings"])
    marks = {CURVES: str(arrays.get("settings")), VERIFICATION: verification.get("settings")}
    for name, found in (marks | {EVIDENCE: evidence.get("settings")}).items():
        if found != settings:
            raise UsageError(f"{directory / name}: comes from a run with other settings than {SUMMARY} beside it")
    return Stored(
        content,
        arrays,
        verification["results"],
        verification["control"],
        evidence["experiments"],
        verification.get("peers"),
    )
