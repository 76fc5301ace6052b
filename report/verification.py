"""The verification matrix, layers x checks: what `harness` says of every layer that the study uses."""

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from report.errors import UsageError
from report.runs import one_thread

SPECS = Path("tests") / "specs.py"
PEERS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "checkers.json"
WORST_FIRST = ("FAIL", "ERROR", "INCONCLUSIVE", "PASS", "SKIP")


class Row(TypedDict):
    """One result of the harness as plain data; the resolution is the coarsest over its verified tensors."""

    layer: str
    check: str
    mode: str | None
    outcome: str
    resolution: float | None
    reason: str


def checker() -> Any:
    """`harness.check`, and nothing if it cannot be had: a report without its verification would look like one with."""
    try:
        return importlib.import_module("harness").check
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the verification matrix needs harness.check, which cannot be imported ({error})") from error


def specs() -> Sequence[Any]:
    """The list SPECS of the layers' own test suite. This is the one place that knows where it lies."""
    path = Path(__file__).resolve().parent.parent / SPECS
    name = "layer_specs"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes defined in it say they come from
    try:
        spec.loader.exec_module(module)
        found: Sequence[Any] = module.SPECS
    except (OSError, ImportError, AttributeError) as error:
        raise UsageError(f"the verification matrix needs the list SPECS of {SPECS}: {error}") from error
    if not found:
        raise UsageError(f"the verification matrix needs specs: the list SPECS of {SPECS} is empty")
    return found


def verify(examples: int, seed: int) -> list[Row]:
    """Every check of every layer, in the harness's order."""
    check = checker()
    with one_thread():
        return [row for spec in specs() for row in rows(check(spec, examples=examples, seed=seed).results)]


def rows(results: Iterable[Any]) -> list[Row]:
    """Results as plain data."""
    return [
        Row(
            layer=r.layer,
            check=r.check,
            mode=r.mode,
            outcome=r.outcome.name,
            resolution=max(filter(math.isfinite, map(float, r.tensors.values())), default=None),
            reason=r.reason,
        )
        for r in results
    ]


def counts(matrix: Sequence[Row]) -> dict[str, int]:
    """How many results came to each outcome."""
    return {outcome: sum(row["outcome"] == outcome for row in matrix) for outcome in WORST_FIRST}


def verified(matrix: Sequence[Row]) -> bool:
    """Whether everything that applies passed, and something did."""
    found = counts(matrix)
    return found["PASS"] > 0 and found["PASS"] + found["SKIP"] == len(matrix)


def peers(path: Path = PEERS) -> dict[str, Any] | None:
    """The harness beside its peers, from the benchmark's own results; None where it was not run, or wrote another form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        detection = {name: [found["detection"]["found"][name], n] for name, n in found["detection"]["tried"].items()}
        times = [{k: row[k] for k in ("size", "peer", "geomean", "worst", "worst_layer")} for row in found["summary"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"setting": found.get("setting"), "detection": detection, "times": times}
