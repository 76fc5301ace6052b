"""A counter of train forwards that evaluation does not read is no running statistic; one that is never read is."""

import pytest
import torch

from harness import Outcome, gradcheck

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Unread(torch.nn.BatchNorm1d):
    """Keeps running statistics and evaluates by the batch's."""

    def forward(self, input):
        mean, var = self.running_mean.clone(), self.running_var.clone()
        if self.training:
            return super().forward(input)
        y = torch.nn.functional.batch_norm(input, mean, var, self.weight, self.bias, training=True)
        return y + 0 * input


@pytest.mark.parametrize(("kind", "outcome"), [(torch.nn.BatchNorm1d, Outcome.PASS), (Unread, Outcome.FAIL)])
def test_batch_norm_of_torch_is_right_in_eval(kind: type, outcome: Outcome):
    layer = kind(3).double().eval()
    report = gradcheck(layer, X, mode="eval", battery=True, raise_exception=False)
    assert [r.outcome for r in report.results if r.check == "state"] == [outcome]
