"""Right layers through all checks, by every source, mode, precision and convention: none may fail. `tox -e campaign` runs it.

Writes `false_alarms.json` and `false_alarms.md`; exits 1 on any FAIL or ERROR. A run is a right layer at one drawn point in
one mode, with all checks that apply. What a stopped run has done is in a ledger and is not done again; `--seconds` stops it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLACES = Path(__file__).resolve().parent, ROOT / "tests", ROOT
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

import numpy as np  # noqa: E402  (the path comes first)
import torch  # noqa: E402
from commit import tree  # noqa: E402
from ledger import digest, processes, read, work  # noqa: E402
from right_layers import Right, every  # noqa: E402
from tabulate import tabulate  # noqa: E402

from harness import Outcome, Report  # noqa: E402

SEEDS = {"families": 1, "layers": 2, "special": 2}
"""Of sources whose layers take long, or have a campaign of their own; one layer at one input: `OTHERS`."""
OTHERS = 24
ALARMS = ("FAIL", "ERROR")
KNOWN: dict[tuple[str, str], str] = {}
"""{(layer, check): why it is failed}, until that is mended."""
OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE", "ERROR")


@cache
def layers() -> dict[str, Right]:
    """Built once a process."""
    return every()


def points(report: Report) -> int:
    """At how many points, over the modes, the report's layer went through the checks."""
    by_mode: dict[str | None, int] = {}
    for r in report.results:
        by_mode[r.mode] = max(by_mode.get(r.mode, 0), r.examples)
    return sum(by_mode.values())


def row(name: str, seed: int) -> dict[str, Any]:
    """Of one layer at one seed: the runs, how the results that apply came out, and those that are no PASS."""
    torch.set_num_threads(1)
    with np.errstate(all="ignore"):
        reports = layers()[name].reports(seed)
    results = [r for report in reports for r in report.results if r.outcome is not Outcome.SKIP]
    return {
        "layer": name,
        "seed": seed,
        "runs": sum(map(points, reports)),
        "outcomes": dict(Counter(r.outcome.value for r in results)),
        "not_passed": [[r.check, r.mode, r.outcome.value, r.reason] for r in results if r.outcome is not Outcome.PASS],
    }


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows as the result file has them."""
    outcomes = Counter[str]()
    by_source: dict[str, Counter[str]] = {}
    for r in rows:
        outcomes.update(r["outcomes"])
        found = by_source.setdefault(r["layer"].split(": ")[0], Counter())
        found.update({**r["outcomes"], "runs": r["runs"], "calls": 1})
    return {
        "tree": tree(),
        "layers": len({r["layer"] for r in rows}),
        "calls": len(rows),
        "runs": sum(r["runs"] for r in rows),
        "outcomes": {o: outcomes[o] for o in OUTCOMES},
        "sources": {s: dict(n) for s, n in by_source.items()},
        "not_passed": [[r["layer"], r["seed"], *bad] for r in rows for bad in r["not_passed"]],
    }


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    by_source = [[s, n["calls"], n["runs"], *(n.get(o, 0) for o in OUTCOMES)] for s, n in result["sources"].items()]
    grouped: dict[tuple[str, str, str, str], list[tuple[int, str]]] = {}
    for layer, seed, check, mode, outcome, why in result["not_passed"]:
        grouped.setdefault((outcome, layer, check, mode or ""), []).append((seed, why))
    listed = [[*key, len(found), found[0][0], found[0][1][:200]] for key, found in sorted(grouped.items())]
    said = ", ".join(f"{o} {result['outcomes'][o]}" for o in OUTCOMES)
    return (
        f"# Right layers through all checks\n\nOf the tree {result['tree']}: {summary(result)} "
        f"Results that apply: {said}. Not passed: each below, with its "
        "seed in `false_alarms.json`. What can't be known at an awkward point is INCONCLUSIVE.\n\n"
        "A run is a right layer at one drawn point in one mode with all checks that apply; a call is one of `check` (in float64 "
        "with its checks of float32, bfloat16 and float16; `layers/` once more all in float32) or of the function for one input with "
        "its battery.\n\n"
        + tabulate(by_source, ["source", "calls", "runs", *OUTCOMES], tablefmt="github")
        + "\n\n"
        + tabulate(listed, ["outcome", "layer", "check", "mode", "calls", "first seed", "reason"], tablefmt="github")
        + "\n"
    )


def summary(result: dict[str, Any]) -> str:
    """The short form, in a sentence."""
    alarms = sum(result["outcomes"][o] for o in ALARMS)
    return f"{result['runs']} runs of {result['layers']} right layers through all checks: {alarms or 'none'} failed."


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=1, help="so many times the seeds of every source")
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed: what no run has had yet is looked at from there"
    )
    parser.add_argument("--jobs", type=int, default=processes())
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no row after so many")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, help="of a run that was stopped; by default one of the same sources")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ledger = arguments.ledger or arguments.out / f"false_alarms-{digest('harness', 'layers', 'tests')}.jsonl"
    seeds = {name: arguments.times * SEEDS.get(right.source, OTHERS) for name, right in layers().items()}
    order = range(max(seeds.values()))
    drawn = [(arguments.first + k, name) for k in order for name in layers() if k < seeds[name]]
    random.Random(0).shuffle(drawn)  # what a stopped run has done is of every source
    tasks = {f"{seed} {name}": (row, name, seed) for seed, name in drawn}
    rows = list(work(tasks, arguments.jobs, ledger, arguments.seconds).values())
    result = summed(rows)
    (arguments.out / "false_alarms.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "false_alarms.md").write_text(page(result), encoding="utf-8")
    if len(read(ledger)) >= len(tasks):
        ledger.unlink()
    print(page(result).split("\n\n")[1])
    return 1 if any(result["outcomes"][o] for o in ALARMS) else 0


if __name__ == "__main__":
    sys.exit(main())
