"""One generator, or one per model."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Generators: TypeAlias = torch.Generator | Sequence[torch.Generator] | None


def drawn(draw: Callable[[torch.Generator], Tensor], generator: Generators) -> Tensor:
    """draw(generator); for a sequence of S generators the S draws along a new leading axis.

    Each generator of a sequence is consumed exactly as if it were the only one. None is `torch.default_generator`.
    """
    if generator is None:
        generator = torch.default_generator
    if isinstance(generator, torch.Generator):
        return draw(generator)
    for g in generator:
        if not isinstance(g, torch.Generator):
            raise TypeError(f"found a {type(g).__name__} among the generators, needs torch.Generator throughout")
    return torch.stack([draw(g) for g in generator])
