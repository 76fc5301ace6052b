"""Every mutant of layers/ through `check`, each up to its first FAIL. `tox -e campaign` runs it after the others.

Writes `mutation.json` and `mutation.md`; exits 1 if a mutant survives that no proof stands for, or is killed
although one does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

PLACES = Path(__file__).resolve().parent, Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2]
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

from equivalent import EQUIVALENT, UNRUN  # noqa: E402  (the path comes first)
from killed import RAISES, killed_by  # noqa: E402
from ledger import digest  # noqa: E402
from mutants import Mutant, mutants  # noqa: E402
from tabulate import tabulate  # noqa: E402

from harness.checks import all_checks  # noqa: E402

OWN = ("specs", *(f"power/{n}" for n in ("killed", "mutants", "mutated", "statements", "subjects", "wrong")))
SOURCES = ("harness", "layers", *(f"tests/{n}.py" for n in OWN))
"""What a row depends on."""


def row(mutant: Mutant) -> dict[str, Any]:
    """What became of one mutant."""
    start = time.process_time()
    names = dict(zip(("module", "function", "line", "mutation"), mutant.key, strict=True))
    killed = None if mutant.key in UNRUN else killed_by(mutant)
    return {**names, "kind": mutant.kind, "killed_by": killed, "seconds": round(time.process_time() - start, 2)}


def key(r: dict[str, Any]) -> tuple[str, str, str, str]:
    """By what the tables of survivors know it."""
    return r["module"], r["function"], r["line"], r["mutation"]


def run(jobs: int, ledger: Path) -> dict[str, Any]:
    """All of it, over processes of one thread; what a killed run has written to the ledger is not run again.

    Mutants of validation are listed, not run: what they change, no valid input shows.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    every = mutants()
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    done = {key(r): r for r in map(json.loads, lines)}
    with ProcessPoolExecutor(jobs) as pool, ledger.open("a", encoding="utf-8") as book:
        waiting = [pool.submit(row, m) for m in every if m.kind != "validation" and m.key not in done]
        for future in as_completed(waiting):
            r = future.result()
            done[key(r)] = r
            book.write(json.dumps(r, ensure_ascii=False) + "\n")
            book.flush()
    apart = Counter((m.kind, m.function, m.line) for m in every if m.kind == "validation")
    return {
        "judged": [done[m.key] for m in every if m.key in done],
        "apart": [{"kind": k, "function": f, "line": line, "mutants": n} for (k, f, line), n in apart.items()],
    }


def unexplained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Survivors that nothing stands for."""
    return [r for r in rows if r["killed_by"] is None and key(r) not in EQUIVALENT]


def stale(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Killed although a proof says that they survive."""
    return [r for r in rows if r["killed_by"] is not None and key(r) in EQUIVALENT]


def _proofs(rows: list[dict[str, Any]]) -> str:
    """The survivors that a proof stands for."""
    own = [r for r in rows if key(r) in EQUIVALENT]
    lines = [(r["function"], f"`{r['line']}`", f"`{r['mutation']}`", EQUIVALENT[key(r)]) for r in own]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return tabulate(escaped, ["function", "statement", "mutation", "why"], tablefmt="github") if lines else "None."


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = result["judged"]
    rest = [r for r in rows if key(r) not in EQUIVALENT]
    killed = [r for r in rest if r["killed_by"]]
    buffers = sum(r["kind"] == "buffer" for r in rows)
    checks = [RAISES, *(c.name for c in all_checks())]
    by = Counter((r["module"], r["killed_by"]) for r in rows)
    shown = [c for c in checks if any(by[m, c] for m in {r["module"] for r in rows})]
    table = []
    for module in dict.fromkeys(r["module"] for r in rows):
        own = [r for r in rows if r["module"] == module]
        equivalent = sum(key(r) in EQUIVALENT for r in own)
        alive = sum(r["killed_by"] is None for r in own)
        table.append([module, len(own), equivalent, alive - equivalent, *(by[module, c] or "" for c in shown)])
    apart = [
        [a["kind"], a["function"], f"`{a['line'].replace('|', chr(92) + '|')}`", a["mutants"]] for a in result["apart"]
    ]
    of_kind = Counter(m for a in result["apart"] for m in [a["kind"]] * a["mutants"])
    unknown = "".join(f"; {r['function']}: {r['mutation']}" for r in unexplained(rows)) or "; none"
    parts = [
        "# Source-level mutation of layers/",
        f"{len(rows)} mutants of the numerical statements of every forward and backward and of what they call, one change each, "
        f"{buffers} of them of statements that move running statistics alone; "
        f"{len(rows) - len(rest)} are equivalent (proofs below; {len(UNRUN)} of them not run, its proof aside). Of the other "
        f"{len(rest)}, `check` at 25 examples fails "
        f"{len(killed)}: {len(killed) / len(rest):.1%}, {sum(r['killed_by'] == RAISES for r in killed)} of them because something "
        "raises, in forward, in backward or where the layer is made. "
        f"Survivors that nothing stands for: {len(unexplained(rows))}{unknown}. "
        f"Processor time: {sum(r['seconds'] for r in rows):.0f} s.",
        "## By which check, first",
        tabulate(table, ["module", "mutants", "equivalent", "survive", *shown], tablefmt="github"),
        "## Equivalent, with proofs",
        _proofs(rows),
        "## Statements apart",
        f"Not in the rate: {of_kind['validation']} mutants of validation, not run.",
        tabulate(apart, ["kind", "function", "statement", "mutants"], tablefmt="github"),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ledger = arguments.out / f"mutation-{digest(*SOURCES)}.jsonl"
    result = run(arguments.jobs, ledger)
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (arguments.out / "mutation.json").write_text(text + "\n", encoding="utf-8")
    (arguments.out / "mutation.md").write_text(page(result), encoding="utf-8")
    ledger.unlink()
    print(page(result).split("## ")[0])
    return 1 if unexplained(result["judged"]) or stale(result["judged"]) else 0


if __name__ == "__main__":
    sys.exit(main())
