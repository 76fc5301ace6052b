"""Hundreds of parameters are paired with their gradients in about one look each, and by the same rules as a few."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.reading.naming import gradient_rank, label_ends, owners_ends
from harness.request import Request
from harness.state import owners
from harness.state.discovery import discovered
from harness.state.stateful import Stateful
from harness.tensors.within import beginning_inside, position

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

WORDS = ("W", "weight", "kernel", "b", "bias", "W_xh", "_Linear__W", "_w", "p", "gamma", "0", "value")
BEFORE = ("", "d", "dL_d", "grad_", "g", "dJd", "partial_", "_d", "adj_", "_Linear__d")
AFTER = ("", "_grad", "Grad", "_bar", "_delta", "err", "_grad_acc", "_ct")
AROUND = ("{}", "fc.{}", "grads.{}", "params.{}", "model.fc.{}", "g.{}", "{}.grad", "fc.{}.data", "returned.{}")

PLACES = [around.format(f"{b}{w}{a}") for around, b, w, a in product(AROUND, BEFORE, WORDS, AFTER)]
PARAMETERS = [around.format(w) for around, w in product(AROUND, WORDS)]


def test_what_has_a_rank_beside_a_label_is_found_by_how_the_label_ends():
    ends = {name: label_ends(name) for name in PARAMETERS}
    ranked = alike = 0
    for place in PLACES[::23]:
        found = owners_ends(place)
        for name in PARAMETERS:
            near, rank = bool(found & ends[name]), gradient_rank(place, name, True)
            assert near or rank is None, (place, name)
            ranked, alike = ranked + (rank is not None), alike + near
    assert ranked > 300
    assert alike < len(PLACES[::23]) * len(PARAMETERS) / 4  # else looking up would spare nothing


def views(seed: int) -> dict[str, Tensor]:
    """Arrays of their own, and parts of them, of NumPy too; some empty, some that stand in no row of their own."""
    rng = np.random.default_rng(seed)
    flat, alone = torch.arange(60.0), torch.from_numpy(np.arange(24.0))
    made = {"flat": flat, "alone": alone, "empty": torch.zeros(0), "transposed": flat[:12].reshape(3, 4).T}
    for k in range(12):
        first, last = sorted(rng.integers(0, 24, 2))
        made[f"part{k}"] = (flat, alone)[k % 2][first : last + 1]
    names = [str(n) for n in rng.permutation(list(made))]
    return {n: made[n] for n in names}


@pytest.mark.parametrize("seed", range(20))
def test_arrays_inside_others_are_those_that_all_pairs_show(seed):
    arrays = views(seed)
    inside = [(a, b) for a, b in permutations(arrays, 2) if position(arrays[a], arrays[b]) is not None]
    assert [pair for pair in beginning_inside(arrays) if position(*(arrays[n] for n in pair)) is not None] == inside
    assert inside


class Rows:
    """y = x Σ W_k, with a list of K parameters of one shape; `swapped` exchanges the gradients of two."""

    def __init__(self, K: int, swapped: bool = False) -> None:
        self.W = [torch.linspace(0.5, 1.5, 3, dtype=torch.float64) + k for k in range(K)]
        self.swapped, self.forwards = swapped, 0

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.forwards = x, self.forwards + 1
        return x * sum((k + 1) * W for k, W in enumerate(self.W))

    def backward(self, v: Tensor) -> Tensor:
        self.dW = [(k + 1) * (v * self.x).sum(0) for k in range(len(self.W))]
        if self.swapped:
            self.dW[0], self.dW[1] = self.dW[1], self.dW[0]
        return v * sum((k + 1) * W for k, W in enumerate(self.W))


def found(layer: Any) -> tuple[int, tuple[str, ...]]:
    """How many forwards discovery takes, and what it says."""
    state = Stateful.of(Request(layer, (X,)))
    notes = discovered(state).notes
    return state.layer.forwards, notes


def test_a_list_takes_two_forwards_more_for_each_of_its_parameters():
    few, many = found(Rows(10))[0], found(Rows(50))[0]
    assert (many - few) / 40 <= 4


def test_gradients_in_another_order_are_told_in_a_long_list_too():
    assert found(Rows(50))[1] == ()
    said = found(Rows(50, swapped=True))[1]
    assert [line.split(":")[0] for line in said] == ["`dW.1` fits W.0", "`dW.0` fits W.1"]


def test_labels_are_ranked_beside_few_others(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def counted(place: str, parameter: str, weak: bool = False) -> int | None:
        asked.append(place)
        return gradient_rank(place, parameter, weak)

    monkeypatch.setattr(owners, "gradient_rank", counted)
    found(Rows(50))
    assert len(asked) < 10 * 50
