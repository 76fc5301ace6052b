"""Who sees what: every fault of the catalogue, each at an input where it shows, by PyTorch's two modes, JAX's and ours.

    python benchmarks/checkers_seen.py --out benchmarks/results     writes seen.json and seen.md; what is done is kept

A checker sees a fault if it does anything but pass the wrong layer (fails it, or raises) and passes the right one at the
same input. One that fails the right one too has no answer. Without JAX its column is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACES = ROOT, ROOT / "tests", ROOT / "tests" / "power"
sys.path += [str(p) for p in PLACES if str(p) not in sys.path]

import torch  # noqa: E402  (the path comes first)
from ledger import digest, work  # noqa: E402
from subjects import HAS, SPEC  # noqa: E402
from wrong import inputs_where_it_shows, without_evidence  # noqa: E402

from benchmarks.checkers_contestants import single_thread  # noqa: E402
from benchmarks.peers import Evaluate, bare, torch_check  # noqa: E402
from benchmarks.seen_page import page  # noqa: E402
from harness import gradcheck  # noqa: E402
from harness.examples.prepare import prepared  # noqa: E402
from harness.examples.sample import modes_of  # noqa: E402
from harness.faults import Fault, catalogue  # noqa: E402
from harness.request import Request  # noqa: E402
from harness.subject import Subject  # noqa: E402

SEED = 7
PEERS: dict[str, Callable[[Evaluate, Sequence[torch.Tensor]], bool]] = {
    "slow": lambda evaluate, leaves: torch_check(evaluate, leaves, fast_mode=False),
    "fast": lambda evaluate, leaves: torch_check(evaluate, leaves, fast_mode=True),
}
if find_spec("jax") is not None:

    def _jax(evaluate: Evaluate, leaves: Sequence[torch.Tensor]) -> bool:
        from benchmarks.seen_jax import jax_check

        return jax_check(evaluate, leaves)

    PEERS["jax"] = _jax


def peer_words(subject: Subject, mode: str | None) -> dict[str, str]:
    """What each peer does with a subject in a mode: pass, fail or raised."""
    evaluate, leaves = bare(subject, mode), [subject.leaves[n].value.clone() for n in subject.wanted()]
    return {name: _word(lambda ask=ask: ask(evaluate, leaves)) for name, ask in PEERS.items()}  # type: ignore[misc]


def _word(ask: Callable[[], bool]) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "pass" if ask() else "fail"
    except Exception:  # whatever it raises: the layer does not go through
        return "raised"


def our_words(layer: Any, inputs: Sequence[Any], fault: Fault, mode: str | None, name: str) -> dict[str, str]:
    """Ours at the same input: as it is called first, and with all checks that need no other shape."""
    words: dict[str, Any] = {"dtype": "float32"} if fault.where == "in_float32" else {}
    said = {}
    for column, battery in (("ours", False), ("battery", True)):
        with without_evidence():
            report = gradcheck(
                layer, *inputs, mode=mode, reference=_reference(name), battery=battery, seed=SEED,
                raise_exception=False, **words,
            )  # fmt: skip
        said[column] = "fail" if report.failures else "pass" if report.ok else "open"
    return said


def _reference(layer: str) -> Any:
    """The spec's, unless it asks for what a spec alone knows: an option of the constructor."""
    return None if SPEC[layer].options else SPEC[layer].reference


@cache
def _right(layer: str, where: str, needs: str, mode: str | None) -> dict[str, str]:
    """The words on the right twin at the input that such a fault is shown at."""
    fault = next(f for f in catalogue() if (f.where, f.needs) == (where, needs))
    return _words(layer, fault, mode, wrong=False)


def _words(layer: str, fault: Fault, mode: str | None, wrong: bool) -> dict[str, str]:
    faulty, inputs = inputs_where_it_shows(layer, fault, mode, SEED)
    right = prepared(Request(faulty.layer, inputs), dtype=_dtype(fault)).subject
    said = peer_words(fault.apply(right) if wrong else right, mode)
    faulty, inputs = inputs_where_it_shows(layer, fault, mode, SEED)
    return said | our_words(faulty if wrong else faulty.layer, inputs, fault, mode, layer)


def _dtype(fault: Fault) -> torch.dtype:
    return torch.float32 if fault.where == "in_float32" else torch.float64


def row(fault: str, layer: str) -> dict[str, Any]:
    """{checker: seen, passed or no answer} over the modes of a layer: seen in one of them is seen."""
    chosen = next(f for f in catalogue() if f.name == fault)
    said: dict[str, set[str]] = {}
    for mode in modes_of(SPEC[layer]):
        right = _right(layer, chosen.where, chosen.needs, mode)
        for name, word in _words(layer, chosen, mode, wrong=True).items():
            seen = (
                "no answer" if right[name] in ("fail", "raised") else "passed" if word in ("pass", "open") else "seen"
            )
            said.setdefault(name, set()).add(seen)
    order = ("seen", "passed", "no answer")
    return {"fault": fault, "layer": layer, "by": {n: min(words, key=order.index) for n, words in said.items()}}


def run(jobs: int, ledger: Path) -> dict[str, Any]:
    """All of it, with what `check` sees over drawn shapes and values from the power tests."""
    single_thread()
    chosen = catalogue()
    pairs = [(f.name, layer) for f in chosen for layer, has in HAS.items() if f.needs in has]
    done = work({f"{fault} {layer}": (row, fault, layer) for fault, layer in pairs}, jobs, ledger)
    matrix = json.loads((ROOT / "tests" / "power" / "results" / "matrix.json").read_text(encoding="utf-8"))
    by_check = {r["fault"]: {layer: bool(cells) for layer, cells in r["failed"].items()} for r in matrix["faults"]}
    for found in done.values():
        found["by"]["check"] = "seen" if by_check.get(found["fault"], {}).get(found["layer"]) else "passed"
    about = {f.name: {"group": f.group, "check": f.check} for f in chosen}
    return {"seed": SEED, "torch": torch.__version__, "faults": about, "rows": list(done.values())}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for seen.json and seen.md")
    parser.add_argument("--ledger", type=Path, help="of a run that was stopped; by default one of the same sources")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    ledger = arguments.ledger or arguments.out / f"seen-{digest('harness', 'layers', 'benchmarks')}.jsonl"
    found = run(arguments.jobs, ledger)
    (arguments.out / "seen.json").write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
    (arguments.out / "seen.md").write_text(page(found), encoding="utf-8")
    ledger.unlink()
    print(page(found).split("## ")[0])


if __name__ == "__main__":
    main()
