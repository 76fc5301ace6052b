"""Learning rates: a backward that takes a step along its own gradients asks for one, or finds it on its layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from harness.reading.parts import objects_of
from harness.reading.scopes import members, named
from harness.reading.signatures import parameters_of

RATES = ("lr", "learningrate", "learnrate", "lrate", "ratelearning", "stepsize", "eta")
"""What it is called, but for case and underscores; the first argument is a cotangent whatever its name."""

PERHAPS = ("alpha", "rate", "step", "epsilon", "eps")
"""What it is called too, and other things are: it is one where a parameter moves by it."""

FAR, FAR_IN_HALF = 20, 6
"""A step that is looked at is 2²⁰ times as long as the cotangents: of W − λ·dW the last digits are then those of λ·dW, not of
W. Float16 ends at 2¹⁶. A power of two rounds nothing."""


def rate_of(backward: Callable[..., Any], inputs: Container[str] = ()) -> str:
    """The name of that argument, of one that forward does not have; empty where there is none."""
    try:
        parameters = [p for p in parameters_of(backward) if p.kind is not p.POSITIONAL_ONLY][1:]
    except (TypeError, ValueError):
        return ""
    sure = [p.name for p in parameters if _plain(p.name) in RATES]
    perhaps = [p.name for p in parameters if _plain(p.name) in PERHAPS and p.default is p.empty]
    return next((n for n in (*sure, *perhaps) if n not in inputs), "")


def is_sure(name: str) -> bool:
    """Whether an argument of this name is nothing else."""
    return _plain(name) in RATES


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


Rate = tuple[Any, str, str]
"""Who keeps it, an object or the globals of a function; its name; how a script reaches it."""


def rates_on(layer: Any) -> list[Rate]:
    """The numbers of such a name that the layer and the objects in it keep, an optimizer's too, or their methods look up; those
    that may be something else where there are no others."""
    found = [
        rate for code, owner in objects_of(layer) for rate in (*_of_object(owner, code), *_of_methods(owner, code))
    ]
    sure = [rate for rate in found if is_sure(rate[1])]
    return list({(id(owner), name): (owner, name, code) for owner, name, code in sure or found}.values())


def _of_object(owner: Any, code: str) -> Iterator[Rate]:
    """On the object, or in its class for all of them."""
    own = {n: v for k in (*reversed(type(owner).__mro__), owner) for n, v in vars(k).items()}
    yield from ((owner, n, f"{code}.{n}") for n, value in own.items() if _is_rate(n, value))


def _of_methods(owner: Any, code: str) -> Iterator[Rate]:
    """In the globals that the object's methods name."""
    for method in (m for m in members(type(owner).__mro__) if isinstance(m.thing, FunctionType)):
        for each in named(method.thing):
            if each.home is method.thing.__globals__ and _is_rate(each.name, each.thing):
                yield each.home, each.name, f"{code}.{method.name}{each.step}"


def _is_rate(name: str, value: Any) -> bool:
    return _plain(name) in (*RATES, *PERHAPS) and isinstance(value, (int, float)) and not isinstance(value, bool)


def rate(owner: Any, name: str) -> float:
    """Such a number."""
    found: float = owner[name] if isinstance(owner, dict) else getattr(owner, name)
    return found


def set_rate(owner: Any, name: str, value: float) -> None:
    """Put another in its place."""
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def far_step(cotangents: Sequence[Tensor]) -> float:
    """The learning rate of a step that is read and undone; 1 where the cotangents have no size."""
    sizes = [float(v.detach().abs().max()) for v in cotangents if v.numel()]
    if not sizes or not 0 < (size := max(sizes)) < math.inf:
        return 1.0
    far = FAR_IN_HALF if any(v.dtype is torch.float16 for v in cotangents) else FAR
    return 2.0 ** (far - math.frexp(size)[1])
