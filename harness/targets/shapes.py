"""How inputs may be written: their shapes, by the sizes that a constructor has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.reading.handed import FIRST
from harness.reading.signatures import parameters_of

WINDOWS = ("kernel", "window", "pool", "filter", "ksize", "k")
"""How those begin that an image must not be smaller than."""

STEPS = ("stride", "pad", "dilat", "scale_factor", "upscale_factor", "factor")
"""How those begin that no input has for a size."""

LISTS = ("inputs", "xs", "tensors", "arrays", "terms", "branches")
"""What an input may be called that is a list of arrays, to be added or joined."""

LIST = "lambda B, D, rng: [rng.normal(size=(B, D)), rng.normal(size=(B, D))]"

ONE_HOT = "lambda B, {0}, rng: (rng.integers(0, {0}, (B, 1)) == range({0})) * 1.0"
POSITIVE = 'floats("B {0}", low=0, high=1, low_open=True, high_open=True)'

ENTROPIES = ("entropy", "nll", "bce", "kl", "divergence", "logloss", "likelihood")
"""What losses are called, without case or underscores, that take probabilities or their logarithms, and one-hot targets."""


def first_inputs(dims: Sequence[str]) -> list[tuple[str, str]]:
    """The first input: how it is written, and its shape."""
    windows = [d for d in dims if d.startswith(WINDOWS)]
    widths = [d for d in dims if d not in windows and not d.startswith(STEPS)] or ["D"]
    grown = f"+{windows[0]}" if windows else ""
    shapes = [f"B {d}" for d in widths]
    columns = [f"{d} B" for d in widths] + [f"{d} 1" for d in widths]
    images = [f"B {d} H{grown} W{grown}" for d in widths] + [f"B {d} T{grown}" for d in widths]
    images += [] if windows else [f"B {d} 2*H 2*W" for d in widths]  # what pools by 2 without being told
    images += [f"B {d} H{grown} W{grown} Z{grown}" for d in widths]
    shapes = (
        [*images, *shapes]
        if windows
        else [*shapes, *columns, *(f"1 {d}" for d in widths), *(f"B T {d}" for d in widths), *images]
    )
    shapes += [f"B H{grown} W{grown} {d}" for d in widths] + widths + [f"B {'D' if dims else 'T'}", "B"]
    others = [(POSITIVE.format(d), f"B {d}") for d in widths]
    few = [] if dims else [(f'ints("{shape}", below=2)', shape) for shape in ("B", "B T")]  # a table of a fixed size
    return [*((shape, shape) for shape in dict.fromkeys(shapes)), *lookups(dims), *others, *few]


def lookups(dims: Sequence[str]) -> list[tuple[str, str]]:
    """Indices below each size."""
    return [(f'ints("{shape}", below="{d}")', shape) for d in dims for shape in ("B", "B T")]


def other_inputs(name: str, first: str, dims: Sequence[str]) -> list[str]:
    """How a further input may be written, beside a first of this shape; `dims`: the sizes that the constructor has."""
    *most, last = first.split()
    column = len(most) == 1 and last in ("B", "1")
    size = most[0] if column else last if last.isalnum() else "D"
    labels = f'ints("B", below="{size}")'
    if name.lower() in FIRST:
        return [labels, ONE_HOT.format(size) if size != "B" else "B", first, "B"]
    sizes = [d for d in dims if d != size and not d.startswith(WINDOWS)]
    states = [f"{d} {last}" if column else f"B {d}" for d in sizes]
    states += [] if most else sizes  # of one example alone, which has no axis of its own
    states += [f"{most[0]} {size}"] if len(most) == 2 else []  # one step beside all of them
    weights = [] if dims else [f"M {size}", "M 1"] if column else [f"{size} M", "M", f"M {size}"]
    return list(dict.fromkeys([first, *states, size, *weights, "B", labels]))


def of_probabilities(loss: str) -> bool:
    """Whether a loss of this name takes probabilities, or their logarithms."""
    return any(word in loss.lower().replace("_", "") for word in ENTROPIES)


def losses(loss: str, target: str, firsts: Sequence[tuple[str, str]], dims: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The prediction and the target of a loss of this name: of probabilities such, and one example is of one class."""
    probable = of_probabilities(loss)
    within = probable and "logit" not in loss.lower()
    for word, shape in sorted(firsts, key=lambda first: "floats" not in first[0]) if within else firsts:
        labels, one_hot, *plain = other_inputs(target.lower(), shape, dims)
        yield from ((word, other) for other in ([one_hot, labels] if probable else [*plain, one_hot, labels]))


def is_list(name: str, forward: Callable[..., Any]) -> bool:
    """Whether an input may be a list of arrays, by its name or its annotation."""
    said = next((str(p.annotation).lower() for p in parameters_of(forward) if p.name == name), "")
    return name in LISTS or said.removeprefix("<class '").startswith(("list", "sequence"))
