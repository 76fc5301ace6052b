"""Every family of awkward but right layers: never failed; its wrong twin, where it has one, always. The seeds go by the commit."""

import numpy as np
import pytest
from commit import turn
from every_family import FAMILIES, LATE
from family import Family

from harness import Outcome


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("seed", [100 + turn(2)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_right_layer_is_not_failed(family: Family, seed: int):
    outcomes = {r.outcome for r in family.report(seed).results}
    assert not outcomes & {Outcome.FAIL, Outcome.ERROR}
    assert Outcome.PASS in outcomes


@pytest.mark.parametrize("seed", [turn(2)])
@pytest.mark.parametrize("family", [f for f in FAMILIES if f.wrong], ids=lambda f: f.name)
def test_wrong_twin_is_failed(family: Family, seed: int):
    assert family.report(seed, wrong=True).failures


def test_there_are_enough_of_them():
    assert len(FAMILIES) >= 60
    assert len(LATE) >= 20
    assert len({f.function for f in FAMILIES}) >= 20
    assert len({f.function for f in FAMILIES if f.parameters}) >= 5
