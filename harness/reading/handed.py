"""Inputs of forward that a backward asks for again: `loss.backward(y_pred, y_true)`, `layer.backward(x, grad_output)`."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from itertools import permutations

GRADIENT = re.compile(r"^(d(?!ata|values)|grad|delta|upstream|cotangent|err|g$|gy$|v$)|(grad|bar)$")
"""How a cotangent is called. `dvalues` may be one, or the predictions themselves ("Neural Networks from Scratch")."""


TARGETS = ("target", "targets", "label", "labels", "y_true", "truth")
"""What no cotangent is called."""

FIRST = (*TARGETS, "y", "t", "actual", "expected", "true", "ground_truth")
"""What forward's parameters are called that hold what is to be predicted, beside a prediction at least."""


PREDICTED = ("pred", "hat", "output", "logit", "score", "prob", "yp")
"""What names have in them of the input of a loss that has the gradient."""


LOSSES = ("loss", "entropy", "criterion", "cost")
"""What functions are called that give a loss."""

CACHES = ("cache", "ctx", "context", "saved", "tape", "residuals", "residual", "res", "caches", "linear_cache")
"""What a backward calls what forward has returned beside its outputs for it."""


def is_named_loss(name: str) -> bool:
    """Whether a function is called as those that give a loss."""
    return any(word in name.lower() for word in LOSSES)


def predicted_first(inputs: Sequence[str]) -> list[str]:
    """The inputs in the order in which a backward that returns fewer gradients means them: of a loss that asks for the target
    first, `forward(y, y_pred)`, the prediction before it."""
    first, others = inputs[:1], inputs[1:]
    predicted = [n for n in others if n == "p" or any(word in n.lower() for word in PREDICTED)]
    if [n for n in first if n.lower() in FIRST] and len(predicted) == 1:
        return [*predicted, *(n for n in inputs if n not in predicted)]
    return list(inputs)


def output_of(asked: Sequence[str], inputs: Container[str]) -> str:
    """The name of that argument, where all others are inputs of forward and one cotangent; empty where there is none."""
    rest = [n for n in asked if n not in inputs]
    known = [n for n in rest if n.lower() in OUTPUTS]
    others = [n for n in rest if n not in known]
    return known[0] if len(known) == len(others) == 1 and GRADIENT.search(others[0].lower()) else ""


OUTPUTS = ("y", "out", "output", "outputs", "result")
"""What a backward calls the output that forward has returned, beside a cotangent: `backward(x, y, dy)`."""

MEMORIES = (*OUTPUTS, *CACHES, "mask", "state", "memory", "mem", "x_hat", "xhat")
"""What a backward calls what forward has returned for it, beside a cotangent that is called so: `backward(y, grad)`."""


def memory_of(required: Sequence[str], inputs: Container[str]) -> str:
    """The name of that argument of two, the other of which is a cotangent by its name; empty where it is none."""
    rest = [n for n in required if not GRADIENT.search(n.lower())]
    kept = len(required) == 2 and len(rest) == 1 and rest[0].lower() in MEMORIES and rest[0] not in inputs
    return rest[0] if kept else ""


def cache_of(required: Sequence[str]) -> str:
    """The name of the last argument of a backward, where it is such a cache; empty where it is none."""
    return required[-1] if len(required) > 1 and required[-1].lower() in CACHES else ""


def handed_again(
    asked: Sequence[str], inputs: Container[str], outputs: int, integers: Container[str] = ()
) -> tuple[str, ...]:
    """Which of the arguments that backward asks for are forward's inputs of these names.

    None where there is an output for each: `cell(h, c)` may call the cotangents of its outputs h and c, but not one
    `labels`. None either where what is left is not one argument an output, each with a name for a cotangent.
    """
    if len(asked) <= outputs:
        return tuple(n for n in asked if n in inputs and (n in integers or n in TARGETS))
    rest = [n for n in asked if n not in inputs]
    if rest and not (len(rest) == outputs and all(GRADIENT.search(n.lower()) for n in rest)):
        return ()
    return tuple(n for n in asked if n in inputs)


def otherwise_called(asked: Sequence[str], inputs: Sequence[str]) -> list[dict[str, str]]:
    """What a backward of one cotangent may mean by names that are none of forward's: its output, or inputs that it does not ask for
    by their own; {the name: an input's, or one of an output}, the likelier first."""
    rest = [n for n in asked if n not in inputs and not GRADIENT.search(n.lower())]
    cotangents = [n for n in asked if n not in inputs and n not in rest]
    missing = [n for n in inputs if n not in asked]
    output = next(n for n in OUTPUTS if n not in inputs)
    if len(cotangents) != 1 or not 0 < len(rest) <= len(missing) + 1 <= MOST_MISSING:
        return []
    return [dict(zip(rest, meant, strict=True)) for meant in permutations([output, *missing], len(rest))]


MOST_MISSING = 4
"""Values that are tried in each other's place: their orders are 24."""


def unnamed(asked: Sequence[str], inputs: Container[str], outputs: int) -> str:
    """The one argument beside inputs of forward whose name does not tell what it is; empty where there is none."""
    rest = [n for n in asked if n not in inputs]
    plain = len(asked) > outputs and len(rest) == 1 and len(asked) > 1
    return rest[0] if plain and not (outputs == 1 and GRADIENT.search(rest[0].lower())) else ""


def arranged(asked: Sequence[str], inputs: Container[str], cached: bool) -> list[str] | None:
    """What a backward's arguments are, one by one: "cache", the name of an input, or "" for a cotangent; None: no cotangent.

    The cache is what is called so; else the one whose name is neither an input's nor a cotangent's; else the last one, unless that
    is the cotangent and all others are inputs: `backward(params, x, dy)` asks for none.
    """
    cache = _cache(asked, inputs) if cached else ""
    found = ["cache" if n == cache else n if n in inputs else "" for n in asked]
    return found if "" in found else None


def _cache(asked: Sequence[str], inputs: Container[str]) -> str:
    own = [n for n in asked if n not in inputs]
    others = [n for n in own if not GRADIENT.search(n.lower())]
    if named := next((n for n in asked if n.lower() in CACHES), ""):
        return named
    if len(others) == 1 < len(own):
        return others[0]
    alone = len(asked) > 1 and own == [*asked[-1:]] and not others
    return "" if alone else next(reversed(asked), "")
