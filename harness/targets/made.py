"""What constructors ask for that is neither a size nor an array, layers and settings; and which sizes stand in what is made."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from keyword import iskeyword
from types import ModuleType
from typing import Any

import numpy as np

from harness.builds import from_string
from harness.reading.members import function_of, is_named_derivative
from harness.reading.signatures import asks, parameters_of
from harness.spec import RESERVED
from harness.state.slots import walk
from harness.targets.candidates import Candidate, candidates, is_whole

LAYERS = ("layers", "modules", "blocks", "sublayers", "stages")
"""What a parameter is called that is a list of layers, or any number of them."""

OBJECTS = ("cfg", "config", "conf", "hparams", "args", "opt", "settings")
"""What one is called that is an object or a dict of settings."""

MOST = 6
"""Sizes in a layer that are tried."""

WIDEST = 1024
"""Numbers in a layer that may be sizes."""

PIXELS = (8, 28, 32)
"""How wide the images are that people write networks for."""


def parts_of(candidate: Candidate) -> list[Candidate]:
    """Layers of the same module that one made of layers can be made of: one with parameters, and one that needs nothing."""
    return _parts(candidate.module, candidate.layer)


@lru_cache(maxsize=256)
def _parts(module: ModuleType, kind: Any) -> list[Candidate]:
    others = [c for c in candidates(module, []) if c.makes and c.factory is None]
    others = [c for c in others if not (isinstance(kind, type) and issubclass(c.layer, kind))]
    others = [c for c in others if len(c.inputs()) == 1 and not c.variadic() and not is_whole(c.layer)]
    asked = {c.name: [p.name for p in c.construction() if p.name not in RESERVED] for c in others}
    sized = [c for c in others if 1 <= len(asked[c.name]) <= 2 and not {*asked[c.name]} & {*LAYERS, *OBJECTS}]
    plain = [c for c in others if not asked[c.name]]
    return [*sized[:1], *plain[:1]]


def settings_in(candidate: Candidate, name: str) -> tuple[list[str], bool]:
    """What is read of an argument of this name in the module's classes, and whether as entries of a dict: as the layer itself reads
    it, where it does and does not only hand it on."""
    kinds = candidate.layer.__mro__ if isinstance(candidate.layer, type) else ()
    own = [f for kind in kinds for f in _methods_of(kind)]
    (attributes, entries), (read, looked_up) = _read([*_functions(candidate)], name), _read(own, name)
    if (looked_up or not read) and entries:
        return entries, True
    return attributes, False


def entries_read(functions: list[Any], name: str) -> list[str]:
    """The entries that functions read of what is called so."""
    return _read(functions, name)[1]


def _read(functions: list[Any], name: str) -> tuple[list[str], list[str]]:
    """The attributes and the entries that functions read of what is called so."""
    attributes: dict[str, None] = {}
    entries: dict[str, None] = {}
    for function in functions:
        steps = list(dis.get_instructions(function))
        for k, (first, second) in enumerate(pairwise(steps)):
            # from Python 3.13 on one instruction may load two names
            loaded = first.argval[-1] if isinstance(first.argval, tuple) else first.argval
            if loaded != name or "LOAD_" not in first.opname or not _is_name(second.argval):
                continue
            if second.opname == "LOAD_ATTR":
                attributes[second.argval] = None
            elif second.opname == "LOAD_CONST" and steps[k + 2].opname.startswith("BINARY_"):
                entries[second.argval] = None
    return [*attributes], [*entries]


def _is_name(word: Any) -> bool:
    """Whether it may be the name of a setting; `get` and the like are methods of what holds them."""
    return isinstance(word, str) and word.isidentifier() and not iskeyword(word) and not hasattr(dict, word)


def _functions(candidate: Candidate) -> Iterator[Any]:
    kinds = [
        v for v in vars(candidate.module).values() if isinstance(v, type) and v.__module__ == candidate.module.__name__
    ]
    if candidate.factory is not None:
        yield candidate.factory
    for kind in dict.fromkeys([*([candidate.layer] if isinstance(candidate.layer, type) else []), *kinds]):
        yield from _methods_of(kind)


def _methods_of(kind: Any) -> list[Any]:
    return [v for v in vars(kind).values() if inspect.isfunction(v)] if isinstance(kind, type) else []


def functions_of(candidate: Candidate) -> dict[str, str]:
    """{parameter: code} of a constructor that asks for a function and its derivative: `Activation(activation, activation_prime)`."""
    names = [p.name for p in candidate.construction()]
    library = next((n for n in ("np", "numpy", "torch") if n in candidate.namespace), "")
    pairs = [(f, d) for f in names for d in names if f != d and is_named_derivative(f, d)] if library else []
    tanh = f"{library}.tanh"
    return {n: code for f, d in pairs[:1] for n, code in ((f, tanh), (d, f"(lambda x: 1 - {tanh}(x) ** 2)"))}


def asked_for(candidate: Candidate) -> list[inspect.Parameter]:
    """What the constructor asks for, in place of settings and layers what these ask for."""
    found: dict[str, inspect.Parameter] = {}
    for p in candidate.construction():
        if p.name in functions_of(candidate):
            own = []
        elif p.name in OBJECTS:
            names, _ = settings_in(candidate, p.name)
            own = [inspect.Parameter(n, p.KEYWORD_ONLY) for n in names] or [p]
        elif p.name in LAYERS:
            own = [q for part in parts_of(candidate) for q in part.construction()] or [p]
        else:
            own = [p]
        found |= {q.name: q for q in own}
    if candidate.variadic() in LAYERS:
        found |= {q.name: q for part in parts_of(candidate) for q in part.construction()}
    return [*found.values()]


def written_as(candidate: Candidate, parameter: inspect.Parameter, inner: Mapping[str, str]) -> str:
    """The code of a function, of settings, or of layers, with those `inner` arguments; empty of any other parameter."""
    if code := functions_of(candidate).get(parameter.name):
        return code
    if parameter.name in OBJECTS:
        names, entries = settings_in(candidate, parameter.name)
        pairs = [f"{n!r}: {inner[n]}" if entries else f"{n}={inner[n]}" for n in names]
        whole = ", ".join(pairs)
        return "" if not names else f"{{{whole}}}" if entries else f"SimpleNamespace({whole})"
    if parameter.name in LAYERS and (parts := parts_of(candidate)):
        return f"[{', '.join(layers_written(parts, inner))}]"
    return ""


def optimizer_of(candidate: Candidate) -> str:
    """The class of the module that makes the optimizer of a layer which is to be told the shape of an example and given one before
    its first forward, as those of ML-From-Scratch; empty of any other layer."""
    ready = function_of(candidate.layer, "initialize") if candidate.makes else None
    asked = [p.name for p in parameters_of(ready)[1:] if p.default is p.empty] if inspect.isfunction(ready) else []
    if asked not in (["optimizer"], ["opt"]) or not hasattr(candidate.layer, "set_input_shape"):
        return ""
    kinds = [(n, v) for n, v in vars(candidate.module).items() if isinstance(v, type)]
    return next((n for n, v in kinds if inspect.isfunction(getattr(v, "update", None)) and not asks(v)), "")


def initialised(build: str, optimizer: str) -> str:
    """The code of such a layer that is told that it is D, and given one."""
    made = f"layer.set_input_shape(shape) or layer.initialize({optimizer}()) or layer"
    return f"(lambda layer, shape: {made})({build}, (D,))"


def layers_written(parts: list[Candidate], inner: Mapping[str, str]) -> list[str]:
    """The code that makes each."""
    return [f"{c.source}({', '.join(inner[p.name] for p in c.construction())})" for c in parts]


def sizes_inside(candidate: Candidate, build: str, asked: list[str]) -> list[tuple[str, str]]:
    """Inputs, how they are written and their shapes, by the sizes that stand in a layer whatever it is asked for; none where it
    can't be made."""
    chosen = {n: 11 + 2 * k for k, n in enumerate(asked)}
    try:
        given = {"rng": np.random.default_rng(0), **chosen}
        made = from_string(build, given, candidate.namespace)(**given) if candidate.makes else candidate.layer
        shapes = [tuple(slot.get().shape) for slot in walk(made)]
    except Exception:  # said where it is tried
        return []
    numbers = [n for shape in shapes for n in shape[:2]] + [n for n in _numbers(candidate, made) if n <= WIDEST]
    sizes = list(dict.fromkeys(n for n in numbers if n > 1 and n not in chosen.values()))[:MOST]
    names = {size: name for name, size in chosen.items()}
    windows = {names.get(shape[1], shape[1]): max(shape[2:]) for shape in shapes if len(shape) > 2}
    words = [w for n in sizes for w in (f"B {n}", f"{n} B", f"B T {n}", f"B {n} H W", f"{n}")]
    images = [f"B {c} H+{k} W+{k}" for c, k in windows.items()] + [f"B {c} T+{k}" for c, k in windows.items()]
    images += [f"B {c} {p}{square}" for c in windows for p in PIXELS for square in (f" {p}", "")]
    lookups = [(f'ints("{shape}", below={n})', shape) for n in sizes for shape in ("B", "B T")]
    return [*((w, w) for w in (*images, *words)), *lookups]


def _numbers(candidate: Candidate, made: Any) -> list[int]:
    """The whole numbers that an object keeps, or that its constructor takes unless told otherwise."""
    kept = [n for v in getattr(made, "__dict__", {}).values() for n in (v if isinstance(v, (list, tuple)) else [v])]
    defaults = [p.default for p in parameters_of(candidate.factory or candidate.layer)] if candidate.makes else []
    return [n for n in (*defaults, *kept) if type(n) is int]
