"""Right layers of every source that the tests have, each to be run with all checks at one seed: their reports.

layers/, layers with kinks and singular points, awkward families, every convention that is supported, layers in the style of
courses and libraries, and the snippets of the cookbook.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import numpy as np
import torch

TESTS = Path(__file__).resolve().parents[1]
PLACES = TESTS, TESTS / "wild", TESTS / "unit" / "conventions", TESTS / "unit" / "frame"
sys.path += [str(p) for p in PLACES if str(p) not in sys.path]

import test_conventions_modes as modes  # noqa: E402  (the path comes first)
import test_conventions_twins as conventions  # noqa: E402
import test_courses as courses  # noqa: E402
import test_frame_cookbook as cookbook  # noqa: E402
from every_family import FAMILIES  # noqa: E402
from special_layers import RIGHT  # noqa: E402
from specs import SPECS  # noqa: E402
from twins import NX  # noqa: E402

from harness import GradientError, LayerSpec, NotVerified, Report, check, gradcheck  # noqa: E402
from harness.examples.sample import layer_name  # noqa: E402

EXAMPLES = 6


@dataclass(frozen=True)
class Right:
    """A right layer, and what all checks say of it at a seed: the reports, one for each call of the harness."""

    source: str
    name: str
    reports: Callable[[int], list[Report]]

    def __str__(self) -> str:
        return f"{self.source}: {self.name}"


def _by_spec(source: str, spec: LayerSpec, name: str, *dtypes: str | None) -> Iterator[Right]:
    """In each of the dtypes; None: as `check` chooses it."""
    for dtype in dtypes:
        chosen = spec if dtype is None else replace(spec, dtypes=(dtype,))
        yield Right(
            source,
            f"{name}{f' in {dtype}' if dtype else ''}",
            lambda seed, s=chosen: [check(s, examples=EXAMPLES, seed=seed)],
        )


def redrawn(value: Any, rng: np.random.Generator) -> Any:
    """Other numbers of the same sign and size, up to 1 where all are; whole numbers stay, which may be labels, masks or one-hot."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not (value == value.round()).all():
        return (value * rng.uniform(0.5, _most(value), value.shape)).astype(value.dtype)
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool((value == value.round()).all()):
        return (value.detach() * torch.from_numpy(rng.uniform(0.5, _most(value), tuple(value.shape)))).to(value.dtype)
    return [redrawn(v, rng) for v in value] if isinstance(value, list) else value


def _most(value: Any) -> float:
    """By how much numbers may grow: probabilities by nothing."""
    return 1.0 if bool(((value >= 0) & (value <= 1)).all()) else 1.5


def _called(name: str, layer: Any, inputs: tuple[Any, ...], words: Mapping[str, Any], seed: int) -> list[Report]:
    rng = np.random.default_rng([seed, crc32(name.encode())])
    given = inputs if seed == 0 else tuple(redrawn(x, rng) for x in inputs)
    return [gradcheck(layer, *given, seed=seed, battery=True, raise_exception=False, **words)]


def _conventions() -> Iterator[Right]:
    """The right one of every pair of twins."""
    for source, twins in {**conventions.TABLES, "courses": courses.ROWS}.items():
        for name, t in twins.items():
            yield Right(source, name, lambda seed, n=name, t=t: _called(n, t.right, t.inputs, t.words, seed))


def _modes() -> Iterator[Right]:
    for name, kind in {**modes.KINDS, **modes.DROPOUTS}.items():
        for mode in ("train", "eval") if name in modes.KINDS else (None,):
            words = {"mode": mode}
            yield Right(
                "modes", f"{name} {mode or ''}".strip(), lambda s, k=kind, w=words, n=name: _called(n, k(), (NX,), w, s)
            )


def _families() -> Iterator[Right]:
    for family in FAMILIES:
        yield Right("families", family.name, lambda seed, f=family: [f.report(seed, battery=True)])


SHOWN_FAILING = ("A wrong layer", "`spectral_norm`", "A kernel for CUDA alone")
"""Snippets whose point is what is said of a layer that can't be verified as it stands."""


def _snippets() -> Iterator[Right]:
    for snippet in cookbook.SNIPPETS:
        if snippet.title not in SHOWN_FAILING:
            yield Right("cookbook", snippet.title, lambda seed, code=snippet.code: _run(code, seed))


def _run(code: str, seed: int) -> list[Report]:
    """What a snippet's checks say with all checks on, its own inputs drawn from the seed."""
    import harness

    made: list[Report] = []

    def asked(*inputs: Any, **words: Any) -> Report:
        words |= {"seed": seed, "battery": True, "raise_exception": False}
        made.append(gradcheck(*inputs, **words))
        return gradcheck(*inputs, **{**words, "battery": False})  # what the snippet goes on to assert

    def over(spec: Any, **words: Any) -> Report:
        made.append(check(spec, **{"examples": EXAMPLES, **words, "seed": seed}))
        return made[-1]

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (what the snippets draw from)
    scope: dict[str, Any] = {"__name__": "snippet"}
    replaced = patch.multiple(harness, gradcheck=asked, check=over)
    with (
        replaced,
        redirect_stdout(StringIO()),
        suppress(GradientError, NotVerified, AssertionError),
    ):  # what the snippet asserts of its own numbers
        exec(compile(_right_ones(code), "snippet", "exec"), scope)
    return made + [report for test in scope.values() if hasattr(test, "_harness") for report in cookbook.run(test)]


def _right_ones(code: str) -> ast.Module:
    """Without what is asserted to fail."""
    module = ast.parse(code)
    module.body = [s for s in module.body if not (isinstance(s, ast.Assert) and ".failures" in ast.unparse(s))]
    return module


def every() -> dict[str, Right]:
    """All of them, by name."""
    found = [r for spec in SPECS for r in _by_spec("layers", spec, layer_name(spec), None, "float32")]
    found += [r for name, spec in RIGHT.items() for r in _by_spec("special", spec, name, None)]
    found += [*_conventions(), *_modes(), *_families(), *_snippets()]
    return {str(r): r for r in found}
