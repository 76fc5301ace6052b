"""Random programs, right ones and their wrong twins, each at one point: none right may fail, none wrong pass.

Writes `programs.json` and `programs.md`; exits 1 where a right one fails, or a twin passes whose gradients differ by more than
what is stated as known. What a stopped run has done is in a ledger and is not done again; `--seconds` stops it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

PLACES = Path(__file__).resolve().parent, Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[2]
sys.path[:0] = [str(p) for p in PLACES if str(p) not in sys.path]

import numpy as np  # noqa: E402  (the path comes first)
import torch  # noqa: E402
from commit import tree  # noqa: E402
from ledger import digest, processes, work  # noqa: E402
from programs import Fault, Program, evaluated, faults, layer, leaves, program  # noqa: E402
from tabulate import tabulate  # noqa: E402

from harness import Report, gradcheck  # noqa: E402

POINTS = 8
"""How many points of a program are tried until outputs and gradients are finite there."""
DRAWS = 20
"""How many faults until one shows at the point."""
IN_PLACE = ("cotangent in place", "input in place")
UNDERSTOOD = {
    3305: "of minimum(x, |elu x|) at 0 the slopes chosen inside make none of the whole",
    3847: "of minimum(x, relu² x) at 0 likewise",
    4673: "of relu of a centred row of zeros likewise",
    20510: "of relu of a normalised row of two equal numbers likewise",
    20660: "exp(−v²) v of a v that is infinite in float32 is NaN: wrong there",
}
"""Right programs whose FAIL was read, and what it is: said in the page beside them. They fail the campaign as any does."""


def defined(p: Program) -> tuple[list[Any], dict[str, int], str, list[Any], list[Any]] | None:
    """A point where outputs and gradients are finite: leaves, sizes, dtype, outputs, gradients."""
    for k in range(POINTS):
        given, at, dtype = leaves(p, k)
        outs, gradients = evaluated(p, layer(p, at, dtype), given)
        if all(np.isfinite(x).all() for x in (*outs, *gradients)):
            return given, at, dtype, outs, gradients
    return None


def spread(x: np.ndarray) -> float:
    """The unit of a step."""
    return float(x.std()) if x.size > 1 and x.std() > 0 else max(float(np.abs(x).max(initial=0)), 1e-300)


def floors(given: list[Any], outs: list[Any], count: int) -> list[float]:
    """The smallest slope in each of so many gradients that the outputs' last digits can express; of a parameter that a class keeps
    the unit is 1."""
    arrays = [x if isinstance(x, np.ndarray) else x.numpy() for x in given]
    units = [spread(x) for x in arrays if x.dtype.kind == "f"]
    units += [1.0] * (count - len(units))
    size = float(np.sqrt(sum((o.astype(float) ** 2).sum() for o in outs)))
    return [64 * float(np.finfo(outs[0].dtype).eps) * size / unit for unit in units]


def off(gradients: list[Any], right: list[Any], least: list[float]) -> float:
    """The largest difference that the outputs can express, in units of the right gradient's rms; infinite where shapes differ."""
    found = [0.0]
    for g, r, floor in zip(gradients, right, least, strict=True):
        if g.shape != r.shape:
            return float("inf")
        d = float(np.abs(g.astype(float) - r.astype(float)).max(initial=0))
        found.append(d / max(float(np.sqrt((r.astype(float) ** 2).mean())), floor, 1e-300) if d > floor else 0.0)
    return max(found)


def elsewhere(p: Program, given: list[Any]) -> list[Any]:
    """Other values of the same shapes: what a forward has seen before."""
    rng = np.random.default_rng(5)
    arrays = [x if isinstance(x, np.ndarray) else x.numpy() for x in given]
    drawn = [rng.standard_normal(x.shape).astype(x.dtype) if x.dtype.kind == "f" else x for x in arrays]
    return drawn if p.library == "np" else [torch.tensor(x) for x in drawn]


def twin(p: Program, rng: random.Random, at_point: tuple[Any, ...]) -> tuple[Program, float] | None:
    """The program with one change that shows at the point, and by how much."""
    given, at, dtype, outs, right = at_point
    least = floors(given, outs, len(right))
    for _ in range(DRAWS):
        if (fault := faults(p, rng)) is None:
            continue
        q = p.with_fault(fault)
        if fault.kind in IN_PLACE and not (p.library == "np" and outs[0].ndim == 0):
            return q, float("inf")
        made = layer(q, at, dtype)
        if fault.kind == "stale":
            twice = layer(p, at, dtype)
            evaluated(p, twice, elsewhere(p, given))
            right = evaluated(p, twice, given)[1]
            evaluated(q, made, elsewhere(p, given))
        if (by := off(evaluated(q, made, given)[1], right, least)) > 0:
            return q, by
        right = at_point[4]
    return None


def verdict(report: Report) -> str:
    """The worst outcome of a report."""
    found = {r.outcome.value for r in report.results}
    return next((o for o in ("ERROR", "FAIL", "INCONCLUSIVE") if o in found), "PASS")


def row(kind: str, seed: int) -> dict[str, Any]:
    """Of a right program, or of a twin of it."""
    torch.set_num_threads(1)
    p, fault, by = program(seed), None, 0.0
    with np.errstate(all="ignore"):
        point = defined(p) if p.inputs and p.steps else None
        if point is None:
            return {"kind": kind, "seed": seed, "verdict": "undefined"}
        if kind == "wrong":
            made = twin(p, random.Random(seed), point)
            if made is None:
                return {"kind": kind, "seed": seed, "verdict": "no twin"}
            p, by = made
            fault = p.fault
        given, at, dtype, _outs, _gradients = point
        battery = seed % 5 == 0 or (fault is not None and fault.kind == "stale")
        report = gradcheck(layer(p, at, dtype), *given, battery=battery, raise_exception=False)
    bad = [
        [r.check, r.outcome.value, r.reason[:300]] for r in report.results if r.outcome.value not in ("PASS", "SKIP")
    ]
    return {
        "kind": kind, "seed": seed, "verdict": verdict(report), "fault": said(p, fault), "off": min(by, 1e300), "bad": bad,
        "style": f"{p.library} {p.style}", "dtype": dtype, "zero": any("zero up to rounding" in r.reason for r in report.results),
        "kink": any("kink" in r.reason for r in report.results),
        "resolution": max([t for r in report.results for t in r.tensors.values()], default=0.0),
    }  # fmt: skip


def said(p: Program, fault: Fault | None) -> str:
    """What is wrong, and in which operation."""
    return f"{fault.kind} in {p.places[fault.at][0].operation.name}" if fault else ""


def missed(r: dict[str, Any]) -> bool:
    """A twin that passes although it differs by more than the resolution stated, at no kink, and not in a zero. What a write in
    place does to numbers that nobody reads again is none."""
    if r["verdict"] != "PASS" or r["zero"] or r["kink"]:
        return False
    return bool(max(1e-5, 2 * r["resolution"]) < r["off"] < 1e300)


def page(rows: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    lines = []
    for kind in ("right", "wrong"):
        some = [r for r in rows if r["kind"] == kind]
        counted = Counter(r["verdict"] for r in some)
        lines.append(
            [kind, len(some), *(counted[o] for o in ("PASS", "INCONCLUSIVE", "FAIL", "ERROR", "undefined", "no twin"))]
        )
    failed = [r for r in rows if r["kind"] == "right" and r["verdict"] in ("FAIL", "ERROR")]
    passed = [r for r in rows if r["kind"] == "wrong" and r["verdict"] == "PASS"]
    listed = [[r["seed"], r["bad"][0][0], r["bad"][0][2][:120], UNDERSTOOD.get(r["seed"], "")] for r in failed]
    open_ = Counter(re.sub(r"\d[\d.e+-]*", "#", r["bad"][0][2])[:70] for r in rows if r["verdict"] == "INCONCLUSIVE")
    misses = [[r["seed"], r["fault"], f"{r['off']:.1e}", f"{r['resolution']:.1e}"] for r in passed if missed(r)]
    return "\n\n".join(
        [
            "# Random programs",
            f"Of the tree {tree()}. Programs of three to twelve operations with hand-made pullbacks (`programs.py`), at one drawn "
            "point each, by the function for one input; a fifth with its battery.",
            tabulate(lines, ["programs", "", "PASS", "INCONCLUSIVE", "FAIL", "ERROR", "undefined", "no twin"], tablefmt="github"),
            f"Of {len(passed)} twins that pass, {sum(r['zero'] for r in passed)} have gradients that are zero up to rounding, "
            f"{sum(r['kink'] for r in passed)} a kink that allows them, and {len(misses)} differ by more than what is stated as known.",
            "## Right ones that fail",
            tabulate(listed, ["seed", "check", "reason", "understood as"], tablefmt="github"),
            "## Wrong ones that pass",
            tabulate(misses, ["seed", "fault", "off by", "resolution"], tablefmt="github"),
            "## INCONCLUSIVE",
            tabulate(open_.most_common(12), ["reason", "programs"], tablefmt="github"),
        ]
    ) + "\n"  # fmt: skip


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--programs", type=int, default=2500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=processes())
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no row after so many")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    ledger = (
        arguments.out / f"programs-{digest('harness', 'tests/power/programs.py', 'tests/power/operations.py')}.jsonl"
    )
    seeds = range(arguments.first, arguments.first + arguments.programs)
    tasks = {f"{kind} {seed}": (row, kind, seed) for seed in seeds for kind in ("right", "wrong")}
    rows = list(work(tasks, arguments.jobs, ledger, arguments.seconds).values())
    notable = [
        r
        for r in rows
        if r["verdict"] not in ("PASS", "FAIL") or missed(r) or (r["kind"], r["verdict"]) == ("right", "FAIL")
    ]
    summary = {"tree": tree(), "counts": dict(Counter(f"{r['kind']} {r['verdict']}" for r in rows)), "notable": notable}
    (arguments.out / "programs.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "programs.md").write_text(page(rows), encoding="utf-8")
    if len(rows) == len(tasks):
        ledger.unlink()
    print(page(rows))
    alarms = [r for r in rows if r["kind"] == "right" and r["verdict"] in ("FAIL", "ERROR")]
    return 1 if alarms or any(map(missed, rows)) else 0


if __name__ == "__main__":
    sys.exit(main())
