"""Faults that a precision alone shows: right in float64, which is where the gradient itself is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from harness.fault import Fault, regraded

Change = Callable[[Tensor, Tensor], Tensor]


LOWER = (torch.float32, torch.bfloat16, torch.float16)


def _in(types: tuple[torch.dtype, ...], change: Callable[[Tensor], Tensor]) -> Change:
    """In some precisions alone."""
    return lambda g, x: change(g).to(g.dtype) if g.dtype in types else g


def _scaled_off_again(g: Tensor, x: Tensor) -> Tensor:
    """A loss scale of 2¹⁶ that is divided off again, out of float16's range in between."""
    return g * 2.0**16 / 2.0**16


def _guarded(g: Tensor, x: Tensor) -> Tensor:
    """0/0 where an ε of 1e-8 is no number of the type but 0."""
    epsilon = torch.full_like(g, 1e-8)
    return g * epsilon / epsilon


def _term_by_term(g: Tensor) -> Tensor:
    """A sum in the type itself: the term 2⁸ in between takes with it what lies below its last digit."""
    return (g + 256.0) - 256.0


def grainy_faults() -> Iterator[Fault]:
    """The check named is the first precision that shows the fault."""
    of: dict[str, tuple[str, Change]] = {
        "computed_in_bfloat16": ("float32", _in(LOWER, lambda g: g.bfloat16())),
        "summed_beside_a_large_term": ("float32", _in(LOWER, _term_by_term)),
        "summed_in_16_bits": ("bfloat16", _in(LOWER[1:], _term_by_term)),
        "guarded_by_what_float16_has_not": ("float16", _guarded),
    }
    for role in ("input", "parameter"):
        for name, (check, change) in of.items():
            yield Fault(f"{role}_{name}", check, regraded(role, change), role)
    yield Fault("input_scaled_out_of_range", "float16", regraded("input", _scaled_off_again), "cotangent")
