"""How often a layer of layers/ is called: what the checks cost, in forwards and backwards, which no clock's noise touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch

import layers
from harness import LayerSpec, Outcome
from harness.api import undisturbed
from harness.checks import all_checks
from harness.engine import observe
from harness.examples.cases import case_of
from harness.examples.design import Example
from harness.session import Session

LAYERS = [c for c in vars(layers).values() if isinstance(c, type)]


@dataclass
class Calls:
    """Calls from outside: what a layer calls inside itself is not counted."""

    forward: int = 0
    backward: int = 0
    inside: bool = False

    def since(self, before: Calls) -> Calls:
        return Calls(self.forward - before.forward, self.backward - before.backward)

    def now(self) -> Calls:
        return self.since(Calls())


@contextmanager
def counting() -> Iterator[Calls]:
    """Counts while it is open."""
    calls = Calls()
    own = [(c, name, vars(c)[name]) for c in LAYERS for name in ("forward", "backward") if name in vars(c)]
    for c, name, function in own:
        setattr(c, name, _counted(function, name, calls))
    try:
        yield calls
    finally:
        for c, name, function in own:
            setattr(c, name, function)


def _counted(function: Callable[..., Any], name: str, calls: Calls) -> Callable[..., Any]:
    @wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if calls.inside:
            return function(*args, **kwargs)
        setattr(calls, name, getattr(calls, name) + 1)
        calls.inside = True
        try:
            return function(*args, **kwargs)
        finally:
            calls.inside = False

    return counted


# One case, check by check

OWN = {"float32": 40, "bfloat16": 40, "float16": 40, "special_values": 40, "unbiased": 64}
"""Checks with a budget of their own, in forwards."""

BATTERY = 60
"""The forwards of all the others together, on one case at which everything passes."""


def plain(spec: LayerSpec, seed: int = 1) -> Example:
    """Four examples, other sizes of 3 and 5 and so on, 𝒩(0,1) values, the last of the options' values."""
    sizes = {n: (k or 4) for n, k in zip(spec.sizes, (4, 3, 5, 6, 7), strict=False)}
    return Example(sizes, {n: values[-1] for n, values in spec.options.items()}, "unit", seed)


def cost(spec: LayerSpec, mode: str | None, example: Example) -> tuple[dict[str, Calls], dict[str, Outcome]]:
    """{check: its calls, "case" those of the first evaluation} of the full battery at one example, and what it found."""
    spent: dict[str, Calls] = {}
    found: dict[str, Outcome] = {}
    with undisturbed(), counting() as calls:
        case, _ = case_of(spec, example, mode, torch.device("cpu"), None)
        session, before = Session(case), calls.now()
        _ = case.base
        spent["case"] = calls.since(before)
        for check in all_checks():
            before = calls.now()
            found[check.name] = observe(check, session).outcome
            spent[check.name] = calls.since(before)
    return spent, found


def battery(spent: dict[str, Calls]) -> Calls:
    """What is spent beside the checks with budgets of their own."""
    rest = [c for n, c in spent.items() if n not in OWN]
    return Calls(sum(c.forward for c in rest), sum(c.backward for c in rest))


# The whole suite

SUITE = {
    "Linear-train": 3042,
    "Linear-eval": 3042,
    "InstanceNorm-train": 4279,
    "InstanceNorm-eval": 4279,
    "BatchNorm-train": 3019,
    "BatchNorm-eval": 3161,
    "Tanh-train": 4423,
    "Tanh-eval": 4423,
    "Dropout-train": 3861,
    "Dropout-eval": 2768,
    "SoftmaxCrossEntropy-train": 3021,
    "SoftmaxCrossEntropy-eval": 3021,
    "MLP-train": 5403,
    "MLP-eval": 5403,
    "MLPWithBatchNormAndDropout-train": 4333,
    "MLPWithBatchNormAndDropout-eval": 5380,
}
"""Forwards of every check over 25 examples, as measured: 62 858 in all. Lower them where checks become cheaper."""

MARGIN = 1.1
"""Escalations follow rounding, which another processor does otherwise."""
