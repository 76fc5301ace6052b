"""Layers whose `__call__` keeps for backward what their forward does not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness import Outcome, gradcheck


class Module:
    """As in pytoydl: forward computes, and who calls the module keeps its input."""

    def __init__(self):
        self.storage = {}

    def __call__(self, x, **kwargs):
        self.storage.update({"x": np.asarray(x)})
        return self.forward(x, **kwargs)


class Softplus(Module):
    def forward(self, x):
        return np.log1p(np.exp(x))

    def backward(self, d):
        return d / (1 + np.exp(-self.storage["x"]))


class WrongSoftplus(Softplus):
    def backward(self, d):
        return d / (1 + np.exp(self.storage["x"]))


class Kept(Module):
    """One whose forward keeps what its backward needs: `__call__` adds nothing."""

    def __call__(self, x):
        raise AssertionError("is not to be called")

    def forward(self, x):
        self.storage["x"] = x
        return x**2

    def backward(self, d):
        return 2 * d * self.storage["x"]


X = np.random.default_rng(0).normal(size=(4, 3))


def test_a_call_that_keeps_the_input_is_what_is_called():
    assert gradcheck(Softplus(), X)


def test_a_wrong_backward_after_it_fails_and_its_script_shows_it(tmp_path):
    report = gradcheck(WrongSoftplus(), X, raise_exception=False)
    failed = [r for r in report.failures if r.check == "input_gradient"]
    assert failed
    source = failed[0].finding.reproduce
    assert "layer(" in source
    assert ".forward(" not in source
    source = source.replace("layer = ...  # fill in: a WrongSoftplus", "layer = WrongSoftplus()")
    file = tmp_path / "shown.py"
    file.write_text(source)
    answer = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "central difference" in answer.stdout or "test_conventions_called" in source, answer.stderr


@pytest.mark.parametrize("kind", [Kept])
def test_a_forward_that_keeps_it_itself_is_called_as_ever(kind):
    assert {r.outcome for r in gradcheck(kind(), X).results} <= {Outcome.PASS, Outcome.SKIP}
