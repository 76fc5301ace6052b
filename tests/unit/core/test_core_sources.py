"""Random generators: found, watched, replayed and given back."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from harness.replay.generators import generators_in
from harness.replay.sources import Sources, globals_preserved


class Holder:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def method(self) -> None: ...


def kinds() -> list[Any]:
    return [torch.Generator(), np.random.default_rng(0), np.random.RandomState(0), random.Random(0)]


def closing_over(generator: Any) -> Any:
    return lambda: generator


PLACES = {
    "itself": lambda g: g,
    "attribute": lambda g: Holder(g=g),
    "inner layer": lambda g: Holder(inner=Holder(g=g)),
    "list": lambda g: Holder(layers=[Holder(), Holder(g=g)]),
    "tuple": lambda g: (Holder(), g),
    "dict": lambda g: {"layers": {"0": Holder(g=g)}},
    "closure": closing_over,
    "closure in an attribute": lambda g: Holder(f=closing_over(g)),
    "bound method": lambda g: Holder(g=g).method,
    "pair of functions": lambda g: (closing_over(g), lambda: None),
}


@pytest.mark.parametrize("kind", range(4), ids=["torch", "numpy", "RandomState", "random"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_generator_is_found(place, kind):
    generator = kinds()[kind]
    assert generators_in(place(generator)) == [generator]


def test_layer_without_one_has_none():
    assert not Sources(Holder(x=torch.ones(2), f=lambda: 1))
    assert generators_in(Holder(x=[1, "a", None, np.ones(2)])) == []


def test_layer_that_holds_itself_is_walked_once():
    layer = Holder(g=torch.Generator())
    layer.me = layer
    assert len(generators_in(layer, layer)) == 1


def test_generator_in_a_partial_is_found():
    from functools import partial

    generator = torch.Generator()
    assert generators_in(partial(lambda g: g, generator)) == [generator]


def draws(generator: Any) -> float:
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random())


@pytest.mark.parametrize("kind", range(4), ids=["torch", "numpy", "RandomState", "random"])
def test_replay_gives_the_same_draws(kind):
    generator = kinds()[kind]
    sources = Sources(Holder(g=generator))
    drawn = []
    for seed in (3, 3, 4):
        sources.seed(seed)
        drawn.append([draws(generator) for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_two_generators_of_a_layer_are_not_put_into_one_state():
    a, b = torch.Generator(), torch.Generator()
    Sources(Holder(a=a, b=b)).seed(0)
    assert draws(a) != draws(b)


GLOBALS = {
    "torch": lambda: float(torch.rand(())),
    "numpy": lambda: float(np.random.rand()),  # noqa: NPY002  (what layers in the wild draw from)
    "random": random.random,
    "random normal": lambda: random.gauss(0.0, 1.0),
    "torch normal": lambda: float(torch.randn(())),
    "numpy normal": lambda: float(np.random.randn()),  # noqa: NPY002
}


@pytest.mark.parametrize("draw", GLOBALS.values(), ids=GLOBALS)
def test_global_generator_that_moves_is_noted_and_replayed(draw):
    with globals_preserved():
        sources = Sources()
        with sources.watched():
            draw()
        assert sources
        drawn = []
        for seed in (3, 3, 4):
            sources.seed(seed)
            drawn.append([draw() for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_global_generators_that_rest_are_left_alone():
    sources = Sources()
    with sources.watched():
        torch.ones(3).sum()
    assert not sources
    before = torch.get_rng_state()
    sources.seed(1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("draw", GLOBALS.values(), ids=GLOBALS)
def test_globals_are_given_back(draw):
    with globals_preserved():
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        with globals_preserved():
            inside = [draw() for _ in range(5)]
        assert [draw() for _ in range(5)] == inside


@pytest.mark.parametrize("kind", range(4), ids=["torch", "numpy", "RandomState", "random"])
def test_generator_that_a_layer_was_seen_to_hold_is_given_back(kind):
    generator, untouched = kinds()[kind], kinds()[kind]
    with globals_preserved():
        Sources(Holder(g=generator)).seed(3)
        draws(generator)
    assert draws(generator) == draws(untouched)


def test_a_normal_deviate_that_python_keeps_is_given_back():
    random.seed(1)
    random.gauss(0.0, 1.0)  # the second of the pair is kept
    before = random.getstate()
    with globals_preserved():
        random.gauss(0.0, 1.0)
    assert random.getstate() == before


def test_globals_are_given_back_after_an_exception():
    def draw_and_raise() -> None:
        with globals_preserved():
            random.random()
            raise KeyError

    before = random.getstate()
    with pytest.raises(KeyError):
        draw_and_raise()
    assert random.getstate() == before
