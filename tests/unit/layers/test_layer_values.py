"""Values that can be written down by hand."""

from math import log, sqrt

import pytest
import torch
from torch.testing import assert_close

from layers import BatchNorm, Dropout, InstanceNorm, Linear, Sequential, SoftmaxCrossEntropy, Tanh


@pytest.fixture
def tensor(dtype, device):
    return lambda values: torch.tensor(values, dtype=dtype, device=device)


def test_linear(tensor, dtype, device):
    layer = Linear(2, 3).to(dtype=dtype, device=device)
    layer.params["W"] = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    layer.params["b"].copy_(tensor([10.0, 20.0, 30.0]))
    assert_close(layer.forward(tensor([[1.0, 0.0], [1.0, 2.0]])), tensor([[11.0, 22.0, 33.0], [19.0, 32.0, 45.0]]))
    assert_close(layer.backward(tensor([[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]])), tensor([[-2.0, -2.0], [4.0, 10.0]]))
    assert_close(layer.grads["W"], tensor([[1.0, 2.0, -1.0], [0.0, 4.0, 0.0]]))
    assert_close(layer.grads["b"], tensor([1.0, 2.0, -1.0]))


def test_instance_norm(tensor, dtype, device):
    """z = (−1, 1) and (0, 4): mean 0 and 2, variance 1 and 4; with ε = 0 both are ẑ = (−1, 1), and δz = 0 for D = 2."""
    layer = InstanceNorm(2, eps=0.0).to(dtype=dtype, device=device)
    layer.params["gamma"].copy_(tensor([2.0, 3.0]))
    layer.params["beta"].copy_(tensor([5.0, 7.0]))
    assert_close(layer.forward(tensor([[-1.0, 1.0], [0.0, 4.0]])), tensor([[3.0, 10.0], [3.0, 10.0]]))
    assert_close(layer.backward(tensor([[1.0, 4.0], [2.0, 8.0]])), tensor([[0.0, 0.0], [0.0, 0.0]]))
    assert_close(layer.grads["gamma"], tensor([-3.0, 12.0]))
    assert_close(layer.grads["beta"], tensor([3.0, 12.0]))


def test_instance_norm_backward_term_by_term(tensor, dtype, device):
    """z = (−1, 0, 1): σ² = 2/3; δẑ = (1, 0, 0) has the mean 1/3, and Σ δẑ ẑ = −√(3/2)."""
    layer = InstanceNorm(3, eps=0.0).to(dtype=dtype, device=device)
    r = sqrt(3 / 2)
    assert_close(layer.forward(tensor([[-1.0, 0.0, 1.0]])), tensor([[-r, 0.0, r]]))
    expected = [r * (1 - 1 / 3 - 1 / 2), r * (-1 / 3), r * (-1 / 3 + 1 / 2)]
    assert_close(layer.backward(tensor([[1.0, 0.0, 0.0]])), tensor([expected]))


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_norms_put_eps_inside_the_root(tensor, dtype, device, eps):
    z = tensor([[-1.0, -1.0], [1.0, 1.0]])
    a = BatchNorm(2, eps=eps).to(dtype=dtype, device=device).forward(z)
    assert_close(a, z / sqrt(1 + eps))
    assert_close(InstanceNorm(2, eps=eps).to(dtype=dtype, device=device).forward(z.T.contiguous()), a.T)


def test_a_constant_sample_is_normalised_to_zero(tensor, dtype, device):
    layer = InstanceNorm(3).to(dtype=dtype, device=device)
    assert torch.equal(layer.forward(tensor([[2.0, 2.0, 2.0]])), tensor([[0.0, 0.0, 0.0]]))
    assert_close(layer.backward(tensor([[2.0, 1.0, 0.0]])), tensor([[1.0, 0.0, -1.0]]) / sqrt(1e-5))


def test_one_feature_is_normalised_away(tensor, dtype, device):
    """a = β whatever z is, so δz is 0: exactly, where PyTorch's LayerNorm leaves rounding times 1/√ε."""
    layer = InstanceNorm(1).to(dtype=dtype, device=device)
    layer.params["beta"].copy_(tensor([0.25]))
    assert torch.equal(layer.forward(tensor([[0.3], [-7.1]])), tensor([[0.25], [0.25]]))
    assert torch.equal(layer.backward(tensor([[0.1], [3.7]])), tensor([[0.0], [0.0]]))


def test_batch_norm_running_statistics(tensor, dtype, device):
    """Column (0, 2, 4): mean 2, biased variance 8/3, unbiased 4; momentum 1/4 moves (0, 1) to (1/2, 7/4)."""
    layer = BatchNorm(1, eps=0.0, momentum=0.25).to(dtype=dtype, device=device)
    assert_close(layer.forward(tensor([[0.0], [2.0], [4.0]])), tensor([[-sqrt(1.5)], [0.0], [sqrt(1.5)]]))
    assert_close(layer.buffers["running_mean"], tensor([0.5]))
    assert_close(layer.buffers["running_var"], tensor([1.75]))
    layer.eval().params["gamma"].copy_(tensor([3.0]))
    assert_close(layer.forward(tensor([[4.0]])), tensor([[3 * 3.5 / sqrt(1.75)]]))
    assert_close(layer.backward(tensor([[1.0]])), tensor([[3 / sqrt(1.75)]]))
    assert_close(layer.grads["gamma"], tensor([3.5 / sqrt(1.75)]))
    assert_close(layer.buffers["running_mean"], tensor([0.5]))


def test_tanh(tensor):
    layer = Tanh()
    assert_close(layer.forward(tensor([[log(3), -log(3)]])), tensor([[0.8, -0.8]]))
    assert_close(layer.backward(tensor([[1.0, 2.0]])), tensor([[0.36, 0.72]]))


@pytest.mark.parametrize("x", [1e-30, 1e-8, 1e-4])
def test_tanh_is_accurate_near_zero(tensor, dtype, x):
    z = tensor([[x]])
    assert_close(Tanh().forward(z), z, rtol=max(torch.finfo(dtype).eps, x * x), atol=0)


def test_softmax_cross_entropy(tensor):
    """ŷ = (1/4, 3/4) and (1/2, 1/2), labels 1 and 0."""
    layer = SoftmaxCrossEntropy()
    z = tensor([[0.0, log(3)], [5.0, 5.0]])
    assert_close(layer.forward(z, torch.tensor([1, 0], device=z.device)), tensor((log(4 / 3) + log(2)) / 2))
    δz = tensor([[1 / 8, -1 / 8], [-1 / 4, 1 / 4]])
    assert_close(layer.backward(), δz)
    assert_close(layer.backward(tensor(3.0)), 3 * δz)


def test_softmax_cross_entropy_of_large_logits(tensor):
    layer = SoftmaxCrossEntropy()
    z = tensor([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]])
    loss = layer.forward(z, torch.tensor([0, 1, 0, 2], device=z.device))
    assert_close(loss, tensor((0 + 2e4 + log(2) + log(3)) / 4))
    third = 1 / 3
    expected = [[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [-0.5, 0.5, 0.0], [third, third, third - 1]]
    assert_close(layer.backward(), tensor(expected) / 4)


def test_sequential(tensor, dtype, device):
    linear = Linear(1, 1).to(dtype=dtype, device=device)
    model = Sequential(linear, Tanh(), Dropout(0.0))
    model.params["0.W"] = tensor([[2.0]])
    model.params["0.b"].copy_(tensor([log(3) - 2]))
    assert_close(model.forward(tensor([[1.0]])), tensor([[0.8]]))
    assert_close(model.backward(tensor([[1.0]])), tensor([[0.72]]))
    assert_close(linear.grads["W"], tensor([[0.36]]))
    assert model.grads["0.W"] is linear.grads["W"]


def ulps(a, true):
    """How many units in the last place of a lie between it and the truth, given in float64."""
    true = true.to(a.dtype)
    upwards = torch.nextafter(true.abs(), torch.full_like(true, torch.inf)) - true.abs()
    return ((a - true).abs() / upwards).max().item()


def test_tanh_is_exact_to_two_ulp_near_zero_and_three_everywhere(dtype, device):
    # float64 has no wider type to be compared with on every machine: torch's own, good to one ulp
    for low, high, allowed in ((-40, -3, 2), (-3, 2, 3)):
        z = torch.cat([torch.logspace(low, high, 100_000, dtype=dtype, device=device), torch.zeros(1, device=device)])
        for signed in (z, -z):
            assert ulps(Tanh().forward(signed), torch.tanh(signed.double())) <= allowed + (dtype == torch.float64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tanh_at_the_ends_of_its_domain(dtype, device):
    largest = torch.finfo(dtype).max
    z = torch.tensor([0.0, -0.0, largest, -largest, torch.inf, -torch.inf, torch.nan], dtype=dtype, device=device)
    layer = Tanh()
    a = layer.forward(z)
    assert a[:6].tolist() == [0, 0, 1, -1, 1, -1]
    assert a[:2].signbit().tolist() == [False, True]
    assert a[6].isnan()
    assert layer.backward(torch.ones_like(z))[:6].tolist() == [1, 1, 0, 0, 0, 0]
