"""Right layers that naive checkers fail, at full counts: families × seeds. `tox -e campaign` runs it after `campaign.py`.

Writes `awkward.json` and `awkward.md`; exits 1 on any FAIL or ERROR.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

PLACES = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

import numpy as np  # noqa: E402  (the path comes first)
from commit import tree  # noqa: E402
from every_family import FAMILIES, LATE  # noqa: E402
from tabulate import tabulate  # noqa: E402

from harness import Outcome  # noqa: E402

APPLY = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)


def rows(k: int, seeds: range) -> list[dict[str, Any]]:
    """Every result of one family that applies."""
    found = []
    with np.errstate(all="ignore"):
        for seed in seeds:
            report = FAMILIES[k].report(seed)
            found += [
                {
                    "family": FAMILIES[k].name,
                    "seed": seed,
                    "check": r.check,
                    "outcome": r.outcome.value,
                    "why": r.reason,
                }
                for r in report.results
                if r.outcome is not Outcome.SKIP
            ]
    return found


def run(runs: int, jobs: int) -> dict[str, Any]:
    """At least so many runs, as many of each family."""
    os.environ["OMP_NUM_THREADS"] = "1"
    seeds = range(-(-runs // len(FAMILIES)))
    with ProcessPoolExecutor(jobs) as pool:
        results = [r for part in pool.map(rows, range(len(FAMILIES)), [seeds] * len(FAMILIES)) for r in part]
    outcomes = Counter(r["outcome"] for r in results)
    gradients = Counter(r["outcome"] for r in results if r["check"].endswith("_gradient"))
    return {
        "families": len(FAMILIES),
        "late_families": len(LATE),
        "tree": tree(),
        "functions": len({f.function for f in FAMILIES}),
        "functions_with_parameters": len({f.function for f in FAMILIES if f.parameters}),
        "runs": len(seeds) * len(FAMILIES),
        "outcomes": {o.value: outcomes[o.value] for o in (*APPLY, Outcome.ERROR)},
        "gradient_outcomes": {o.value: gradients[o.value] for o in (*APPLY, Outcome.ERROR)},
        "not_passed": [r for r in results if r["outcome"] != "PASS"],
    }


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    outcomes, total = result["outcomes"], sum(result["outcomes"].values())
    share = outcomes["INCONCLUSIVE"] / total
    gradients = result["gradient_outcomes"]
    of_gradients = gradients["INCONCLUSIVE"] / sum(gradients.values())
    by_family = Counter((r["family"], r["check"], r["outcome"]) for r in result["not_passed"])
    first = {(r["family"], r["check"], r["outcome"]): r for r in reversed(result["not_passed"])}
    listed = [[*key, n, first[key]["seed"], first[key]["why"]] for key, n in sorted(by_family.items())]
    return (
        f"# Right but awkward layers\n\nOf the tree {result['tree']}: {result['runs']} runs of {result['families']} "
        f"families ({result['late_families']} of "
        f"them written later: `families_after.py`, `families_blind.py`, `families_last.py`) from {result['functions']} functions, "
        f"{result['functions_with_parameters']} of which have parameters.\n\nResults that apply: {total}. "
        f"PASS {outcomes['PASS']}, FAIL {outcomes['FAIL']}, ERROR {outcomes['ERROR']}, INCONCLUSIVE "
        f"{outcomes['INCONCLUSIVE']} ({share:.2%}; of the results on gradients alone {of_gradients:.2%}), all listed below (each "
        "with its seed in `awkward.json`).\n\n"
        + tabulate(listed, ["family", "check", "outcome", "results", "first seed", "reason"], tablefmt="github")
        + "\n"
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    result = run(arguments.runs, arguments.jobs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "awkward.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "awkward.md").write_text(page(result), encoding="utf-8")
    print(page(result).split("| family")[0])
    return 1 if result["outcomes"]["FAIL"] or result["outcomes"]["ERROR"] else 0


if __name__ == "__main__":
    sys.exit(main())
