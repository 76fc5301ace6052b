"""The matrix fault × check: which checks fail each fault of the catalogue, in each layer and mode, at several seeds.
`tox -e campaign` runs it.

Writes `matrix.json` to the folder given and its page to docs/power.md; exits 1 if a fault escapes its own check in any run
or a right layer is failed. What a killed run has done is in a ledger and is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLACES = Path(__file__).resolve().parent, ROOT / "tests", ROOT
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

import torch  # noqa: E402  (the path comes first)
from invisible import INVISIBLE  # noqa: E402
from ledger import digest, processes, work  # noqa: E402
from matrix_page import page  # noqa: E402
from rows import missed  # noqa: E402
from subjects import HAS, spec_with  # noqa: E402

from harness import LayerSpec, Outcome  # noqa: E402
from harness.api import undisturbed  # noqa: E402
from harness.checks import all_checks  # noqa: E402
from harness.domain import BackwardRaised, Refused  # noqa: E402
from harness.engine import observe  # noqa: E402
from harness.examples.cases import case_of  # noqa: E402
from harness.examples.design import Example, examples  # noqa: E402
from harness.examples.sample import modes_of  # noqa: E402
from harness.faults import Fault, catalogue  # noqa: E402
from harness.session import Session  # noqa: E402

EVERYWHERE, REGIONAL = 8, 25
"""Examples: of a fault that any of them may show, and of one that shows in a region alone, which 25 are designed to reach."""
SEEDS = 3
CPU = torch.device("cpu")
NAMES = [c.name for c in all_checks()]


def faults() -> dict[str, Fault]:
    """The catalogue, and what no check sees."""
    return {f.name: f for f in (*catalogue(), *INVISIBLE)}


@cache
def drawn(layer: str, count: int, seed: int) -> tuple[Example, ...]:
    """The examples, which are the same for every fault that is put into a layer."""
    return tuple(examples(spec_with(layer, None), count, seed))


def failing(layer: str, fault: str | None, seed: int) -> list[str]:
    """check:mode of everything that fails the layer with the fault; one failing example settles it."""
    wrong = None if fault is None else faults()[fault]
    design = drawn(layer, EVERYWHERE if wrong and not wrong.where and wrong.group != "region" else REGIONAL, seed)
    spec = spec_with(layer, wrong)
    with undisturbed():
        return [f"{check}:{mode}" for mode in modes_of(spec) for check in _failing(spec, mode, design)]


def _failing(spec: LayerSpec, mode: str | None, design: tuple[Example, ...]) -> list[str]:
    found: set[str] = set()
    for example in design:
        try:
            case, _ = case_of(spec, example, mode, CPU, None)
            _ = case.base
        except BackwardRaised:  # as `check` has it: whatever is asked, the answer is FAIL
            return NAMES
        except Refused:
            continue
        session = Session(case)
        asked = [c for c in all_checks() if c.name not in found]
        found |= {c.name for c in asked if observe(c, session).outcome is Outcome.FAIL}
    return [n for n in NAMES if n in found]


Pair = tuple[str | None, str]
"""A fault, None: the right twin, and the layer that it is put into."""


def pairs() -> list[Pair]:
    """Every fault in every layer that it can be put into, and every layer as it is."""
    into: list[Pair] = [(f.name, layer) for f in faults().values() for layer, has in HAS.items() if f.needs in has]
    return [*into, *((None, layer) for layer in HAS)]


def known(result: dict[str, Any]) -> dict[Pair, dict[str, int]]:
    """What a result file has, pair by pair."""
    rows = (*result["faults"], *result["invisible"])
    found: dict[Pair, dict[str, int]] = {(r["fault"], layer): n for r in rows for layer, n in r["failed"].items()}
    return found | {(None, layer): n for layer, n in result["right"].items()}


def run(seeds: int, jobs: int, ledger: Path, have: dict[Pair, dict[str, int]], begun: int = 0) -> dict[str, Any]:
    """All of it as data: for each fault and layer, in how many seeds a check fails it in a mode. Of the pairs that there are
    already the seeds before `begun` are not run again."""
    left = {pair: range(begun if pair in have else 0, seeds) for pair in pairs()}
    names = {(*pair, s): f"{pair[0]} {pair[1]} {s}" for s in range(seeds) for pair in left if s in left[pair]}
    done = work({name: (failing, layer, f, s) for (f, layer, s), name in names.items()}, jobs, ledger)
    cells = {
        pair: dict(Counter(have.get(pair, {})) + Counter(c for s in own for c in done[names[*pair, s]]))
        for pair, own in left.items()
    }

    def row(fault: Fault) -> dict[str, Any]:
        about = {"fault": fault.name, "group": fault.group, "check": fault.check, "rescales": fault.rescales}
        return about | {"failed": {layer: n for (f, layer), n in cells.items() if f == fault.name}}

    return {
        "examples": {"everywhere": EVERYWHERE, "regional": REGIONAL},
        "seeds": seeds,
        "checks": NAMES,
        "faults": [row(f) for f in catalogue()],
        "invisible": [row(f) | {"why": f.why} for f in INVISIBLE],
        "right": {layer: n for (f, layer), n in cells.items() if f is None},
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=processes())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "power.md")
    parser.add_argument("--ledger", type=Path, help="of a run that was stopped; by default one of the same sources")
    parser.add_argument(
        "--add", action="store_true", help="run the faults, layers and seeds alone that the file there lacks"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "matrix.json"
    before = json.loads(file.read_text(encoding="utf-8")) if arguments.add else None
    sources = digest("harness", "layers", "tests/specs.py", "tests/power/subjects.py", "tests/power/invisible.py")
    ledger = arguments.ledger or arguments.out / f"matrix-{sources}.jsonl"
    begun = before["seeds"] if before else 0
    seeds = max(begun, arguments.seeds)
    result = run(seeds, arguments.jobs, ledger, known(before) if before else {}, begun)
    file.write_text(json.dumps(result) + "\n", encoding="utf-8")
    arguments.page.write_text(page(result), encoding="utf-8")
    ledger.unlink()
    print(page(result).split("## ")[0])
    return 1 if missed(result["faults"], result["seeds"]) or any(result["right"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
