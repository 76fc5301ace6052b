"""Faults that act in one region alone: of values, of sizes, of entries or of precision. Elsewhere the gradient is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from harness.fault import Fault, regraded

Region = Callable[[Tensor], Tensor]
"""A leaf → which of its entries lie in the region, in a shape that broadcasts to the leaf's."""

BLOCK = 32
"""From which row or column on a loop over blocks of 32 is in its second block."""


def _ties(x: Tensor) -> Tensor:
    """Entries that another one of their row equals; a single number has none."""
    return (x.unsqueeze(-1) == x.unsqueeze(-2)).sum(-1) > 1 if x.ndim else torch.zeros_like(x, dtype=torch.bool)


def _whole(holds: Callable[[Tensor], bool]) -> Region:
    """All entries or none."""
    return lambda x: torch.full_like(x, holds(x), dtype=torch.bool)


def _from(axis: int, first: int) -> Region:
    """Entries at index `first` or later along an axis that counts from the end."""

    def region(x: Tensor) -> Tensor:
        if x.ndim < -axis:
            return torch.zeros_like(x, dtype=torch.bool)
        index = torch.arange(x.shape[axis], device=x.device)
        return (index >= (first if first >= 0 else len(index) + first)).reshape(-1, *(1,) * (-axis - 1))

    return region


REGIONS: dict[str, Region] = {
    "beyond_30": lambda x: x.abs() > 30,
    "below_minus_8": lambda x: x < -8,
    "at_zero": lambda x: x == 0,
    "at_ties": _ties,
    "at_a_threshold": lambda x: x.abs() == 1,
    "in_a_batch_of_one": _whole(lambda x: x.ndim > 0 and x.shape[0] == 1),
    "in_one_column": _whole(lambda x: x.ndim > 1 and x.shape[-1] == 1),
    "where_sizes_are_square": _whole(lambda x: x.ndim > 1 and x.shape[-1] == x.shape[-2]),
    "in_the_last_column": _from(-1, -1),
    "in_rows_beyond_a_block": _from(-2, BLOCK),
    "in_columns_beyond_a_block": _from(-1, BLOCK),
    "in_float32": _whole(lambda x: x.dtype == torch.float32),
    "in_bfloat16": _whole(lambda x: x.dtype == torch.bfloat16),
    "in_float16": _whole(lambda x: x.dtype == torch.float16),
}
"""{name: region}."""


def within(region: Region) -> Callable[[Tensor, Tensor], Tensor]:
    """Half as much again inside the region, and something where the gradient is zero there: a saturated one hides a factor."""

    def change(g: Tensor, x: Tensor) -> Tensor:
        return torch.where(region(x.detach()), 1.5 * g + 1e-3, g)

    return change


PRECISIONS = ("in_float32", "in_bfloat16", "in_float16")
"""Regions of precision: the check of that name goes there."""

SPECIAL = ("at_zero", "at_ties", "at_a_threshold")
"""Regions that no continuous draw reaches: the check `special_values` goes there."""

OF_PARAMETERS = ("in_the_last_column", "in_columns_beyond_a_block")
"""Regions of parameters of any shape."""

OF_MATRICES = ("where_sizes_are_square", "in_rows_beyond_a_block")
"""Regions of parameters with two axes."""


def _check(name: str, role: str) -> str:
    if name in PRECISIONS:
        return name.removeprefix("in_")
    return "special_values" if name in SPECIAL else f"{role}_gradient"


def regional_faults() -> Iterator[Fault]:
    """One fault for each region that inputs, parameters of any shape and matrices can have."""
    of: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("input", "input", tuple(REGIONS)),
        ("parameter", "parameter", (*OF_PARAMETERS, *PRECISIONS)),
        ("parameter", "matrix", OF_MATRICES),
    )
    for role, needs, names in of:
        for name in names:
            apply = regraded(role, within(REGIONS[name]))
            yield Fault(f"{role}_wrong_{name}", _check(name, role), apply, needs, where=name)
