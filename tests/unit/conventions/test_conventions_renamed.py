"""Other names for forward and backward: right and wrong, and the script that calls them."""

from __future__ import annotations

import re

import layers_renamed as layers
import numpy as np
import pytest
from twins import NX, pair

from harness import SpecError, gradcheck

KINDS = (layers.Backprop, layers.Passes, layers.Called, layers.Pulled, layers.Steps)
TWINS = {kind.__name__: pair(kind, NX, tensor="W", verified="x W") for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_layer_is_left_as_it_was(kind):
    layer = kind()
    before = dict(vars(layer))
    assert gradcheck(layer, NX).ok
    assert vars(layer) == before
    assert np.array_equal(layer.W, kind().W)


@pytest.mark.parametrize("kind", KINDS)
def test_script_shows_the_fault(kind, capsys):
    wrong = type("Wrong", (kind,), {"factor": 2.0})
    script = gradcheck(wrong(), NX, raise_exception=False).failures[0].finding.reproduce
    script = re.sub(r"^from \w+ import Wrong$", "", script, flags=re.MULTILINE)
    script = re.sub(r"^layer = .*$", "layer = made()", script, flags=re.MULTILINE)
    exec(script, {"made": wrong, "__name__": "script"})
    found = re.search(r"backward (\S+), central difference (\S+)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) == pytest.approx(2 * float(found[2]), rel=1e-4)


def test_a_forward_alone_is_no_layer():
    class Half:
        def forward_pass(self, x):
            return x

    with pytest.raises(SpecError, match="is no layer that can be checked"):
        gradcheck(Half(), NX)
