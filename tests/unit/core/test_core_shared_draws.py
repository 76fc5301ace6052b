"""A reference that asks for `generator` or `rng` draws what the layer draws: its mask is compared entry by entry."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck
from harness.report import Result

P = 0.4


class Drops:
    """Drops where a uniform number lies below p; its wrong twin where one lies above 1 − p, which is as likely."""

    def __init__(self, above=False, generator=None):
        self.above, self.training, self.generator = above, True, generator

    def uniform(self, x):
        return torch.rand(x.shape, generator=self.generator)

    def forward(self, x):
        u = self.uniform(x) if self.training else torch.ones(x.shape)
        self.m = ((1 - u if self.above and self.training else u) >= P).to(x) / (1 - P if self.training else 1)
        return self.m * x

    def backward(self, dout):
        return self.m * dout


class DropsInNumPy(Drops):
    def forward(self, x):
        u = self.uniform(x) if self.training else np.ones(x.shape)
        self.m = ((1 - u if self.above and self.training else u) >= P) / (1 - P if self.training else 1)
        return self.m * x


class FromItsRng(DropsInNumPy):
    def uniform(self, x):
        return self.generator.random(x.shape)


class FromNumPysGlobal(DropsInNumPy):
    def uniform(self, x):
        return np.random.random(x.shape)  # noqa: NPY002


class FromPythons(DropsInNumPy):
    def uniform(self, x):
        return np.array([random.random() for _ in range(x.size)]).reshape(x.shape)


class FromTwo(Drops):
    """Rows and columns, each from a generator of its own."""

    def __init__(self, above=False, generator=None):
        super().__init__(above)
        self.rows, self.columns = torch.Generator(), torch.Generator()

    def uniform(self, x):
        return torch.maximum(torch.rand(len(x), 1, generator=self.rows), torch.rand(x.shape[1], generator=self.columns))


class Shared(torch.nn.Module):
    def __init__(self, above=False):
        super().__init__()
        self.above = above

    def forward(self, x):
        if not self.training:
            return x
        u = torch.rand(x.shape)
        return ((1 - u if self.above else u) >= P) * x / (1 - P)


def by_torch(x, mode, generator):
    return x.clone() if mode == "eval" else torch.where(torch.rand(x.shape, generator=generator) < P, 0, x / (1 - P))


def by_numpy(x, mode, rng):
    return x.copy() if mode == "eval" else np.where(rng.random(x.shape) < P, 0, x / (1 - P))


def by_python(x, mode, rng):
    u = np.array([rng.random() for _ in range(x.size)]).reshape(x.shape)
    return x.copy() if mode == "eval" else np.where(u < P, 0, x / (1 - P))


def by_two(x, mode, generator):
    rows, columns = generator
    if mode == "eval":
        return x.clone()
    u = torch.maximum(torch.rand(len(x), 1, generator=rows), torch.rand(x.shape[1], generator=columns))
    return torch.where(u < P, 0, x / (1 - P))


LAYERS = {
    "its own": ("(above, generator)", Drops, by_torch, ()),
    "torch's global": ("(above)", Drops, by_torch, ()),
    "NumPy's, its own": ("(above, rng)", FromItsRng, by_numpy, ()),
    "NumPy's global": ("(above)", FromNumPysGlobal, by_numpy, ()),
    "Python's global": ("(above)", FromPythons, by_python, ()),
    "two of its own": ("(above)", FromTwo, by_two, ("shared_mask",)),
    "a module": ("(above)", Shared, by_torch, ()),
}


def results(name: str, above: bool) -> list[Result]:
    build, kind, reference, promises = LAYERS[name]
    spec = LayerSpec(
        kind.__name__ + build,
        "B D",
        dims={"B": (5,), "D": (5,)},
        options={"above": (above,)},
        reference=reference,
        promises=promises,
    )
    return list(check(spec, examples=4).results)


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_draws_give_the_same_mask(name: str):
    assert {r.outcome for r in results(name, False)} <= {Outcome.PASS, Outcome.SKIP}
    seen = {r.mode: r.outcome for r in results(name, False) if r.check == "reference"}
    assert seen == {"train": Outcome.PASS, "eval": Outcome.PASS}


@pytest.mark.parametrize("name", LAYERS)
def test_another_mask_as_likely_is_failed_by_the_reference_alone(name: str):
    failed = {(r.check, r.mode) for r in results(name, True) if r.outcome is Outcome.FAIL}
    assert failed == {("reference", "train")}


def test_one_input_is_enough():
    assert gradcheck(Drops(), torch.randn(5, 5), reference=by_torch, mode="train").ok
    report = gradcheck(Drops(True), torch.randn(5, 5), reference=by_torch, mode="train", raise_exception=False)
    assert [r.check for r in report.failures] == ["reference"]


def test_a_reference_that_asks_for_none_is_told_how():
    spec = LayerSpec(Drops, "B D", reference=lambda x, mode: x.clone())
    train, evaluation = check(spec, examples=4, only=("reference",)).results
    assert (train.outcome, evaluation.outcome) == (Outcome.SKIP, Outcome.PASS)
    assert "one that asks for `generator` draws the same" in train.reason


def test_where_the_layer_draws_nothing_there_is_a_generator_all_the_same():
    spec = LayerSpec(torch.nn.Tanh, "B D", reference=lambda x, generator, rng: torch.tanh(x))
    assert check(spec, examples=2, only=("reference",)).ok
