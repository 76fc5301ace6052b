"""Peak memory of one check: the kernel's high-water mark of resident memory, one fresh process a contestant.

tracemalloc does not see PyTorch's tensors and PyTorch's profiler does not see NumPy's or JAX's: the kernel sees all.

    python -m benchmarks.checkers_memory core 4x8 64x256        prints {"Linear 4×8": megabytes, …}
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.checkers_contestants import CONTESTANTS, Contest, admitted, single_thread
from benchmarks.checkers_times import Row
from benchmarks.checkers_trials import OPERATIONS, Trial

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
HANDED_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}
"""So that freed memory is not there for the next check to use unseen."""


def memory(sizes: Sequence[tuple[int, int]]) -> list[Row]:
    """A row per layer and size; none where there is no /proc."""
    if not CLEAR.exists():
        return []
    found = {name: _in_child(name, sizes) for name in CONTESTANTS}
    return [
        {"layer": layer, "size": f"{B}×{D}"}
        | {"megabytes": {n: by[key] for n, by in found.items() if (key := f"{layer} {B}×{D}") in by}}
        for layer in OPERATIONS
        for B, D in sizes
    ]


def _in_child(name: str, sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.checkers_memory", name, *(f"{B}x{D}" for B, D in sizes)]
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, **HANDED_BACK, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONSAFEPATH", None)  # `benchmarks` is found in the working directory
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak(contest: Contest) -> float:
    """Megabytes beyond what was resident before the call."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text("5")  # sets the high-water mark to what is resident now
    before = _resident("VmHWM")
    contest()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> int:
    """kB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def measured(name: str, sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
    """{layer and size: megabytes} of one contestant; each layer is checked once beforehand at the smallest size."""
    found = {}
    for layer in OPERATIONS:
        CONTESTANTS[name](Trial.of(layer, 4, 8))()
        for B, D in sizes:
            trial = Trial.of(layer, B, D)
            if admitted(name, trial):
                contest = CONTESTANTS[name](trial)
                if name == "jax":
                    contest()  # compiles
                found[f"{layer} {B}×{D}"] = peak(contest)
    return found


if __name__ == "__main__":
    single_thread()
    wanted = [tuple(map(int, size.split("x"))) for size in sys.argv[2:]]
    print(json.dumps(measured(sys.argv[1], wanted)))
