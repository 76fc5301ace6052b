"""Backwards whose rounding is nothing at most points, and all of the claim at some: four neighbours may not show it."""

from __future__ import annotations

import torch
from torch import Tensor

from harness import Outcome, gradcheck

SEED = 101
"""Of a point at which the claim for Wk is 16.4 times the rounding that four neighbours show."""


class SelfAttention:
    """Recomputes its weights from log Σ exp in backward: far apart scores make one of them 1, and its slope a difference of two
    dot products that mostly round alike."""

    def __init__(self, D: int, error: float = 0.0) -> None:
        g = torch.Generator().manual_seed(1)
        self.Wq, self.Wk, self.Wv = (torch.randn(D, D, generator=g, dtype=torch.float64) / D**0.5 for _ in range(3))
        self.error = error

    def scores(self) -> Tensor:
        return self.q @ self.k.transpose(-1, -2) * self.x.shape[-1] ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.q, self.k, self.v = x, x @ self.Wq, x @ self.Wk, x @ self.Wv
        self.L = torch.logsumexp(self.scores(), -1, keepdim=True)
        self.o = (self.scores() - self.L).exp() @ self.v
        return self.o

    def backward(self, do: Tensor) -> Tensor:
        p, c = (self.scores() - self.L).exp(), self.x.shape[-1] ** -0.5
        ds = p * (do @ self.v.transpose(-1, -2) - (do * self.o).sum(-1, keepdim=True))
        dq, dk, dv = ds @ self.k * c, ds.transpose(-1, -2) @ self.q * c, p.transpose(-1, -2) @ do
        rows = self.x.flatten(0, 1)
        self.dWq, self.dWk, self.dWv = (rows.T @ d.flatten(0, 1) for d in (dq, dk, dv))
        self.dWk = self.dWk + self.error * do.sum()
        return dq @ self.Wq.T + dk @ self.Wk.T + dv @ self.Wv.T


def drawn() -> Tensor:
    g = torch.Generator().manual_seed(SEED)
    torch.randint(1, 6, (3,), generator=g)
    return 1024 * torch.randn(2, 3, 5, generator=g, dtype=torch.float64)


def test_a_rounding_that_few_points_show_is_not_refuted():
    assert not gradcheck(SelfAttention(5), drawn(), seed=SEED, raise_exception=False).failures


def test_an_error_beyond_it_is():
    report = gradcheck(SelfAttention(5, error=1e-4), drawn(), seed=SEED, raise_exception=False)
    assert any(r.outcome is Outcome.FAIL and r.check == "parameter_gradient" for r in report.results)
