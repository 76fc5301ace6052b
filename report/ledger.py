"""results.sqlite: every finished run, so that a study that was killed goes on where it was.

A row is one seed of one model. Its key holds a hash of all that decides the run's numbers, so rows of other settings,
other data or other code may lie in the same file and are never read. How many seeds are asked for decides nothing of a
single run: more seeds go on from fewer.
"""

import hashlib
import io
import json
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import torch

from report.dataset import Dataset
from report.errors import LedgerError
from report.runs import Job, Run
from report.settings import Settings
from report.store import UNREADABLE, Arrays, to_npz

NAME = "results.sqlite"
TABLE = """CREATE TABLE IF NOT EXISTS runs (
    settings TEXT, experiment TEXT, epochs INTEGER, alone INTEGER, seed INTEGER, digest BLOB NOT NULL, run BLOB NOT NULL,
    PRIMARY KEY (settings, experiment, epochs, alone, seed)) WITHOUT ROWID"""
# Decide how many runs there are, or what is done beside them; not what a run gives.
BESIDE = ("seeds", "seed0", "quick", "examples")


def key(settings: Settings, dataset: Dataset) -> str:
    """The hash of all that decides a run's bits: settings, points, code, and the kind of machine."""
    decides = {name: value for name, value in settings.to_dict().items() if name not in BESIDE}
    machine = [platform.system(), platform.machine(), torch.backends.cpu.get_cpu_capability()]
    found = hashlib.sha256(json.dumps([decides, machine], sort_keys=True).encode())
    for part in (dataset.X, dataset.y, dataset.X_test, dataset.y_test):
        found.update(str(part.shape).encode() + part.tobytes())
    for path in _sources():
        found.update(path.read_bytes())
    return found.hexdigest()


def _sources() -> Iterable[Path]:
    """The code that a run goes through."""
    here = Path(__file__).resolve().parent
    modules = ("streams", "masks", "model", "training", "measures", "shift", "runs")
    return [*sorted((here.parent / "layers").glob("*.py")), *(here / f"{m}.py" for m in modules)]


class Ledger:
    """The finished runs of one key. Write-ahead logging: a row is there whole, or not at all, whenever a run is killed."""

    def __init__(self, connection: sqlite3.Connection, path: Path, settings: str) -> None:
        self.connection, self.path, self.settings = connection, path, settings

    @classmethod
    @contextmanager
    def open(cls, directory: Path, settings: str) -> Iterator[Self]:
        """The ledger in a directory, made if there is none; one that is damaged is an error, and stays as it is."""
        path = directory / NAME
        with _told(path):
            connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            with _told(path):
                _check(connection)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(TABLE)
            yield cls(connection, path, settings)
        finally:
            connection.close()

    def add(self, job: Job, runs: Iterable[Run]) -> None:
        """Keep a job's runs, in one transaction."""
        rows = [(*self._place(job), run.seed, *_packed(run)) for run in runs]
        with _told(self.path):
            # a statement of many rows is one transaction only within BEGIN … COMMIT
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                self.connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def finished(self, job: Job) -> dict[int, Run]:
        """What there is of a job, by seed."""
        question = "SELECT seed, digest, run FROM runs WHERE (settings, experiment, epochs, alone) = (?, ?, ?, ?)"
        with _told(self.path):
            rows = self.connection.execute(question, self._place(job)).fetchall()
            return {seed: _unpacked(job, seed, digest, run) for seed, digest, run in rows if seed in job.seeds}

    def _place(self, job: Job) -> tuple[str, str, int, int]:
        return self.settings, job.experiment.name, job.epochs, int(job.alone)


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
    if columns and columns != ["settings", "experiment", "epochs", "alone", "seed", "digest", "run"]:
        raise sqlite3.DatabaseError(f"its table has the columns {', '.join(columns)}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors with the path, and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:  # a full disk, no permission, another's lock
        raise LedgerError(
            f"{path}: {error}; the runs that it holds are kept, the same command goes on from them"
        ) from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path}: is damaged ({error}); it was left as it is: move it away to begin anew") from error


def _packed(run: Run) -> tuple[bytes, bytes]:
    arrays: Arrays = {f"curves.{name}": curve for name, curve in run.curves.items()}
    if run.decisions is not None:
        arrays["decisions"] = run.decisions
    about = json.dumps({"values": run.values, "seconds": run.seconds})
    content = to_npz({"about": np.array(about), **arrays})
    return hashlib.sha256(content).digest(), content


def _unpacked(job: Job, seed: int, digest: bytes, content: bytes) -> Run:
    if hashlib.sha256(content).digest() != digest:
        raise sqlite3.DatabaseError(f"the row of {job.experiment.name}, seed {seed}, is not what was written")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            curves = {n.removeprefix("curves."): arrays[n] for n in arrays.files if n.startswith("curves.")}
            decisions = arrays["decisions"] if "decisions" in arrays.files else None
    except UNREADABLE as error:
        raise sqlite3.DatabaseError(str(error)) from error
    return Run(job.experiment, seed, job.epochs, about["values"], curves, decisions, about["seconds"])
