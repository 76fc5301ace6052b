"""The device of the inputs, or the one asked for, is where a layer is judged."""

import pytest
import torch
from core_layers import AttributeLinear, WrongAttributeLinear

from harness import LayerSpec, check, gradcheck

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")),
]


def moved(layer, device):
    for name, value in vars(layer).items():
        if isinstance(value, torch.Tensor):
            setattr(layer, name, value.to(device))
    return layer


@pytest.mark.parametrize("device", DEVICES)
def test_layer_is_judged_where_its_inputs_are(device):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).to(device)
    report = gradcheck(moved(AttributeLinear(), device), x)
    assert report.ok
    assert report.settings["device"].startswith(device)
    assert gradcheck(moved(WrongAttributeLinear(), device), x, raise_exception=False).failures


@pytest.mark.parametrize("device", DEVICES)
def test_spec_is_judged_where_it_is_asked_to_be(device):
    specs = (LayerSpec(build=c, inputs="B 3") for c in (AttributeLinear, WrongAttributeLinear))
    right, wrong = (check(spec, examples=4, device=device, only=("gradient",)) for spec in specs)
    assert right.ok
    assert wrong.failures


class Rectifier:
    """max(x, 0) by values that autograd does not see."""

    at_zero = 0.5

    def forward(self, x):
        self.x = x.detach()
        return self.x.clamp(min=0)

    def backward(self, d):
        return d * ((self.x > 0) + self.at_zero * (self.x == 0))


class WrongAtZero(Rectifier):
    at_zero = 1.5


@pytest.mark.parametrize("device", DEVICES)
def test_special_points_without_autograd_are_judged_there_too(device):
    specs = (LayerSpec(build=c, inputs="B D") for c in (Rectifier, WrongAtZero))
    right, wrong = (check(spec, examples=8, device=device, only=("special_values",)) for spec in specs)
    assert right.ok
    assert wrong.failures
