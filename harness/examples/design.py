"""Which examples a spec is tried on: a covering design, not independent draws."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from harness.draws import STRATA
from harness.spec import LayerSpec

BEYOND = tuple(range(33, 301, 2))
"""Sizes beyond a block of 32, odd so that no power of two divides them."""

WHOLE = (64, 128)
"""Sizes of whole blocks of 8, 16, 32 and 64: where a loop has no remainder, and where fast paths are taken that need that."""

CANDIDATES = 60
"""How many random rows compete for the next place in the covering design."""


AXES = 3
"""How many axes a starred dimension stands for at most."""


@dataclass(frozen=True)
class Example:
    """Sizes, options, a value stratum, and the seed that everything else is drawn from."""

    sizes: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    stratum: str = "unit"
    seed: int = 0

    def __str__(self) -> str:
        named = [f"{k}={v}" for k, v in {**self.sizes, **self.options}.items()]
        return " ".join([*named, f"values={self.stratum}", f"seed={self.seed}"])


def strategy(spec: LayerSpec) -> st.SearchStrategy[Example]:
    """Hypothesis draws sizes, options, stratum and one integer; values come from the integer."""
    sizes: dict[str, st.SearchStrategy[Any]] = {n: st.sampled_from(v) for n, v in spec.sizes.items()}
    sizes |= {n: st.lists(st.integers(1, 3), max_size=AXES).map(tuple) for n in spec.starred}
    options = {n: st.sampled_from(range(len(v))) for n, v in spec.options.items()}
    return st.builds(
        lambda s, o, stratum, number: Example(s, {n: spec.options[n][k] for n, k in o.items()}, stratum, number),
        st.fixed_dictionaries(sizes),
        st.fixed_dictionaries(options),
        st.sampled_from(STRATA),
        st.integers(0, 2**31 - 1),
    )


def examples(spec: LayerSpec, count: int, seed: int) -> list[Example]:
    """At most `count` examples: every pair of levels as far as the count allows, each stratum at sizes above 2, each
    dimension beyond a block and of whole blocks, the rest random."""
    rng = random.Random(f"{seed}:design")
    fixed = [*_generic(spec, rng), *_large(spec, rng), *_whole(spec, rng)][: count // 2] if count >= 8 else []
    rows = list(_covering(spec, count - len(fixed), rng, fixed)) + fixed
    made = [Example(*row, rng.randrange(2**31)) for row in rows]
    return made + _random(spec, count - len(made), seed) if count > len(made) else made


def _random(spec: LayerSpec, count: int, number: int) -> list[Example]:
    drawn: list[Example] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(spec))
    def draw(example: Example) -> None:
        drawn.append(example)

    draw()
    return drawn[:count]


Row = tuple[dict[str, Any], dict[str, Any], str]


@cache
def _levels(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest, the next and the largest size: 1, 2 and the maximum of the usual range."""
    return tuple(dict.fromkeys((sizes[0], sizes[min(1, len(sizes) - 1)], sizes[-1])))


def _row(spec: LayerSpec, rng: random.Random) -> Row:
    sizes: dict[str, Any] = {}
    for name, values in spec.sizes.items():
        sizes[name] = rng.choice(_levels(values) if rng.random() < 0.75 else values)
    for name in spec.starred:
        sizes[name] = tuple(rng.choices((1, 2, 3), k=rng.choice(range(AXES + 1))))
    options = {name: rng.choice(values) for name, values in spec.options.items()}
    return sizes, options, rng.choice(STRATA)


def _features(spec: LayerSpec, row: Row) -> list[tuple[str, Any]]:
    """What a row shows: each dimension at its levels, which dimensions are equal, each option's value, the stratum."""
    sizes, options, stratum = row
    shown: list[tuple[str, Any]] = [(n, sizes[n]) for n, v in spec.sizes.items() if sizes[n] in _levels(v)]
    shown += [(n, len(sizes[n])) for n in spec.starred]
    shown += [(f"{a}?{b}", sizes[a] == sizes[b]) for a, b in combinations(spec.sizes, 2)]
    shown += [(n, repr(v)) for n, v in options.items()]
    return [*shown, ("stratum", stratum)]


def _pairs(spec: LayerSpec, row: Row) -> frozenset[tuple[Any, ...]]:
    return frozenset(combinations(_features(spec, row), 2))


def _covering(spec: LayerSpec, count: int, rng: random.Random, fixed: list[Row]) -> Iterator[Row]:
    """Greedy pairwise covering: each row is the best of many random ones, until no pair of levels is left uncovered by
    them and the fixed rows."""
    pool = [_row(spec, rng) for _ in range(20 * CANDIDATES)]
    pairs = [_pairs(spec, row) for row in pool]
    left = set().union(*pairs).difference(*(_pairs(spec, row) for row in fixed))

    def gain(k: int) -> int:
        return len(pairs[k] & left)

    for _ in range(count):
        if not left:
            return
        best = max((rng.randrange(len(pool)) for _ in range(CANDIDATES)), key=gain)
        if not gain(best):  # the candidates missed the rare pairs that are left: look at the whole pool
            best = max(range(len(pool)), key=gain)
        left -= pairs[best]
        yield pool[best]


def _roomy(spec: LayerSpec, rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sizes above 2 where a dimension has them, and options.

    At sizes 1 and 2 much degenerates (a norm over one or two features, a softmax over one class), so that a wrong factor
    has nothing to act on.
    """
    sizes, options, _ = _row(spec, rng)
    return {
        **sizes,
        **{n: rng.choice([v for v in values if v > 2] or values) for n, values in spec.sizes.items()},
    }, options


def _generic(spec: LayerSpec, rng: random.Random) -> Iterator[Row]:
    """Each stratum once where no dimension is degenerate: pairs alone leave (wide, B > 2, D > 2) out in 8 % of seeds."""
    for stratum in STRATA:
        yield (*_roomy(spec, rng), stratum)


def _large(spec: LayerSpec, rng: random.Random) -> Iterator[Row]:
    """One example for each dimension beyond a block, two at least; dimensions whose sizes were given stay within them."""
    free = _free(spec)
    for name in free if len(free) > 1 else free * 2:
        sizes, options = _roomy(spec, rng)
        yield {**sizes, name: rng.choice(BEYOND)}, options, "unit"


def _whole(spec: LayerSpec, rng: random.Random) -> Iterator[Row]:
    """One example for each dimension in whole blocks."""
    for name in _free(spec):
        sizes, options = _roomy(spec, rng)
        yield {**sizes, name: rng.choice(WHOLE)}, options, "unit"


def _free(spec: LayerSpec) -> list[str]:
    return [n for n in spec.sizes if n not in spec.dims]
