"""Which faults of the matrix count: by rows that can be told apart, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""What `matrix.json` has of a fault: {"failed": {layer: {check:mode: seeds in which it fails}}} and what the fault is."""
RESCALING = 3
"""How many faults count that do no more than multiply a gradient by a number."""
GROUPS = ("gradient", "cotangent", "contract", "mode", "state", "precision", "region")


def cells(row: Row) -> dict[tuple[str, str], int]:
    """{(layer, check:mode): seeds in which it fails}."""
    return {(layer, cell): n for layer, found in row["failed"].items() for cell, n in found.items()}


def differ(a: Row, b: Row, seeds: int) -> bool:
    """Whether in some cell one fails in every seed and the other in none: what chance does to a cell counts for nothing."""
    x, y = cells(a), cells(b)
    return any(abs(x.get(c, 0) - y.get(c, 0)) == seeds for c in x.keys() | y.keys())


def counted(rows: Sequence[Row], seeds: int) -> list[Row]:
    """The faults that count, in their order: of two rows that can't be told apart the first, of mere factors three."""
    found: list[Row] = []
    for row in rows:
        spent = sum(other["rescales"] for other in found) >= RESCALING
        if not (row["rescales"] and spent) and all(differ(row, other, seeds) for other in found):
            found.append(row)
    return found


def by_check(row: Row, seeds: int) -> frozenset[str]:
    """The checks that fail it in some layer and mode in every seed: the row without layers and modes."""
    return frozenset(cell.split(":")[0] for (_, cell), n in cells(row).items() if n == seeds)


def layers_failing(row: Row, check: str, seeds: int) -> list[str]:
    """The layers in which a check fails it in every seed, in one mode or another."""
    return [
        layer
        for layer, found in row["failed"].items()
        if any(cell.split(":")[0] == check and n == seeds for cell, n in found.items())
    ]


def missed(rows: Sequence[Row], seeds: int) -> list[tuple[str, str, str]]:
    """(fault, layer, check) where the check that must see it does not do so in every seed."""
    return [
        (row["fault"], layer, row["check"])
        for row in rows
        for layer in row["failed"]
        if layer not in layers_failing(row, row["check"], seeds)
    ]


def unseen(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(fault, layer) that nothing fails in any seed."""
    return [(row["fault"], layer) for row in rows for layer, found in row["failed"].items() if not found]


def pairs(rows: Sequence[Row]) -> int:
    """How many faults × layers."""
    return sum(len(row["failed"]) for row in rows)
