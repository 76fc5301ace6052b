"""The layers with a mutant in them: every class made anew from source, and the specs that a mutant is judged by."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, ModuleType
from typing import Any

from mutants import Mutant
from statements import SOURCES

FIRST = ("layer", "generator")
"""What other modules import."""


@cache
def _code(module: str) -> CodeType:
    return compile(SOURCES[module], f"<layers.{module}>", "exec")


@contextmanager
def _imported(modules: dict[str, ModuleType]) -> Iterator[None]:
    """These modules instead of the package's own while they import one another."""
    own = {n: m for n, m in sys.modules.items() if n == "layers" or n.startswith("layers.")}
    try:
        sys.modules.update(modules)
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(own)


def classes(mutant: Mutant | None) -> dict[str, Any]:
    """Every layer's class, made anew from source with the mutant's module in it; None: the right twins."""
    names = [*FIRST, *(n for n in SOURCES if n not in FIRST)]
    modules = {"layers": ModuleType("layers")} | {f"layers.{n}": ModuleType(f"layers.{n}") for n in names}
    with _imported(modules):
        for n in names:
            mutated = mutant is not None and mutant.module == n
            code = compile(mutant.source, f"<mutant of layers.{n}>", "exec") if mutated and mutant else _code(n)
            exec(code, vars(modules[f"layers.{n}"]))
    made = {n: v for m in modules.values() for n, v in vars(m).items() if isinstance(v, type)}
    return {n: v for n, v in made.items() if v.__module__.startswith("layers.") and n[0] != "_"}
