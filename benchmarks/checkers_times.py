"""Times of interleaved repeats, and what was called meanwhile."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from statistics import geometric_mean, linear_regression, median
from typing import Any
from unittest import mock

import torch

from benchmarks.checkers_contestants import CONTESTANTS, OURS, PEERS, Contest, admitted
from benchmarks.checkers_trials import OPERATIONS, Trial
from harness.faults import catalogue

Row = dict[str, Any]
LEAST = 3
"""Rounds that every contestant takes part in, as long as they fit into as many times its time; one in any case."""


def race(contests: dict[str, Contest], seconds: float) -> dict[str, list[float]]:
    """{contestant: seconds of each repeat}: one repeat of each in turn, until each has had its time.

    Each has been called before: JAX compiles in its first call.
    """
    times: dict[str, list[float]] = {name: [] for name in contests}
    with no_collection():
        while running := [name for name, spent in times.items() if _goes_on(spent, seconds)]:
            for name in running:
                start = time.perf_counter()
                contests[name]()
                times[name].append(time.perf_counter() - start)
    return times


def _goes_on(spent: list[float], seconds: float) -> bool:
    return sum(spent) < (seconds if len(spent) >= LEAST else LEAST * seconds)


@contextmanager
def no_collection() -> Iterator[None]:
    """Garbage is collected before, not during."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(trial: Trial, names: Sequence[str], seconds: float) -> Row:
    """One row: medians, repeats and verdicts of everyone admitted."""
    contests = {n: CONTESTANTS[n](trial) for n in names if admitted(n, trial)}
    words = {n: contest() for n, contest in contests.items()}
    times = race(contests, seconds)
    return {
        "layer": trial.name,
        "size": trial.size,
        "entries": trial.entries,
        "seconds": {n: median(spent) for n, spent in times.items()},
        "repeats": {n: len(spent) for n, spent in times.items()},
        "verdicts": words,
    }


def times(sizes: Sequence[tuple[int, int]], names: Sequence[str], seconds: float) -> list[Row]:
    """A row per layer and size, on fresh right layers."""
    return [timed(Trial.of(name, B, D), names, seconds) for B, D in sizes for name in OPERATIONS]


def ratio(row: Row, peer: str, ours: str) -> float | None:
    """The peer's time over ours; None where either took no part."""
    spent = row["seconds"]
    return spent[peer] / spent[ours] if peer in spent and ours in spent else None


def summary(rows: Sequence[Row]) -> list[Row]:
    """Per size, peer and column of ours: the geometric mean and the worst ratio."""
    found = []
    for size in dict.fromkeys(row["size"] for row in rows):
        for peer in PEERS:
            for ours in OURS:
                ratios = {r["layer"]: q for r in rows if r["size"] == size and (q := ratio(r, peer, ours))}
                if ratios:
                    worst = min(ratios, key=ratios.__getitem__)
                    mean = geometric_mean(ratios.values())
                    found.append(
                        {"size": size, "peer": peer, "ours": ours, "geomean": mean, "layers": len(ratios)}
                        | {"worst": ratios[worst], "worst_layer": worst}
                    )
    return found


def exponents(rows: Sequence[Row]) -> list[Row]:
    """p of time ∝ entriesᵖ for each layer and contestant, by least squares on the logarithms; three sizes at least."""
    found = []
    for layer in dict.fromkeys(row["layer"] for row in rows):
        exponent = {}
        for name in CONTESTANTS:
            points = [(r["entries"], r["seconds"][name]) for r in rows if r["layer"] == layer and name in r["seconds"]]
            if len(points) >= 3:
                x, y = (torch.tensor(axis, dtype=torch.float64).log().tolist() for axis in zip(*points, strict=True))
                exponent[name] = linear_regression(x, y).slope
        found.append({"layer": layer, "exponents": exponent})
    return found


# What is called


@contextmanager
def counted(owner: Any, attribute: str) -> Iterator[list[int]]:
    """A list of one number: how often `owner.attribute` was called."""
    calls, original = [0], getattr(owner, attribute)

    @wraps(original)
    def counting(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        return original(*args, **kwargs)

    with mock.patch.object(owner, attribute, counting):
        yield calls


def calls(operation: str, B: int, D: int) -> list[Row]:
    """Forwards and backwards of the layer, and vᵀJ that ours asks autograd for, in one check by each contestant.

    JAX's are those of its algorithm (its own forward in numpy is not the layer's): one forward of `vjp`, one plain, two
    of the difference, one backward.
    """
    trial = Trial.of(operation, B, D)
    found = []
    for name, prepare in CONTESTANTS.items():
        if name == "jax" or not admitted(name, trial):
            continue
        contest, kind = prepare(trial), type(trial.layer)
        owners = ((kind, "forward"), (kind, "backward"), (torch.autograd, "grad"))
        with counted(*owners[0]) as forwards, counted(*owners[1]) as backwards, counted(*owners[2]) as autograd:
            contest()
        row = {"forwards": forwards[0], "backwards": backwards[0], "autograd": autograd[0] if name in OURS else 0}
        found.append({"layer": operation, "size": trial.size, "contestant": name} | row)
    return found


# Where ours is at its weakest


def _scaled(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda z: z * factor


BADLY_SCALED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "×1e-6": _scaled(1e-6),
    "×1e-3": _scaled(1e-3),
    "×1e3": _scaled(1e3),
    "×1e6": _scaled(1e6),
    "+1e6": lambda z: z + 1e6,
}


def escalations(size: tuple[int, int], names: Sequence[str], seconds: float) -> list[Row]:
    """Right layers at inputs of an awkward size: every layer at every scale, and saturated logits."""
    changes = [(layer, label, change) for layer in OPERATIONS for label, change in BADLY_SCALED.items()]
    changes.append(("SoftmaxCrossEntropy", "logits ±50", lambda z: 50 * z.sign()))
    return [
        timed(Trial.of(layer, *size, change=change), names, seconds) | {"inputs": label}
        for layer, label, change in changes
    ]


FAILING = ("input_twice", "input_slightly_large", "input_one_entry", "parameter_slightly_large")


def failures(size: tuple[int, int], names: Sequence[str], seconds: float) -> list[Row]:
    """How long it takes to say no: wrong layers, wherever the fault has a tensor to act on."""
    faults = [fault for fault in catalogue() if fault.name in FAILING]
    return [
        timed(Trial.of(layer, *size, drawn=True, fault=fault), names, seconds) | {"fault": fault.name}
        for layer in ("Linear", "BatchNorm", "Tanh", "SoftmaxCrossEntropy", "MLP")
        for fault in faults
        if fault.needs == "input" or layer in ("Linear", "BatchNorm", "MLP")
    ]
