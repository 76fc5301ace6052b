"""A right layer beside its wrong twin: what every convention's tests ask of the two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from contents import contents, global_state

from harness import GradientError, NotVerified, Report, gradcheck

GRADIENTS = ("input_gradient", "parameter_gradient")


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X = randn(4, 3)
NX = X.numpy()


class Twins(NamedTuple):
    """A right layer, a wrong one, what both are called with, the tensor that is wrong, and all that must be verified."""

    right: Any
    wrong: Any
    inputs: tuple[Any, ...]
    tensor: str
    verified: str
    words: Mapping[str, Any] = {}


def pair(kind: type, *inputs: Any, tensor: str, verified: str, **words: Any) -> Twins:
    """A class whose `factor` multiplies one gradient, with 1 and with 2 in its place."""
    wrong = type(f"Wrong{kind.__name__}", (kind,), {"factor": 2.0})
    return Twins(kind(), wrong(), inputs, tensor, verified, words)


def verified_in(report: Report) -> set[str]:
    return {n for r in report.results if r.check in GRADIENTS for n in r.tensors}


def assert_right_is_verified(twins: Twins) -> Report:
    before = contents((twins.right, twins.inputs, twins.words)), global_state()
    report = gradcheck(twins.right, *twins.inputs, **twins.words)
    assert report.ok
    assert (contents((twins.right, twins.inputs, twins.words)), global_state()) == before
    assert verified_in(report) == set(twins.verified.split())
    return report


def assert_wrong_is_named(twins: Twins) -> Report:
    with pytest.raises(GradientError) as raised:
        gradcheck(twins.wrong, *twins.inputs, **twins.words)
    assert not isinstance(raised.value, NotVerified), str(raised.value)
    report: Report = raised.value.report
    assert {r.finding.where[0] for r in report.failures if r.finding} == {twins.tensor}
    return report


def asarray(library: str, values: Any) -> Any:
    values = np.asarray(values, dtype=float)
    return values if library == "numpy" else torch.tensor(values)


def remade(script: str) -> str:
    """A failure's script that makes the wrong twin by `made()`: it stands in no module that could be imported."""
    script = re.sub(r"^from \w+ import (Wrong\w*|Renamed)$", "", script, flags=re.MULTILINE)
    return re.sub(r"^(layer|wrapped) = (Wrong|Renamed|\.\.\.).*$", r"\1 = made()", script, flags=re.MULTILINE)


def shown(script: str, tensor: str, capsys: pytest.CaptureFixture[str], twice: bool = True, **space: Any) -> None:
    """The script shows that the gradient of this tensor is wrong, and where it is `twice` the right one, that."""
    assert "harness" not in script
    assert "fill in" not in script
    exec(script, {**space, "__name__": "script"})
    found = re.fullmatch(r"(.*)\[.*\]: backward (\S+), central difference (\S+)\n", capsys.readouterr().out)
    assert found is not None
    assert found[1] == tensor
    claimed, right = float(found[2]), float(found[3])
    assert claimed == pytest.approx(2 * right, rel=1e-4) if twice else claimed != pytest.approx(right, rel=1e-3)
