"""One generator, or one per model."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | None
Admitted: TypeAlias = torch.Generator | tuple[torch.Generator, ...] | None


def admitted(generator: Generators, layer: str) -> Admitted:
    """A generator, a tuple of them, or None, after refusing anything else."""
    if generator is None or isinstance(generator, torch.Generator):
        return generator
    each = tuple(generator) if isinstance(generator, Sequence) else (generator,)
    for g in each:
        if not isinstance(g, torch.Generator):
            raise TypeError(f"{layer}: found a generator of type {type(g).__name__}, needs torch.Generator")
    if not each:
        raise ValueError(f"{layer}: found no generators, needs one or more")
    return each


def drawn(draw: Callable[[torch.Generator], Tensor], generator: Generators) -> Tensor:
    """draw(generator); for a sequence of S generators the S draws along a new leading axis.

    Each generator of a sequence is consumed exactly as if it were the only one. None is `torch.default_generator`.
    """
    if generator is None:
        return draw(torch.default_generator)
    if isinstance(generator, torch.Generator):
        return draw(generator)
    return torch.stack([draw(g) for g in generator])
