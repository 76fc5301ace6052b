"""Inputs of forward that a backward asks for again: `loss.backward(y_pred, y_true)`, `layer.backward(x, grad_output)`."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

GRADIENT = re.compile(r"^(d(?!ata|values)|grad|delta|upstream|cotangent|err|g$|gy$|v$)|(grad|bar)$")
"""How a cotangent is called. `dvalues` may be one, or the predictions themselves ("Neural Networks from Scratch")."""


def handed_again(asked: Sequence[str], inputs: Container[str], outputs: int) -> tuple[str, ...]:
    """Which of the arguments that backward asks for are forward's inputs of these names.

    None where there is an output for each: `cell(h, c)` may call the cotangents of its outputs h and c. None either where
    what is left is not one argument an output, each with a name for a cotangent: then nobody knows what it is.
    """
    if len(asked) <= outputs:
        return ()
    rest = [n for n in asked if n not in inputs]
    if rest and not (len(rest) == outputs and all(GRADIENT.search(n.lower()) for n in rest)):
        return ()
    return tuple(n for n in asked if n in inputs)
