"""Code that names no arrays is looked through once a class; what is bound anew since is seen."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from harness import gradcheck
from harness.replay.bare import is_bare
from harness.replay.generators import generators_around

SOURCE = """
import torch

SCALE = 2.0

def scaled(z):
    return SCALE * z

class Scale:
    factor = 1.0

    def forward(self, z):
        return self.factor * scaled(z)

    def backward(self, v):
        return self.factor * SCALE * v

class Noisy(Scale):
    def forward(self, z):
        return scaled(z) + torch.randn(z.shape, generator=draws(), dtype=z.dtype)

def draws():
    return torch.default_generator
"""


@pytest.fixture
def home():
    module = ModuleType("home_of_scale")
    exec(SOURCE, vars(module))
    return module


def array(module: Any) -> None:
    module.SCALE = torch.tensor(2.0, dtype=torch.float64)


def in_class(module: Any) -> None:
    module.Scale.factor = torch.ones(1)


def container(module: Any) -> None:
    module.SCALE = []


def function(module: Any) -> None:
    module.table = {"scale": 2.0}
    exec("def scaled(z):\n    return table['scale'] * z", vars(module))


def code(module: Any) -> None:
    exec("def other(z):\n    global SCALE\n    SCALE = 2.0\n    return SCALE * z", vars(module))
    module.scaled.__code__ = module.other.__code__


def member(module: Any) -> None:
    module.Scale.more = torch.ones(1)


@pytest.mark.parametrize("change", [array, in_class, container, function, code, member])
def test_what_is_bound_anew_is_seen(home, change):
    assert is_bare(home.Scale)
    change(home)
    assert not is_bare(home.Scale)


def test_of_what_stays_bare_what_it_names_is_seen(home):
    assert generators_around(home.Scale()) == []
    assert generators_around(home.Noisy()) == [torch.default_generator]
    own = torch.Generator()
    home.own = own
    exec("def scaled(z):\n    return SCALE * z if own.initial_seed() else z", vars(home))
    assert is_bare(home.Scale)
    assert generators_around(home.Scale()) == [own]


def test_an_array_that_a_global_is_bound_to_after_a_first_check_is_judged_as_one_from_the_start(home):
    z = torch.randn(3, 4, dtype=torch.float64)
    assert gradcheck(home.Scale(), z).notes == ()
    array(home)
    (note,) = gradcheck(home.Scale(), z).notes
    assert note.startswith("`SCALE` changes the output and has no gradient: held outside the layer")


def test_a_wrong_gradient_beside_such_a_global_is_failed(home):
    z = torch.randn(3, 4, dtype=torch.float64)
    assert gradcheck(home.Scale(), z)
    home.Scale.backward = lambda self, v: v
    assert not gradcheck(home.Scale(), z, raise_exception=False)


NOISY = """
import torch

RNG = torch.Generator()

def noise(shape, {}):
    return torch.randn(shape, generator=rng, dtype=torch.float64)

class Times:
    factor = 1.0

    def forward(self, z):
        self.m = noise(z.shape)
        return z * self.m

    def backward(self, v):
        return self.factor * v * self.m
"""
REACHED = {
    "rng=RNG": "layer.forward.__globals__['noise'].__defaults__[0]",
    "*, rng=RNG": "layer.forward.__globals__['noise'].__kwdefaults__['rng']",
    "rng=None": "layer.forward.__globals__['noise'].__globals__['settings'].draws.rng",
}


@pytest.mark.parametrize(("asked", "reached"), REACHED.items())
def test_a_generator_in_a_helpers_default_or_in_a_module_inside_a_module_is_replayed(home, asked, reached):
    settings, draws = ModuleType("settings"), ModuleType("draws")
    settings.draws, draws.rng, home.settings = draws, torch.Generator(), settings
    source = NOISY.format(asked)
    if asked == "rng=None":
        source = source.replace("generator=rng", "generator=settings.draws.rng")
    exec(source, vars(home))
    z = torch.randn(3, 4, dtype=torch.float64)
    assert gradcheck(home.Times(), z)
    home.Times.factor = 2.0
    finding = gradcheck(home.Times(), z, raise_exception=False).failures[0].finding
    assert finding is not None
    assert f"{reached}.manual_seed(seed)" in finding.reproduce
