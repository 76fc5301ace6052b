"""The checker beside its peers, in one run: times, calls, memory, growth, detection, false alarms.

    python benchmarks/checkers.py --quick                       time ratios at (4, 8) and (16, 32) alone, half a minute
    python benchmarks/checkers.py --out benchmarks/results      everything; writes checkers.json and checkers.md, and goes
                                                                on where a run of the same setting was cut off

Every table comes from interleaved repeats with one thread and no garbage collection, so that a busy machine slows all.
The peers check the same hand-written backward: PyTorch's gradcheck by way of a torch.autograd.Function of the inputs
and every parameter, JAX's check_grads by way of a custom_vjp with the same formulas.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # run as a script: the folder of this file stands there instead
    sys.path.append(str(ROOT))

from benchmarks import checkers_page as page  # noqa: E402
from benchmarks.checkers_contestants import CONTESTANTS, single_thread  # noqa: E402
from benchmarks.checkers_memory import memory  # noqa: E402
from benchmarks.checkers_power import detection, false_alarms  # noqa: E402
from benchmarks.checkers_times import calls, escalations, exponents, failures, summary, times  # noqa: E402
from benchmarks.checkers_trials import OPERATIONS, SIZES  # noqa: E402
from benchmarks.operations import setting  # noqa: E402

SMALL, MIDDLE = SIZES[:2], (16, 32)


def measured(seconds: float, seeds: int, parts: Path | None) -> dict[str, Any]:
    """Every table's rows; each is kept in the file `parts`, and taken from there by a later run of the same setting."""
    found: dict[str, Any] = {"setting": where(seconds) | {"seeds": seeds}}
    if parts is not None and parts.exists():
        kept = json.loads(parts.read_text(encoding="utf-8"))
        found = kept if kept["setting"] == found["setting"] else found
    tables: dict[str, Callable[[], Any]] = {
        "times": lambda: times(SIZES, tuple(CONTESTANTS), seconds),
        "summary": lambda: summary(found["times"]),
        "exponents": lambda: exponents(found["times"]),
        "calls": lambda: [row for layer in OPERATIONS for row in calls(layer, *MIDDLE)],
        "memory": lambda: memory(SIZES),
        "detection": lambda: detection(seeds),
        "false_alarms": false_alarms,
        "escalations": lambda: escalations(MIDDLE, ("core", "public", "fast"), seconds / 4),
        "failures": lambda: failures(MIDDLE, ("core", "public", "fast", "slow"), seconds / 4),
    }
    for name, table in tables.items():
        if name in found:
            continue
        print(f"{name} …", file=sys.stderr, flush=True)  # a quarter of an hour in all: say where it stands
        found[name] = table()
        if parts is not None:
            parts.parent.mkdir(parents=True, exist_ok=True)
            parts.write_text(json.dumps(found), encoding="utf-8")
    return found


def where(seconds: float) -> dict[str, Any]:
    """The machine, the versions, the date and the commit."""
    try:
        jax = version("jax")
    except PackageNotFoundError:
        jax = "not installed: its column is left out"
    git = ("git", "-C", str(ROOT), "status", "--porcelain", "--", "harness")
    changed = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    harness = "with local changes" if changed else "as committed"
    return setting("cpu", seconds) | {"harness": harness, "jax": jax, "date": datetime.now(UTC).date().isoformat()}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="time ratios at the two smallest sizes alone")
    parser.add_argument("--seconds", type=float, help="for each contestant, layer and size (0.1 with --quick, else 1)")
    parser.add_argument("--seeds", type=int, default=3, help="of inputs, for each fault and layer")
    parser.add_argument("--out", type=Path, help="folder for checkers.json and checkers.md; without it none is written")
    arguments = parser.parse_args()
    single_thread()
    if arguments.quick:
        rows = times(SMALL, tuple(CONTESTANTS), arguments.seconds or 0.1)
        print(page.ratios(rows), page.means(summary(rows)), sep="\n\n")
        return
    parts = arguments.out / "checkers.parts.json" if arguments.out else None
    found = measured(arguments.seconds or 1.0, arguments.seeds, parts)
    text = page.page(found)
    print(text)
    if parts is not None:
        (arguments.out / "checkers.md").write_text(text, encoding="utf-8")
        data = json.dumps(found, indent=1, ensure_ascii=False)
        (arguments.out / "checkers.json").write_text(data + "\n", encoding="utf-8")
        parts.unlink()


if __name__ == "__main__":
    main()
