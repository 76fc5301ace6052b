"""Promises about memory and devices: said without them, failed under them."""

from __future__ import annotations

import pytest
import torch
from specs import SPECS

from harness import LayerSpec, Outcome, check
from harness.examples.sample import layer_name
from harness.report import Result


class Identity:
    """x, or a copy of it."""

    def __init__(self, copies: bool, forward: bool = True) -> None:
        self.copies, self.first = copies, forward

    def forward(self, x):
        return x.clone() if self.copies or not self.first else x

    def backward(self, d):
        return d.clone() if self.copies or self.first else d


class Ones:
    """2x by way of ones that are made on x's device, or where torch makes them by default."""

    def __init__(self, there: bool = True) -> None:
        self.there = there

    def forward(self, x):
        return x * (2 * torch.ones(x.shape, dtype=x.dtype, device=x.device if self.there else None))

    def backward(self, d):
        return 2 * d


class Answer(Ones):
    """Its gradient is made on x's device, or where torch makes it by default."""

    def forward(self, x):
        return 2 * x

    def backward(self, d):
        return (
            torch.full(d.shape, 2.0, dtype=d.dtype, device=d.device if self.there else None) * d.sum().div(d.sum()) * d
        )


def found(build, name: str, *promises: str) -> Result:
    (result,) = check(LayerSpec(build, "B D", "layer", promises=promises), examples=3, only=(name,)).results
    return result


@pytest.mark.parametrize("forward", [True, False], ids=["output", "gradient"])
def test_memory_that_is_not_its_own_is_said_and_failed_under_the_promise(forward: bool) -> None:
    said = found(lambda: Identity(False, forward), "aliasing")
    assert said.outcome is Outcome.PASS
    assert "lies in the memory of" in said.reason
    failed = found(lambda: Identity(False, forward), "aliasing", "owns")
    assert failed.outcome is Outcome.FAIL
    assert "promised to own what it returns, and" in failed.reason
    assert found(lambda: Identity(True, forward), "aliasing", "owns").outcome is Outcome.PASS


@pytest.mark.parametrize("layer", [Ones, Answer])
def test_what_is_made_elsewhere_is_failed_under_the_promise(layer: type[Ones]) -> None:
    assert found(lambda: layer(False), "dtypes").outcome is Outcome.PASS
    assert found(lambda: layer(False), "dtypes", "portable").outcome is Outcome.FAIL
    assert found(layer, "dtypes", "portable").outcome is Outcome.PASS


@pytest.mark.parametrize("spec", SPECS, ids=layer_name)
def test_our_layers_keep_both(spec: LayerSpec) -> None:
    assert {"owns", "portable"} <= set(spec.promises)
    results = check(spec, examples=6, only=("aliasing", "dtypes")).results
    assert {r.outcome for r in results} == {Outcome.PASS}
