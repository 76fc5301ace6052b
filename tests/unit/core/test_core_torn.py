"""Points at which outputs jump: no gradient exists, though along some entries the function may be smooth."""

from __future__ import annotations

import numpy as np
import pytest

from harness import gradcheck


class Polar:
    """The orthogonal matrix nearest to each of several, U Vᵀ of X = U Σ Vᵀ."""

    def __init__(self, sign=1, spoils=False):
        self.sign, self.spoils = sign, spoils
        """Of σᵢ + σⱼ, which −1 makes the denominator of singular vectors; whether one matrix spoils the others."""

    def forward(self, x):
        self.U, self.s, self.Vt = np.linalg.svd(x)
        return self.U @ self.Vt

    def backward(self, d):
        M = self.U.swapaxes(-1, -2) @ d @ self.Vt.swapaxes(-1, -2)
        with np.errstate(all="ignore"):
            g = (M - M.swapaxes(-1, -2)) / (self.s[..., :, None] + self.sign * self.s[..., None, :])
        if self.sign < 0:
            g[..., range(3), range(3)] = 0
        g = self.U @ g @ self.Vt
        return g + 0 * g.sum() if self.spoils else g


ROW = np.array([[0.0, 0.0, 0.0], [0.4, -1.3, 0.7], [0.0, 0.0, 0.0]])
FULL = np.array([[1.0, 0.3, -0.5], [0.2, -1.1, 0.4], [0.6, 0.1, 0.9]])


def test_no_gradient_of_what_jumps_is_no_failure():
    for seed in range(3):
        report = gradcheck(Polar(), np.stack([ROW, FULL]), seed=seed, raise_exception=False)
        assert not report.failures, str(report)


@pytest.mark.parametrize(
    ("layer", "x"), [(Polar(sign=-1), np.stack([2 * np.eye(3), FULL])), (Polar(spoils=True), np.stack([ROW, FULL]))]
)
def test_none_of_what_is_smooth_is(layer, x):
    for seed in range(3):
        assert gradcheck(layer, x, seed=seed, raise_exception=False).failures
