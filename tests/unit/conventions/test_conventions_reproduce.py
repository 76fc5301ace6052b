"""The script of a failure calls the layer as its convention asks."""

from __future__ import annotations

import re

import layers_backwards as backwards
import layers_containers as containers
import layers_models as models
import layers_modes as modes
import layers_naming as naming
import numpy as np
import pytest
from twins import NX, X, randn

from harness import gradcheck

LABELS = np.array([0, 2, 1, 1])
H = randn(4, 2, seed=3).numpy()
CASES = {
    "returned in a tuple": (backwards.AllInTuple, (NX,), "W"),
    "returned in a dict": (backwards.AllInDictByD, (NX,), "W"),
    "returned in a list": (backwards.InputAndList, (NX,), "W"),
    "attributes only": (backwards.AttributesOnly, (NX,), "weights"),
    "__call__": (backwards.Called, (NX,), "W"),
    "list of inputs": (backwards.Sum, ([NX, NX + 1],), "X.1"),
    "first output alone": (backwards.Cell, (NX, H), "Wh"),
    "cotangents in one tuple": (backwards.Bundle, (NX,), "W"),
    "cache returned": (backwards.Caching, (NX,), "W"),
    "predictions as dvalues": (backwards.MeanSquaredError, (NX, NX + 1), "y_pred"),
    "output as dvalues": (backwards.SoftmaxCategoricalCrossentropy, (NX, LABELS), "inputs"),
    "learning rate": (backwards.Updates, (NX,), "W"),
    "learning rate, nothing kept": (backwards.KeepsNothing, (NX,), "W"),
    "learning rate on the layer": (backwards.KeepsItsRate, (NX,), "W"),
    "forward(train_flg=)": (modes.TrainFlg, (NX,), "gamma"),
    "layers of a network": (modes.Net, (NX,), "layers.0.gamma"),
    "method": (naming.Methods, (NX,), "W"),
    "W.grad": (containers.TensorGrad, (X,), "W"),
    "backward(*, grad)": (models.Keyword, (NX,), "W"),
}


@pytest.mark.parametrize(("kind", "inputs", "tensor"), CASES.values(), ids=CASES)
def test_script_shows_the_fault(kind, inputs, tensor, capsys):
    wrong = type("Wrong", (kind,), {"factor": 2.0})
    report = gradcheck(wrong(), *inputs, raise_exception=False)
    script = report.failures[0].finding.reproduce
    script = re.sub(r"^from \w+ import Wrong$", "", script, flags=re.MULTILINE)
    script = re.sub(r"^layer = .*$", "layer = made()", script, flags=re.MULTILINE)
    exec(script, {"made": wrong, "__name__": "script"})
    found = re.fullmatch(r"(.*)\[.*\]: backward (\S+), central difference (\S+)\n", capsys.readouterr().out)
    assert found is not None
    assert found[1] == tensor
    assert float(found[2]) == pytest.approx(2 * float(found[3]), rel=1e-4)
