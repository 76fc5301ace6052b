"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.checkers_times import Row, ratio

NAMES = {
    "core": "core",
    "public": "gradcheck",
    "fast": "PyTorch fast",
    "slow": "PyTorch slow",
    "jax": "JAX",
}


def page(found: dict[str, Any]) -> str:
    """The tables that were measured, with what they mean."""
    parts = [
        f"# The checker beside its peers\n\n{_setting(found['setting'])}",
        "Core: the judge on a prepared subject. gradcheck: the public call with discovery, redraw and report. Medians of "
        "interleaved repeats in one run; a ratio is the peer's time over ours, above 1 where ours is faster. `!`: this "
        "contestant fails the layer, which is right. Who sees which fault: [seen.md](seen.md).",
    ]
    tables = {
        "summary": lambda rows: "## Time ratios\n\n" + means(rows),
        "times": lambda rows: f"{ratios(rows)}\n\n## Times in ms\n\n{milliseconds(rows)}",
        "exponents": lambda rows: "## Growth: p in time ∝ entriesᵖ\n\n" + _growth(rows),
        "calls": lambda rows: "## Calls of the layer at 16×32\n\n" + _calls(rows),
        "memory": lambda rows: "## Peak memory in MB beyond what was there before the call\n\n" + _memory(rows),
        "detection": lambda rows: "## Detection\n\n" + _detection(rows),
        "false_alarms": lambda rows: "## False alarms\n\n" + _alarms(rows),
        "escalations": lambda rows: (
            "## Right layers at badly scaled inputs, 16×32: time and verdict\n\n" + _special(rows, "inputs")
        ),
        "failures": lambda rows: "## Wrong layers, 16×32: time to say so\n\n" + _special(rows, "fault"),
    }
    # a run that was cut off has the first of them
    parts += [table(found[name]) for name, table in tables.items() if name in found]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[Any]], heads: Sequence[str]) -> str:
    return tabulate(rows, heads, "pipe", disable_numparse=True)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"


def _setting(setting: dict[str, Any]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in setting.items())


def _present(rows: Sequence[Row], key: str = "seconds") -> list[str]:
    """The contestants that took part, in their order."""
    return [n for n in NAMES if any(n in row[key] for row in rows)]


def means(rows: Sequence[Row]) -> str:
    """Geometric mean and worst ratio per size and peer, both columns of ours."""
    cells: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        line = cells.setdefault((row["size"], row["peer"]), [])
        line += [_number(row["geomean"]), f"{_number(row['worst'])} ({row['worst_layer']})"]
    lines = [[size, NAMES[peer], *line] for (size, peer), line in cells.items()]
    return _table(lines, ["size", "peer", "/ core", "worst", "/ gradcheck", "worst"])


def ratios(rows: Sequence[Row]) -> str:
    """Every layer and size."""
    peers = [n for n in _present(rows) if n not in ("core", "public")]
    heads = [f"{NAMES[peer]} / {NAMES[ours]}" for peer in peers for ours in ("core", "public")]
    lines = [
        [row["layer"], row["size"], *(_number(ratio(row, peer, ours)) for peer in peers for ours in ("core", "public"))]
        for row in rows
    ]
    return _table(lines, ["layer", "size", *heads])


def milliseconds(rows: Sequence[Row]) -> str:
    """Medians."""
    names = _present(rows)
    lines = [[row["layer"], row["size"], row["entries"], *(_time(row, n) for n in names)] for row in rows]
    return _table(lines, ["layer", "size", "entries", *(NAMES[n] for n in names)])


def _time(row: Row, name: str, right: str = "pass") -> str:
    if name not in row["seconds"]:
        return "–"
    return _number(1e3 * row["seconds"][name]) + {right: "", "fail": " !"}.get(row["verdicts"][name], " ?")


def _growth(rows: Sequence[Row]) -> str:
    names = _present(rows, "exponents")
    lines = [[row["layer"], *(_number(row["exponents"].get(n)) for n in names)] for row in rows]
    return _table(lines, ["layer", *(NAMES[n] for n in names)])


def _calls(rows: Sequence[Row]) -> str:
    lines = [[r["layer"], NAMES[r["contestant"]], r["forwards"], r["backwards"], r["autograd"]] for r in rows]
    note = "JAX's algorithm takes 4 forwards and 1 backward. Autograd: gradients that ours asks autograd for."
    return _table(lines, ["layer", "by", "forwards", "backwards", "autograd"]) + f"\n\n{note}"


def _memory(rows: Sequence[Row]) -> str:
    if not rows:
        return "Not measured: the kernel's high-water mark is read, which only Linux has."
    names = [n for n in NAMES if any(n in row["megabytes"] for row in rows)]
    lines = [[row["layer"], row["size"], *(_number(row["megabytes"].get(n), 1) for n in names)] for row in rows]
    note = (
        "The kernel's high-water mark of resident memory (reset before each call) less what was resident; one process a "
        "contestant, freed memory handed back to the system. Pages are 4 kB, and what is below a few of them reads as 0."
    )
    return _table(lines, ["layer", "size", *(NAMES[n] for n in names)]) + f"\n\n{note}"


def _detection(found: dict[str, Any]) -> str:
    names = [n for n in NAMES if n in found["found"]]
    total = [[NAMES[n], found["found"][n], found["tried"][n], _number(_share(found, n), 1)] for n in names]
    missed = [[m["layer"], m["fault"], m["seed"], ", ".join(NAMES[n] for n in m["missed_by"])] for m in found["missed"]]
    by_fault: dict[tuple[str, str], list[str]] = {}
    for layer, fault, seed, who in missed:
        by_fault.setdefault((fault, who), []).append(f"{layer} {seed}")
    lines = [[fault, who, len(trials)] for (fault, who), trials in by_fault.items()]
    head = f"{found['note']}\n\n" + _table(total, ["by", "found", "trials where a gradient changes", "%"])
    return f"{head}\n\nMissed:\n\n" + _table(lines, ["fault", "by", "trials"])


def _share(found: dict[str, Any], name: str) -> float:
    return 100 * found["found"][name] / max(found["tried"][name], 1)


def _alarms(rows: Sequence[Row]) -> str:
    names = [n for n in NAMES if any(n in row["verdicts"] for row in rows)]
    words = ("pass", "fail", "open", "raised")
    lines = [[NAMES[n], *(sum(r["verdicts"].get(n) == w for r in rows) for w in words)] for n in names]
    failed = [[r["family"], ", ".join(NAMES[n] for n in names if r["verdicts"].get(n) == "fail")] for r in rows]
    text = _table(lines, ["by", "passed", "failed (false alarm)", "not verified", "raised"])
    return f"{text}\n\n" + _table([line for line in failed if line[1]], ["right family", "failed by"])


def _special(rows: Sequence[Row], key: str) -> str:
    names = _present(rows)
    right = "fail" if key == "fault" else "pass"
    heads = ["layer", key, *(f"{NAMES[n]} ms" for n in names), "core / fast", "gradcheck / fast"]
    lines = [
        [r["layer"], r[key], *(f"{_number(1e3 * r['seconds'][n])} {_mark(r, n, right)}" for n in names)]
        + [_number(r["seconds"][ours] / r["seconds"]["fast"]) for ours in ("core", "public")]
        for r in rows
    ]
    return _table(lines, heads) + "\n\nAfter the time, the verdict where it is not the right one."


def _mark(row: Row, name: str, right: str) -> str:
    word = row["verdicts"][name]
    return "" if word == right else {"open": "not verified"}.get(word, word)
