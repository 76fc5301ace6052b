"""Functions that are handed all parameters in one dict, `forward(params, x)`, beside one that makes it, `init_params(n_in, n_out)`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from typing import Any

from harness.reading.handed import FIRST
from harness.reading.signatures import parameters_of
from harness.targets.candidates import Candidate
from harness.targets.made import entries_read
from harness.targets.shapes import first_inputs, lookups, other_inputs
from harness.tensors.nested import leaves_of

DICTS = ("params", "parameters", "weights", "theta")
"""What forward calls it."""

MAKERS = ("init", "initialize", "initialise", "make", "create", "get", "random", "new")
"""How functions begin that make it."""

MADE = ("", "_params", "_parameters", "_weights", "_network", "_net", "_model", "_mlp")
"""And how they go on, where not by the layer's own name."""

SEEDS = ("key", "seed", "rng_key", "prng_key")
"""What they call a seed."""

LAYERS = ("sizes", "layer_sizes", "dims", "layer_dims", "layers", "layers_dims", "shape")
"""And the sizes of all layers in one list."""

DRAWN = "int(rng.integers(1000))"


def parameters_among(candidate: Candidate) -> str:
    """The input that is the dict of parameters, where the module has a function that may make it or the entries are seen in the
    code; else empty."""
    named = next((n for n in candidate.inputs() if n.lower() in DICTS), "")
    return named if named and (_makers(candidate) or _entries(candidate, named)) else ""


def _makers(candidate: Candidate) -> list[Any]:
    """The functions that may make the parameters: `linear_init`, `init_linear`, before `init_params`."""
    own = {n: v for n, v in vars(candidate.module).items() if inspect.isfunction(v)}
    stem = candidate.name
    names = [f"{stem}_{m}{made}" for m in MAKERS for made in MADE]
    names += [f"{m}_{stem}{made}" for m in MAKERS for made in MADE] + [f"{m}{made}" for m in MAKERS for made in MADE]
    return [own[n] for n in names if n in own]


def written_over(candidate: Candidate) -> Iterator[tuple[str, ...]]:
    """How the inputs may be written."""
    named = parameters_among(candidate)
    for maker in _makers(candidate):
        yield from _written(maker, candidate.inputs(), named)
    yield from _square(_entries(candidate, named), candidate.inputs(), named)


def _entries(candidate: Candidate, named: str) -> list[str]:
    """The entries that forward reads of the dict itself, or the functions of the module that it calls."""
    found, left = [], [candidate.forward]
    while left:
        if inspect.isfunction(function := left.pop()) and function not in found:
            found.append(function)
            left += [vars(candidate.module).get(n) for n in function.__code__.co_names]
    return entries_read(found, named)


def _square(entries: list[str], inputs: list[str], named: str) -> Iterator[tuple[str, ...]]:
    """The same with parameters by name: vectors are called as biases are, and all sizes are one, but of matrices that are beside
    an input and a state at once."""
    biases = [n for n in entries if n.lower().startswith(("b", "beta"))]
    matrices = [n for n in entries if n not in biases]
    shapes = [dict.fromkeys(matrices, "(n, n)"), dict.fromkeys(matrices, "(n, 2*n)")]
    shapes[1:] += [shapes[1] | {n: "(n, n)"} for n in matrices[-1:]]
    for shape, bias, x in product(shapes, ("(n, 1)", "n"), ("n B", "B n", "n B T", "B T n", "n")) if entries else ():
        made = ", ".join(f"{n!r}: rng.normal(size={shape.get(n, bias)}) / n**.5" for n in entries)
        rest = {n: other_inputs(n, x, ["n"]) for n in inputs if n != named}
        first = next(iter(rest), "")
        state = x if x.count(" ") < 2 else x.replace(" T", "").replace("T ", "")
        words = {n: [x] if n == first else [state] if n.lower() not in FIRST else rest[n] for n in rest}
        for given in product(*words.values()):
            written = dict(zip(words, given, strict=True)) | {named: f"lambda n, rng: {{{made}}}"}
            yield tuple(written[n] for n in inputs)


def _written(maker: Any, inputs: list[str], named: str) -> Iterator[tuple[str, ...]]:
    """The same with parameters of one function."""
    asked = [p.name for p in parameters_of(maker) if p.default is p.empty]
    sizes = [n for n in asked if n not in (*SEEDS, *LAYERS, "rng")]
    given = ", ".join("[D, 4, 3]" if n in LAYERS else DRAWN if n in SEEDS else n for n in asked)
    drawn = ["rng"] if any(n in (*SEEDS, "rng") for n in asked) else []
    own = [*sizes, *(["D"] if {*asked} & {*LAYERS} else [])]
    first = f"lambda {', '.join([*own, *drawn])}: {maker.__name__}({given})".replace("lambda :", "lambda:")
    plain, *others = [n for n in inputs if n != named] or [""]
    results = _results(maker, asked, sizes)
    inside = [(w, w) for n in _made(maker, asked) for w in (f"B {n}", f"{n} B", f"B T {n}")]
    for word, shape in [*inside, *first_inputs(own), *lookups(own)] if plain else []:
        for rest in product(*(results if n.lower() in FIRST else other_inputs(n, shape, own) for n in others)):
            written = dict(zip((plain, *others), (word, *rest), strict=True))
            yield tuple(first if n == named else written[n] for n in inputs)


def _results(maker: Any, asked: list[str], sizes: list[str]) -> list[str]:
    """How a target may be written: one of as many classes as there are outputs, rows of numbers, or one number each."""
    widths = ["3"] if {*asked} & {*LAYERS} else [*sizes[::-1], *(str(n) for n in _made(maker, asked)[::-1])]
    named = [f"{w}, " if w.isidentifier() else "" for w in widths]
    one_hot = [
        f"lambda B, {n}rng: (rng.integers(0, {w}, (B, 1)) == range({w})) * 1.0"
        for n, w in zip(named, widths, strict=True)
    ]
    return [*one_hot, *(f'ints("B", below="{w}")' for w in widths), "B 1", "B"]


def _made(maker: Any, asked: list[str]) -> list[int]:
    """The sizes of what it makes, where it asks for no more than a seed."""
    if not {*asked} <= {*SEEDS}:
        return []
    try:
        made = maker(*[0] * len(asked))
    except Exception:  # said where it is tried
        return []
    return [*dict.fromkeys(n for array in leaves_of(made) for n in getattr(array, "shape", ())[:2])]
