"""What is kept from call to call begins anew before each: the layer is verified, told so, and left as it was."""

from __future__ import annotations

import layers_carried as layers
import pytest
import torch
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm
from twins import NX, Twins, X, verified_in

from harness import LayerSpec, check, gradcheck

TWINS = {
    "object": Twins(layers.Cell(), layers.WrongCell(), (X,), "self.w", "x self.w"),
    "dict": Twins(layers.InDict(), layers.WrongInDict(), (X,), "self.w", "x self.w"),
    "module": Twins(layers.Module(), layers.WrongModule(), (X,), "w", "x w"),
    "closure with its pullback": Twins(layers.Closure(), layers.WrongClosure(), (NX,), "x", "x"),
}
KEPT = {"object": "h", "dict": "h", "module": "h", "closure with its pullback": "t"}


@pytest.mark.parametrize("name", TWINS)
def test_what_is_kept_is_named(name):
    layer, (x,) = TWINS[name].right, TWINS[name].inputs
    said = f"{type(layer).__name__} keeps `{KEPT[name]}` from call to call, and the output depends on it"
    assert [n for n in gradcheck(layer, x).notes if n.startswith(said)]


@pytest.mark.parametrize("name", TWINS)
def test_every_check_and_example_begins_anew(name):
    kinds = type(TWINS[name].right), type(TWINS[name].wrong)
    right, wrong = (check(LayerSpec(build=kind, inputs=("B 3",)), examples=4, only=("gradient",)) for kind in kinds)
    assert not right.failures
    assert TWINS[name].tensor in verified_in(right)
    assert wrong.failures


def test_nothing_is_said_of_a_cache():
    assert gradcheck(layers.Cache(), X).notes == ()


@pytest.mark.parametrize("normed", [spectral_norm, old_spectral_norm], ids=["parametrized", "by hooks"])
def test_buffers_that_training_moves_past_autograd_are_named_and_right_in_evaluation(normed):
    torch.manual_seed(0)
    layer = normed(torch.nn.Linear(3, 2)).double()
    report = gradcheck(layer, X, raise_exception=False)
    assert any("move past autograd and change the output" in n and 'check mode="eval"' in n for n in report.notes)
    assert gradcheck(layer, X, mode="eval").notes == ()
    wrong = torch.nn.Sequential(layer, layers.WrongModule())
    wrong[1].w.data = torch.ones(2, 2, dtype=torch.float64)
    assert gradcheck(wrong, X, mode="eval", raise_exception=False).failures


def test_running_statistics_are_not_named():
    assert gradcheck(torch.nn.BatchNorm1d(3).double(), X).notes == ()
