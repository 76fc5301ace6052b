"""A family of awkward but right layers: a function in a regime, with inputs drawn from a seed, beside its wrong twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from harness import gradcheck
from harness.report import Report


@dataclass(frozen=True)
class Family:
    """`right(rng)` makes the layer, `draw(rng)` its inputs; `wrong(rng)` the same layer with a fault."""

    name: str
    function: str
    """The function that it is a regime of."""
    right: Callable[[np.random.Generator], Any]
    draw: Callable[[np.random.Generator], tuple[Any, ...]]
    wrong: Callable[[np.random.Generator], Any] | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """Of `gradcheck`: a reference, a mode, a dtype."""
    parameters: bool = False
    """Whether the layer has parameters."""

    def report(self, seed: int, wrong: bool = False, battery: bool = False) -> Report:
        """The right layer (or its wrong twin) at one draw."""
        # one stream for the layer and one for its inputs: the twins see the same inputs
        for_layer, for_inputs = (np.random.default_rng([seed, crc32(self.name.encode()), k]) for k in range(2))
        make = self.wrong if wrong else self.right
        assert make is not None
        layer = make(for_layer)
        words = {"seed": seed, "battery": battery, "raise_exception": False, **self.keywords}
        return gradcheck(layer, *self.draw(for_inputs), **words)
