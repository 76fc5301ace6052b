"""Tasks over processes, each done once: what a killed run has written down is not run again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Task = tuple[Any, ...]
"""A function of a module, and its arguments."""


def digest(*places: str) -> str:
    """Of every source in these folders and files: rows of other sources are not taken for this run's."""
    found = [(ROOT / p).rglob("*.py") if (ROOT / p).is_dir() else [ROOT / p] for p in places]
    files = sorted(f for some in found for f in some)
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def read(ledger: Path) -> dict[str, Any]:
    """What is done: {task: row}."""
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    return dict(json.loads(line) for line in lines)


def work(tasks: Mapping[str, Task], jobs: int, ledger: Path, seconds: float = float("inf")) -> dict[str, Any]:
    """The rows of all tasks, or of those that were begun within the seconds.

    Raises:
        SystemExit: rows raised; the others are in the ledger.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    done, end = read(ledger), time.monotonic() + seconds
    left = iter([(name, task) for name, task in tasks.items() if name not in done])
    crashed: list[str] = []
    with ProcessPoolExecutor(jobs) as pool, ledger.open("a", encoding="utf-8") as book:
        while portion := _portion(left, 8 * jobs, end):
            waiting = {pool.submit(*task): name for name, task in portion}
            for future in as_completed(waiting):
                if error := future.exception():
                    crashed.append(f"{waiting[future]}: {type(error).__name__}: {error}")
                    continue
                done[waiting[future]] = future.result()
                book.write(json.dumps([waiting[future], future.result()]) + "\n")
                book.flush()
    if crashed:
        raise SystemExit("these rows raised; run again when that is mended:\n" + "\n".join(crashed))
    return {name: done[name] for name in tasks if name in done}


def _portion(left: Iterator[tuple[str, Task]], size: int, end: float) -> list[tuple[str, Task]]:
    """The next few, none when the time is up."""
    return [] if time.monotonic() > end else list(islice(left, size))


def processes() -> int:
    """As many as there are cores."""
    return os.cpu_count() or 1
