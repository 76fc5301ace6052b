"""Gradients of very different sizes in one tensor: small blocks are judged by their own size, for a few evaluations."""

from __future__ import annotations

import pytest
import torch
from counted import OWN, cost, plain
from specs import SPECS

from harness import Outcome, gradcheck
from harness.examples.sample import layer_name, modes_of

ROWS = torch.tensor([[1.0], [1e-9], [2.0], [1e-3]], dtype=torch.float64)
X = torch.linspace(-1.3, 1.7, 12, dtype=torch.float64).reshape(4, 3)


class Rows:
    """Row i is cᵢ tanh x, where cᵢ is 10⁻⁹ in one; `detached` of a row's slope is outside autograd's graph and not in backward."""

    def __init__(self, detached: float = 0.0, row: int = 1) -> None:
        self.share = torch.zeros(4, 1, dtype=torch.float64)
        self.share[row] = detached

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.x = x
        outside = ROWS * self.share * torch.tanh(x).detach()
        return ROWS * (1 - self.share) * torch.tanh(x) + outside

    def backward(self, v: torch.Tensor) -> torch.Tensor:
        return v * ROWS * (1 - self.share) * (1 - torch.tanh(self.x) ** 2)


def outcome(layer: Rows) -> Outcome:
    return gradcheck(layer, X, raise_exception=False).results[0].outcome


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize(("detached", "expected"), [(0.0, Outcome.PASS), (0.01, Outcome.FAIL)])
def test_a_small_row_is_wrong_by_its_own_size_although_autograd_agrees(
    row: int, detached: float, expected: Outcome
) -> None:
    assert outcome(Rows(detached, row)) is expected


NAMES = ("InstanceNorm", "BatchNorm", "MLPWithBatchNormAndDropout")


@pytest.mark.parametrize("spec", [s for s in SPECS if layer_name(s) in NAMES], ids=layer_name)
def test_special_values_keep_their_budget_at_most_seeds(spec) -> None:
    found = [cost(spec, modes_of(spec)[0], plain(spec, seed)) for seed in range(16)]
    spent = sorted(calls["special_values"].forward for calls, _ in found)
    assert {outcomes["special_values"] for _, outcomes in found} <= {Outcome.PASS, Outcome.SKIP}
    assert spent[-2] <= OWN["special_values"]
    assert spent[-1] <= 2 * OWN["special_values"]
