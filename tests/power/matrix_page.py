"""docs/power.md: the matrix as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rows import GROUPS, RESCALING, Row, by_check, counted, layers_failing, missed, pairs, unseen
from tabulate import tabulate

SHORT = {
    "input_gradient": "in",
    "parameter_gradient": "par",
    "autograd": "auto",
    "reference": "ref",
    "cotangent_linear": "lin",
    "cotangent_layout": "lay",
    "cotangent_scale": "scale",
    "shapes": "shape",
    "dtypes": "dtype",
    "accumulation": "acc",
    "unmutated": "unmut",
    "repeatable": "rep",
    "input_layout": "in-lay",
    "special_values": "spec",
    "empty_batch": "none",
    "single_example": "one",
    "mode_switch": "switch",
    "unbiased": "unb",
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
}
ABOUT = {
    "gradient": "a gradient that is wrong wherever one looks",
    "cotangent": "a backward that does something else with the cotangent than to multiply by it",
    "contract": "shapes, types, writes, memory, what a second call does",
    "mode": "wrong in one mode, or on the way from one to the other; random masks",
    "state": "running statistics, and what is kept from one call to the next",
    "precision": "right in float64",
    "region": "right but for some values, sizes, entries, storage or batches",
}


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows, seeds = result["faults"], result["seeds"]
    parts = [
        _head(result),
        "## The groups\n\n" + _groups(rows, seeds),
        "## Which checks fail which fault\n\n" + _legend(result),
    ]
    parts += [f"### {g}: {ABOUT[g]}\n\n" + _matrix(result, [r for r in rows if r["group"] == g]) for g in GROUPS]
    parts += ["## Misses\n\n" + _misses(rows, seeds), "## What no check sees\n\n" + _invisible(result), RERUN]
    return "\n\n".join(parts) + "\n"


RERUN = """## Run it again

```sh
tox -e campaign                                                     # all campaigns, hours
python tests/power/matrix.py --seeds 3 --out tests/power/results    # this page; what a stopped run has done is kept
python tests/power/matrix.py --out tests/power/results --add        # faults, layers and seeds that are new, and no more
python tests/power/campaign.py --out tests/power/results            # each fault's own check, at 20 seeds
```

`tests/power/test_matrix.py` holds the counts above to the file; `test_faults.py` and `test_wrong.py` run every fault × layer
at one seed, each beside its right twin."""


def summary(result: dict[str, Any]) -> str:
    """The short form, in one paragraph."""
    rows, seeds = result["faults"], result["seeds"]
    total, escaped, plural = pairs(rows), missed(rows, seeds), "s" if seeds > 1 else ""
    return (
        f"{len(rows)} faults, each put into every layer of `layers/` that it can be put into ({total} pairs, {seeds} seed{plural}): the "
        f"check that must see it does in {total - len(escaped)} of {total}, some check in {total - len(unseen(rows))}."
    )


def _head(result: dict[str, Any]) -> str:
    rows, seeds, examples = result["faults"], result["seeds"], result["examples"]
    right = [f"{layer}: {', '.join(found)}" for layer, found in result["right"].items() if found]
    return (
        "# Power: what fails when something is wrong\n\n"
        f"{summary(result)} Right twins at the same seeds and examples: {'; '.join(right) or 'no check fails any of them'}.\n\n"
        f"Every fault of `harness/faults.py` is a transformation of a right subject. Each pair runs all {len(result['checks'])} "
        f"checks in both modes over the examples that `check` draws, {examples['everywhere']} of them, {examples['regional']} "
        "where a fault shows in a region alone; a check that has failed one example is not asked again. "
        "[campaign.md](../tests/power/results/campaign.md) has each fault's own check at 20 seeds, "
        "[mutation.md](../tests/power/results/mutation.md) every change to the source of the layers, "
        "[seen.md](../benchmarks/results/seen.md) the same faults through PyTorch's and JAX's checkers, "
        "[false_alarms.md](../tests/power/results/false_alarms.md) right layers through all checks.\n\n"
        f"Two faults count as one if no cell (layer, check, mode) tells them apart by failing one of them in every seed and the "
        f"other in none; of faults that only rescale a gradient {RESCALING} count. **{len(counted(rows, seeds))} count**. By the "
        f"sets of failing checks alone, without layers and modes, {len({by_check(r, seeds) for r in rows})} rows are distinct."
    )


def _groups(rows: Sequence[Row], seeds: int) -> str:
    lines = []
    for group in GROUPS:
        own = [r for r in rows if r["group"] == group]
        among = counted(rows, seeds)
        found = pairs(own) - len(missed(own, seeds))
        lines.append(
            [
                group,
                len(own),
                sum(r["rescales"] for r in own),
                sum(r["group"] == group for r in among),
                f"{found}/{pairs(own)}",
            ]
        )
    return tabulate(lines, ["group", "faults", "only rescale", "count", "found by its own check"], tablefmt="github")


def _legend(result: dict[str, Any]) -> str:
    of = ", ".join(f"{SHORT[c]} `{c}`" for c in result["checks"] if c in SHORT)
    return (
        "● fails it in every layer that it can be put into, ○ in some; in every seed, in one mode or another. The check that "
        f"must see it is named. {of}; the others go by their names."
    )


def _matrix(result: dict[str, Any], rows: Sequence[Row]) -> str:
    seeds = result["seeds"]
    used = [c for c in result["checks"] if any(layers_failing(r, c, seeds) for r in rows)]
    lines = [[r["fault"], r["check"], *(_cell(r, c, seeds) for c in used)] for r in rows]
    return tabulate(lines, ["fault", "must be seen by", *(SHORT.get(c, c) for c in used)], tablefmt="github")


def _cell(row: Row, check: str, seeds: int) -> str:
    share = len(layers_failing(row, check, seeds)) / len(row["failed"])
    return "●" if share == 1 else "○" if share else ""


def _misses(rows: Sequence[Row], seeds: int) -> str:
    escaped = missed(rows, seeds)
    if not escaped:
        return "None: in every layer and seed the check that must see a fault does."
    nothing = set(unseen(rows))
    lines = [[f, layer, c, "nothing" if (f, layer) in nothing else "others"] for f, layer, c in escaped]
    return tabulate(lines, ["fault", "layer", "not failed in every seed by", "seen by"], tablefmt="github")


def _invisible(result: dict[str, Any]) -> str:
    def seen(row: Row) -> str:
        return ", ".join(sorted(by_check(row, result["seeds"]))) or "nothing"

    lines = [[r["fault"], r["why"], seen(r)] for r in result["invisible"]]
    text = (
        "Run like the others (`tests/power/invisible.py`). The list of what would pass by the method "
        "itself is in [verdict.md](verdict.md#10-which-wrong-layers-would-still-pass)."
    )
    return f"{text}\n\n" + tabulate(lines, ["fault", "why", "failed by"], tablefmt="github")
