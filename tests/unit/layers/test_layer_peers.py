"""Agreement with PyTorch's own modules, forward and backward."""

import pytest
import torch
from torch.testing import assert_close

from layers import BatchNorm, InstanceNorm, Linear, Sequential, SoftmaxCrossEntropy, Tanh

ROUNDING = {torch.float32: {"rtol": 2e-5, "atol": 5e-6}, torch.float64: {"rtol": 1e-12, "atol": 1e-13}}
SIZES = [(2, 3), (32, 64), (33, 1), (7, 300)]


def agree(layer, peer, z, pairs):
    """Hold output, δz and every parameter's gradient to the peer's; `pairs` is our name -> its parameter."""
    close = ROUNDING[z.dtype]
    z_peer = z.clone().requires_grad_()
    a, a_peer = layer.forward(z), peer(z_peer)
    assert_close(a, a_peer.detach(), **close)
    δa = torch.linspace(-1, 2, a.numel(), dtype=z.dtype, device=z.device).reshape(a.shape).sin() + 0.3
    a_peer.backward(δa)
    assert_close(layer.backward(δa), z_peer.grad, **close)
    for name, parameter in pairs.items():
        expected = parameter.grad.T if name == "W" else parameter.grad
        assert_close(layer.grads[name], expected, rtol=close["rtol"], atol=close["atol"] * max(z.shape))


def norm_pair(layer, peer, normal):
    """Both with the same drawn γ and β: at γ = 1 a missing γ would not show."""
    for ours, theirs in (("gamma", peer.weight), ("beta", peer.bias)):
        layer.params[ours].copy_(normal(layer.D, shift=1.0))
        theirs.data.copy_(layer.params[ours])
    return layer, peer, {"gamma": peer.weight, "beta": peer.bias}


@pytest.mark.parametrize(("B", "D"), [(2, 3), (32, 64), (33, 5), (7, 300)])  # at D ≤ 2 δz is what cancellation leaves
def test_instance_norm_is_layer_norm(B, D, normal, dtype, device):
    layer, peer, pairs = norm_pair(
        InstanceNorm(D).to(dtype=dtype, device=device), torch.nn.LayerNorm(D, dtype=dtype, device=device), normal
    )
    agree(layer, peer, normal(B, D, scale=2.0, shift=0.5), pairs)


@pytest.mark.parametrize(("B", "D"), SIZES)
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_norm_in_training_then_evaluation(B, D, momentum, normal, dtype, device):
    layer, peer, pairs = norm_pair(
        BatchNorm(D, momentum=momentum).to(dtype=dtype, device=device),
        torch.nn.BatchNorm1d(D, momentum=momentum, dtype=dtype, device=device),
        normal,
    )
    for _ in range(3):
        agree(layer, peer, normal(B, D, scale=2.0, shift=0.5), pairs)
        assert_close(layer.buffers["running_mean"], peer.running_mean, **ROUNDING[dtype])
        assert_close(layer.buffers["running_var"], peer.running_var, **ROUNDING[dtype])
    layer.eval()
    peer.eval()
    for B_eval in (1, B):
        agree(layer, peer, normal(B_eval, D), pairs)
    assert_close(layer.buffers["running_var"], peer.running_var, **ROUNDING[dtype])


@pytest.mark.parametrize(("build", "axis"), [(InstanceNorm, -1), (BatchNorm, -2)])
def test_norms_centre_before_they_square(build, axis, device):
    """At a mean of 1000 in float32 z − μ is good to about 1e-4, but E[z²] − μ² to 0.1."""
    z = torch.randn(64, 64, generator=torch.Generator().manual_seed(3)).to(device) + 1000
    exact = build(64).to(dtype=torch.float64, device=device).forward(z.double())
    assert (build(64).to(device=device).forward(z) - exact).abs().max() < 2e-4
    μ = z.mean(axis, keepdim=True)
    uncentred = (z - μ) / (z.square().mean(axis, keepdim=True) - μ.square() + 1e-5).sqrt()
    assert not (uncentred - exact).abs().max() < 2e-2


@pytest.mark.parametrize(("B", "D"), SIZES)
def test_linear(B, D, normal, dtype, device):
    layer = Linear(D, 5).to(dtype=dtype, device=device)
    peer = torch.nn.Linear(D, 5, dtype=dtype, device=device)
    peer.weight.data.copy_(layer.params["W"].T)
    peer.bias.data.copy_(layer.params["b"])
    agree(layer, peer, normal(B, D), {"W": peer.weight, "b": peer.bias})


@pytest.mark.parametrize(("D_in", "D_out"), [(1, 1), (2, 64), (64, 64), (33, 7), (1000, 3)])
def test_linear_starts_as_pytorchs_to_the_bit(D_in, D_out):
    torch.manual_seed(5)
    peer = torch.nn.Linear(D_in, D_out)
    torch.manual_seed(5)
    from_default = Linear(D_in, D_out)
    from_generator = Linear(D_in, D_out, torch.Generator().manual_seed(5))
    for layer in (from_default, from_generator):
        assert torch.equal(layer.params["W"], peer.weight.T)
        assert torch.equal(layer.params["b"], peer.bias)
        assert layer.params["W"].is_contiguous()


@pytest.mark.parametrize(("B", "D"), SIZES)
def test_tanh(B, D, normal):
    agree(Tanh(), torch.nn.Tanh(), normal(B, D, scale=3.0), {})


@pytest.mark.parametrize(("B", "C"), [(1, 1), (1, 2), (32, 2), (33, 10), (8, 300)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_softmax_cross_entropy(B, C, scale, normal, device):
    y = torch.arange(B, device=device) % C
    layer, peer = SoftmaxCrossEntropy(), torch.nn.CrossEntropyLoss()
    z = normal(B, C, scale=scale)
    z_peer = z.clone().requires_grad_()
    loss = peer(z_peer, y)
    assert_close(layer.forward(z, y), loss.detach(), **ROUNDING[z.dtype])
    loss.backward()
    assert_close(layer.backward(), z_peer.grad, rtol=ROUNDING[z.dtype]["rtol"], atol=torch.finfo(z.dtype).eps)


@pytest.mark.parametrize("integer", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("C", [3, 200, 300, 70_000])
def test_softmax_cross_entropy_takes_every_integer_dtype(integer, C, normal, device):
    z, y = normal(4, C), torch.tensor([0, 2, 1, 2], device=device)
    layer = SoftmaxCrossEntropy()
    assert torch.equal(layer.forward(z, y.to(integer)), layer.forward(z, y))


def test_the_studys_model_takes_the_same_steps(normal, dtype, device):
    """Ten steps of plain SGD from the same weights, to the rounding of each dtype."""
    torch.manual_seed(1)
    sizes = [(2, 64), (64, 64), (64, 2)]
    linears = [Linear(*size).to(dtype=dtype, device=device) for size in sizes]
    model = Sequential(linears[0], InstanceNorm(64), Tanh(), linears[1], InstanceNorm(64), Tanh(), linears[2])
    model.to(dtype=dtype, device=device)
    peers = [torch.nn.Linear(*size) for size in sizes]
    norms = [torch.nn.LayerNorm(64) for _ in range(2)]
    tanh = torch.nn.Tanh()
    peer = torch.nn.Sequential(peers[0], norms[0], tanh, peers[1], norms[1], tanh, peers[2]).to(device, dtype)
    for ours, theirs in zip(linears, peers, strict=True):
        theirs.weight.data.copy_(ours.params["W"].T)
        theirs.bias.data.copy_(ours.params["b"])
    loss, descent = SoftmaxCrossEntropy(), torch.optim.SGD(peer.parameters(), lr=0.1)
    z, y = normal(240, 2), torch.arange(240, device=device) % 2
    for _ in range(10):
        L = loss.forward(model.forward(z), y)
        model.zero_grad()
        model.backward(loss.backward())
        for name, p in model.params.items():
            p -= 0.1 * model.grads[name]
        L_peer = torch.nn.functional.cross_entropy(peer(z), y)
        descent.zero_grad()
        L_peer.backward()
        descent.step()
        assert_close(L, L_peer.detach(), rtol=0, atol={torch.float32: 1e-6, torch.float64: 1e-14}[dtype])
    for ours, theirs in zip(linears, peers, strict=True):
        atol = {torch.float32: 2e-6, torch.float64: 1e-14}[dtype]
        assert_close(ours.params["W"], theirs.weight.data.T, rtol=0, atol=atol)
