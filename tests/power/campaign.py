"""The power of the whole at full counts: every fault × layer × seed, and right layers × seeds. `tox -e campaign`.

Writes `campaign.json` and `campaign.md` to the folder given; exits 1 if a fault was missed or a right layer failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

PLACES = Path(__file__).resolve().parent, Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2]
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

from commit import tree  # noqa: E402  (the path comes first)
from formulas import WRONG  # noqa: E402  (the path comes first)
from ledger import digest, work  # noqa: E402
from specs import SPECS  # noqa: E402
from subjects import HAS, spec_of, spec_with  # noqa: E402
from tabulate import tabulate  # noqa: E402
from wrong import EXAMPLES, found_at_an_input, found_by_check, shows_at_an_input  # noqa: E402

from harness import Outcome, check  # noqa: E402
from harness.examples.sample import layer_name  # noqa: E402
from harness.faults import catalogue  # noqa: E402

SOURCES = ("harness", "layers", "tests/power", "tests/specs.py")
"""What a row depends on."""


def fault_row(fault: str, layer: str, seeds: range) -> dict[str, Any]:
    """In how many seeds the fault's own check fails it over the spec's examples, and at an input where it shows."""
    chosen = next(f for f in catalogue() if f.name == fault)
    missed = [s for s in seeds if not found_by_check(spec_with(layer, chosen), chosen.check, s)]
    at_input = [s for s in seeds if not found_at_an_input(layer, chosen, s)] if shows_at_an_input(chosen) else None
    row = {
        "fault": fault,
        "layer": layer,
        "check": chosen.check,
        "found": len(seeds) - len(missed),
        "seeds": len(seeds),
    }
    found = None if at_input is None else len(seeds) - len(at_input)
    return {**row, "missed": missed, "found_at_input": found, "missed_at_input": at_input}


def formula_row(k: int, seeds: range) -> dict[str, Any]:
    """The same over the examples for a wrong formula."""
    wrong, right, name = WRONG[k]
    missed = [s for s in seeds if not found_by_check(spec_of(wrong), name, s)]
    found = len(seeds) - len(missed)
    return {
        "fault": wrong.__name__, "layer": right.__name__, "check": name,
        "found": found, "seeds": len(seeds), "missed": missed,
    }  # fmt: skip


def right_row(k: int, seed: int) -> list[dict[str, Any]]:
    """Every result of a right layer that is neither PASS nor SKIP."""
    report = check(SPECS[k], examples=EXAMPLES, seed=seed)
    bad = [r for r in report.results if r.outcome not in (Outcome.PASS, Outcome.SKIP)]
    return [{"layer": r.id, "seed": seed, "outcome": r.outcome.value, "reason": r.reason} for r in bad]


def run(seeds: int, jobs: int, ledger: Path) -> dict[str, Any]:
    """All of it, spread over processes of one thread; what a killed run has written to the ledger is not run again.

    Raises:
        SystemExit: rows raised; the others are in the ledger.
    """
    pairs = [(f.name, layer) for f in catalogue() for layer, has in HAS.items() if f.needs in has]
    tasks = {f"fault {fault} {layer}": (fault_row, fault, layer, range(seeds)) for fault, layer in pairs}
    tasks |= {f"formula {k}": (formula_row, k, range(seeds)) for k in range(len(WRONG))}
    tasks |= {f"right {k} {s}": (right_row, k, s) for k in range(len(SPECS)) for s in range(max(2, seeds // 5))}
    done = work(tasks, jobs, ledger)
    rows = {kind: [done[n] for n in tasks if n.startswith(kind)] for kind in ("fault", "formula", "right")}
    return {
        "tree": tree(),
        "examples": EXAMPLES,
        "faults": rows["fault"],
        "formulas": rows["formula"],
        "right_runs": len(rows["right"]),
        "right_layers": [layer_name(s) for s in SPECS],
        "not_passed": [row for found in rows["right"] for row in found],
    }


def _listed(rows: list[dict[str, Any]], key: str) -> str:
    return ", ".join(f"{r['fault']} in {r['layer']} (seeds {r[key]})" for r in rows) or "none"


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = result["faults"] + result["formulas"]
    missed = [r for r in rows if r["missed"]]
    unseen = [r for r in result["faults"] if r["missed_at_input"]]
    found, tried = sum(r["found"] for r in rows), sum(r["seeds"] for r in rows)
    shown = [r for r in result["faults"] if r["found_at_input"] is not None]
    names = list(dict.fromkeys(r["fault"] for r in result["faults"]))
    layers = list(HAS)
    cell = {(r["fault"], r["layer"]): f"{r['found']}/{r['seeds']}" for r in result["faults"]}
    check_of = {r["fault"]: r["check"] for r in result["faults"]}
    matrix = [[n, check_of[n], *(cell.get((n, layer), "") for layer in layers)] for n in names]
    formulas = [[r["fault"], r["layer"], r["check"], f"{r['found']}/{r['seeds']}"] for r in result["formulas"]]
    return (
        "\n\n".join(
            [
                "# Power of `check` at 25 examples",
                f"Of the tree {result['tree']}.",
                f"Wrong layers found by the check that must see them: {found} of {tried} runs ({len(rows)} fault × layer pairs).",
                f"Missed: {_listed(missed, 'missed')}.",
                "At one input where they show, through the function for one layer: "
                f"{sum(r['found_at_input'] for r in shown)} of {sum(r['seeds'] for r in shown)}; missed: "
                f"{_listed(unseen, 'missed_at_input')}.",
                f"Right layers: {result['right_runs']} runs of {', '.join(result['right_layers'])}; results that are neither "
                f"PASS nor SKIP: {len(result['not_passed'])}"
                + "".join(
                    f"; {r['layer']} at seed {r['seed']}: {r['outcome']}, {r['reason']}" for r in result["not_passed"]
                )
                + ".",
                "## Faults × layers: seeds in which the check fails it",
                tabulate(matrix, ["fault", "check", *layers], tablefmt="github"),
                "## Wrong formulas",
                tabulate(formulas, ["wrong layer", "right twin", "check", "found"], tablefmt="github"),
            ]
        )
        + "\n"
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ledger = arguments.out / f"campaign-{arguments.seeds}-{digest(*SOURCES)}.jsonl"
    result = run(arguments.seeds, arguments.jobs, ledger)
    (arguments.out / "campaign.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "campaign.md").write_text(page(result), encoding="utf-8")
    ledger.unlink()
    missed = [r for r in result["faults"] + result["formulas"] if r["missed"] or r.get("missed_at_input")]
    print(page(result).split("## ")[0])
    return 1 if missed or any(r["outcome"] in ("FAIL", "ERROR") for r in result["not_passed"]) else 0


if __name__ == "__main__":
    sys.exit(main())
