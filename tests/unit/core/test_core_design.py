"""The covering design: which pairs of levels occur, what the seed decides, and what stays where the user put it."""

from __future__ import annotations

from itertools import combinations

import pytest
from core_layers import Identity

from harness import LayerSpec, check
from harness.draws import STRATA
from harness.examples.design import BEYOND, WHOLE, Example, examples

SEEDS = range(4)
RATES = (0.0, 0.2, 0.5)


@pytest.fixture(scope="module")
def spec() -> LayerSpec:
    return LayerSpec(build=lambda p: Identity(), inputs="B D", options={"p": RATES})


@pytest.fixture(scope="module")
def designs(spec: LayerSpec) -> dict[int, list[Example]]:
    return {seed: examples(spec, 25, seed) for seed in SEEDS}


def levels(example: Example) -> set[tuple[str, object]]:
    sizes = example.sizes
    shown: set[tuple[str, object]] = {(n, sizes[n]) for n in ("B", "D") if sizes[n] in (1, 2, 6)}
    return shown | {("equal", sizes["B"] == sizes["D"]), ("p", example.options["p"]), ("stratum", example.stratum)}


DIMENSIONS = [("B", 1), ("B", 2), ("B", 6), ("D", 1), ("D", 2), ("D", 6), ("equal", True), ("equal", False)]
OTHERS = [*(("p", p) for p in RATES), *(("stratum", s) for s in STRATA)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_pair_of_level_option_and_stratum_occurs(designs, seed):
    met = {frozenset(pair) for e in designs[seed] for pair in combinations(levels(e), 2)}
    wanted = {frozenset((a, b)) for a in DIMENSIONS for b in OTHERS}
    wanted |= {frozenset((("p", p), ("stratum", s))) for p in RATES for s in STRATA}
    assert wanted <= met, wanted - met


@pytest.mark.parametrize("seed", SEEDS)
def test_every_pair_of_sizes_occurs(designs, seed):
    met = {(e.sizes["B"], e.sizes["D"]) for e in designs[seed]}
    assert {(a, b) for a in (1, 2, 6) for b in (1, 2, 6)} <= met


@pytest.mark.parametrize("seed", SEEDS)
def test_two_examples_lie_beyond_a_block_and_are_odd(designs, seed):
    large = [n for e in designs[seed] for n in e.sizes.values() if n > 32 and n not in WHOLE]
    assert len(large) == 2
    assert all(33 <= n <= 300 and n % 2 for n in large)


@pytest.mark.parametrize("seed", SEEDS)
def test_as_many_examples_as_asked_for(designs, seed):
    assert len(designs[seed]) == 25


@pytest.mark.parametrize("seed", range(20))
def test_each_stratum_and_each_large_size_meet_sizes_above_two(designs, spec, seed):
    """A wrong factor on a norm over one feature changes nothing: the other dimension must not be degenerate."""
    drawn = designs[seed] if seed in designs else examples(spec, 25, seed)
    roomy = [e for e in drawn if min(e.sizes.values()) > 2]
    assert {e.stratum for e in roomy} == set(STRATA)
    assert {n for e in roomy for n, size in e.sizes.items() if size > 32} == {"B", "D"}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_of_three_dimensions_lies_beyond_a_block(seed):
    drawn = examples(LayerSpec(build=Identity, inputs="B L D"), 25, seed)
    assert {n for e in drawn for n, size in e.sizes.items() if size > 32} == {"B", "L", "D"}


@pytest.mark.parametrize("count", [1, 3, 8, 60])
def test_any_count_is_kept(spec, count):
    assert len(examples(spec, count, 0)) == count


def test_same_seed_gives_the_same_examples(spec):
    assert examples(spec, 60, 5) == examples(spec, 60, 5)


def test_another_seed_gives_others(designs):
    drawn = [tuple(map(str, d)) for d in designs.values()]
    assert len(set(drawn)) == len(drawn)


def test_examples_have_seeds_of_their_own(designs):
    assert len({e.seed for e in designs[0]}) == 25


def test_every_value_of_an_option_occurs():
    spec = LayerSpec(
        build=lambda kind, flag: Identity(),
        inputs="B",
        options={"kind": tuple("abcdefghijkl"), "flag": (True, False, None)},
    )
    drawn = examples(spec, 25, 0)
    assert {e.options["kind"] for e in drawn} == set("abcdefghijkl")
    assert {e.options["flag"] for e in drawn} == {True, False, None}


def test_given_sizes_are_kept_to():
    spec = LayerSpec(build=Identity, inputs="B D", dims={"B": [3, 5], "D": (7,)})
    drawn = examples(spec, 25, 0)
    assert {e.sizes["B"] for e in drawn} == {3, 5}
    assert {e.sizes["D"] for e in drawn} == {7}


def test_given_sizes_leave_the_others_large_examples():
    spec = LayerSpec(build=Identity, inputs="B D", dims={"B": [3]})
    assert sum(e.sizes["D"] in BEYOND for e in examples(spec, 25, 0)) == 2


def test_default_range_written_out_is_given_too():
    spec = LayerSpec(build=Identity, inputs="B", dims={"B": range(1, 7)})
    assert max(e.sizes["B"] for e in examples(spec, 25, 0)) == 6


def test_starred_dimension_has_none_to_three_axes():
    drawn = examples(LayerSpec(build=Identity, inputs="*batch D"), 25, 0)
    assert {len(e.sizes["batch"]) for e in drawn} == {0, 1, 2, 3}


def test_spec_without_dimensions_has_examples():
    drawn = examples(LayerSpec(build=Identity, inputs=""), 25, 0)
    assert {e.stratum for e in drawn} == set(STRATA)


def test_example_prints_what_it_takes_to_make_it_again():
    example = Example({"B": 2}, {"p": 0.5}, "wide", 7)
    assert str(example) == "B=2 p=0.5 values=wide seed=7"


@pytest.mark.parametrize("seed", range(8))
def test_each_dimension_is_once_of_whole_blocks(designs, spec, seed):
    drawn = designs[seed] if seed in designs else examples(spec, 25, seed)
    assert {n for e in drawn for n, size in e.sizes.items() if size in WHOLE and min(e.sizes.values()) > 2} == {
        "B",
        "D",
    }


class Blocked:
    """x², whose backward takes a faster path where the last axis has no remainder."""

    def __init__(self, whole: float = 1.0) -> None:
        self.whole = whole

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, d):
        return 2 * self.x * d * (self.whole if self.x.shape[-1] % 16 == 0 else 1.0)


@pytest.mark.parametrize("whole", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_wrong_in_whole_blocks_alone_is_failed(whole, seed):
    spec = LayerSpec(lambda: Blocked(whole), "B D", name="Blocked")
    assert bool(check(spec, only="input_gradient", seed=seed)) is (whole == 1)
