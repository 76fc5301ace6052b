"""One rule for a single model and for S models in one pass: leading axes are a loop over models."""

import pytest
import torch
from torch.testing import assert_close

from harness import LayerSpec, check
from layers import BatchNorm, Dropout, InstanceNorm, Linear, Sequential, SoftmaxCrossEntropy, Tanh

S, B, D = 3, 7, 5
CLOSE = {torch.float32: {"rtol": 1e-5, "atol": 2e-6}, torch.float64: {"rtol": 1e-13, "atol": 1e-14}}
BUILDS = {
    "Linear": lambda leading, g: Linear(D, 4, g),
    "InstanceNorm": lambda leading, g: InstanceNorm(D, leading=leading),
    "BatchNorm": lambda leading, g: BatchNorm(D, leading=leading),
    "Tanh": lambda leading, g: Tanh(),
    "Dropout": lambda leading, g: Dropout(0.3, g),
    "Sequential": lambda leading, g: Sequential(
        Linear(D, 6, g), BatchNorm(6, leading=leading), Tanh(), InstanceNorm(6, leading=leading), Dropout(0.2, g)
    ),
}


def generators(device="cpu"):
    return [torch.Generator(device).manual_seed(100 + s) for s in range(S)]


def draw_params(layer, normal):
    for p in layer.params.values():
        p.add_(normal(*p.shape, scale=0.3))


def models(name, normal, dtype, device):
    """S models in one layer, and the same S models as layers of their own."""
    together = BUILDS[name]((S,), generators(device)).to(dtype=dtype, device=device)
    alone = [BUILDS[name]((), g).to(dtype=dtype, device=device) for g in generators(device)]
    draw_params(together, normal)
    for s, layer in enumerate(alone):
        for key, p in layer.params.items():
            p.copy_(together.params[key][s].reshape(p.shape))
    return together, alone


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_models_in_one_pass_are_the_models_alone(name, mode, normal, dtype, device):
    together, alone = models(name, normal, dtype, device)
    if not mode:
        warm = normal(S, B, D, shift=1.0)
        together.forward(warm)
        for s, layer in enumerate(alone):
            layer.forward(warm[s])
    z = normal(S, B, D)
    a = together.train(mode).forward(z)
    δa = normal(*a.shape)
    δz = together.backward(δa)
    for s, layer in enumerate(alone):
        assert_close(a[s], layer.train(mode).forward(z[s]), **CLOSE[dtype])
        assert_close(δz[s], layer.backward(δa[s]), **CLOSE[dtype])
        for key, grad in layer.grads.items():
            assert together.grads[key].shape == together.params[key].shape
            assert_close(together.grads[key][s].reshape(grad.shape), grad, **CLOSE[dtype])
        for key, buffer in layer.buffers.items():
            assert_close(together.buffers[key][s].reshape(buffer.shape), buffer, **CLOSE[dtype])


@pytest.mark.parametrize("name", ["InstanceNorm", "BatchNorm", "Tanh", "Dropout"])
@pytest.mark.parametrize("D", [5, 64])
def test_to_the_bit_where_there_is_no_matrix_product(name, D, normal, dtype):
    """A sum written as a product with ones would fail here: its rounding depends on what it is batched with."""
    z, δa = normal(30, 32, D).cpu(), normal(30, 32, D).cpu()
    build = {"InstanceNorm": lambda leading: InstanceNorm(D, leading=leading), "Tanh": lambda leading: Tanh()}
    build |= {"BatchNorm": lambda leading: BatchNorm(D, leading=leading)}
    build |= {"Dropout": lambda leading: Dropout(0.3, [torch.Generator().manual_seed(s) for s in range(30)])}
    together = build[name]((30,)).to(dtype=dtype)
    draw_params(together, lambda *shape, scale: normal(*shape, scale=scale).cpu())
    a, δz = together.forward(z), together.backward(δa)
    for s in range(0, 30, 7):
        alone = Dropout(0.3, torch.Generator().manual_seed(s)) if name == "Dropout" else build[name](()).to(dtype=dtype)
        for key, p in alone.params.items():
            p.copy_(together.params[key][s, 0])
        assert torch.equal(alone.forward(z[s]), a[s])
        assert torch.equal(alone.backward(δa[s]), δz[s])
        for key, grad in (alone.grads | alone.buffers).items():
            assert torch.equal(grad, (together.grads | together.buffers)[key][s, 0])


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("leading", [(S,), (2, S)])
def test_one_model_over_leading_axes_is_a_loop_with_summed_gradients(name, leading, normal, dtype, device):
    generator = torch.Generator(device).manual_seed(9)
    layer = BUILDS[name]((), generator).to(dtype=dtype, device=device)
    if name in ("Dropout", "Sequential"):
        layer.eval()  # one generator draws one mask for all; test_dropout.py holds that
    draw_params(layer, normal)
    z = normal(*leading, B, D)
    a = layer.forward(z)
    δa = normal(*a.shape)
    δz = layer.backward(δa)
    summed = {key: grad.clone() for key, grad in layer.grads.items()}
    layer.zero_grad()
    for index in torch.cartesian_prod(*map(torch.arange, leading)).reshape(-1, len(leading)).tolist():
        i = tuple(index)
        if name == "BatchNorm":  # whose buffers are now per leading index
            layer.buffers = {key: torch.zeros(D, dtype=dtype, device=device) for key in layer.buffers}
        assert_close(layer.forward(z[i]), a[i], **CLOSE[dtype])
        assert_close(layer.backward(δa[i]), δz[i], **CLOSE[dtype])
    for key, grad in layer.grads.items():
        assert grad.shape == layer.params[key].shape
        assert_close(grad, summed[key], rtol=CLOSE[dtype]["rtol"], atol=10 * CLOSE[dtype]["atol"])


@pytest.mark.parametrize("name", ["Linear", "InstanceNorm", "BatchNorm"])
def test_parameters_of_s_models_serve_further_leading_axes(name, normal, dtype, device):
    layer, _ = models(name, normal, dtype, device)
    z = normal(2, S, B, D)
    a = layer.forward(z)
    δa = normal(*a.shape)
    δz = layer.backward(δa)
    summed = {key: grad.clone() for key, grad in layer.grads.items()}
    layer.zero_grad()
    if name == "BatchNorm":
        assert layer.buffers["running_mean"].shape == (2, S, 1, D)
        layer.buffers = {key: torch.zeros(S, 1, D, dtype=dtype, device=device) for key in layer.buffers}
    for t in range(2):
        assert_close(layer.forward(z[t]), a[t], **CLOSE[dtype])
        assert_close(layer.backward(δa[t]), δz[t], **CLOSE[dtype])
    for key, grad in layer.grads.items():
        assert_close(grad, summed[key], rtol=CLOSE[dtype]["rtol"], atol=10 * CLOSE[dtype]["atol"])


def test_a_plain_bias_beside_weights_of_s_models(normal, dtype, device):
    layer = Linear(D, 4, generators(device)).to(dtype=dtype, device=device)
    layer.params["b"] = normal(4)
    δa = normal(S, B, 4)
    layer.forward(normal(S, B, D))
    layer.backward(δa)
    assert layer.grads["b"].shape == (4,)
    assert_close(layer.grads["b"], δa.sum((0, 1)), **CLOSE[dtype])


@pytest.mark.parametrize("shape", [(B,), (S, B), (2, S, B)])
def test_softmax_cross_entropy_has_a_loss_per_leading_index(shape, normal, dtype, device):
    layer = SoftmaxCrossEntropy()
    z, y = normal(*shape, 4), torch.arange(torch.Size(shape).numel(), device=device).reshape(shape) % 4
    L = layer.forward(z, y)
    assert L.shape == shape[:-1]
    δL = normal(*L.shape)
    δz, ones = layer.backward(δL), layer.backward()
    for i in torch.ones(shape[:-1]).nonzero().tolist():
        i = tuple(i)
        assert_close(L[i], layer.forward(z[i], y[i]), **CLOSE[dtype])
        assert_close(ones[i], layer.backward(), **CLOSE[dtype])
        assert_close(δz[i], layer.backward(δL[i]), **CLOSE[dtype])


def test_generators_of_s_linears_are_consumed_as_each_alone(device):
    together, ours, alone = generators(device), generators(device), []
    layer = Linear(D, 4, together)
    alone = [Linear(D, 4, g) for g in ours]
    assert layer.params["W"].shape == (S, D, 4)
    assert layer.params["b"].shape == (S, 1, 4)
    assert layer.params["W"].mT.is_contiguous()  # fewer outputs than inputs: the narrow side last would be slow
    assert Linear(4, D, generators(device)).params["W"].is_contiguous()
    for s in range(S):
        assert torch.equal(layer.params["W"][s], alone[s].params["W"])
        assert torch.equal(layer.params["b"][s, 0], alone[s].params["b"])
        assert torch.equal(together[s].get_state(), ours[s].get_state())


def test_buffers_become_per_leading_index_from_the_shared_values(normal, dtype, device):
    layer = BatchNorm(D).to(dtype=dtype, device=device)
    layer.forward(normal(B, D))
    start = {key: buffer.clone() for key, buffer in layer.buffers.items()}
    z = normal(S, B, D)
    layer.forward(z)
    assert layer.buffers["running_mean"].shape == (S, 1, D)
    assert_close(layer.buffers["running_mean"][:, 0], 0.9 * start["running_mean"] + 0.1 * z.mean(-2), **CLOSE[dtype])
    assert_close(layer.buffers["running_var"][:, 0], 0.9 * start["running_var"] + 0.1 * z.var(-2), **CLOSE[dtype])


@pytest.mark.parametrize(("wider", "narrower"), [(5, 2), (2, 5), (4, 4)])
def test_the_harness_verifies_one_batched_product_for_all_models(wider, narrower):
    """As the study calls it: neither further leading axes nor a single model, and either side the narrow one."""

    def models(S: int) -> Linear:
        return Linear(wider, narrower, [torch.Generator().manual_seed(s) for s in range(S)])

    def reference(z, W, b):
        return torch.einsum("sbi,sio->sbo", z, W) + b

    spec = LayerSpec(models, f"S B {wider}", "Linear, S models", reference=reference)
    assert check(spec, examples=10).ok

    class Wrong(Linear):
        def backward(self, δa):
            self._gradient("W").baddbmm_(self._kept[0].mT, δa, alpha=0.5)
            return super().backward(δa)

    def wrong(S: int) -> Wrong:
        return Wrong(wider, narrower, [torch.Generator().manual_seed(s) for s in range(S)])

    failed = check(LayerSpec(wrong, f"S B {wider}", "Wrong", reference=reference), examples=10).failures
    assert {"parameter_gradient"} <= {f.check for f in failed}


@pytest.mark.parametrize("kind", [InstanceNorm, lambda D: Linear(D, 4)])
def test_no_models_at_all_leave_gradients_of_zero(kind):
    layer = kind(D)
    layer.backward(torch.ones_like(layer.forward(torch.empty(0, B, D))))
    assert all(g.shape == layer.params[n].shape and not g.any() for n, g in layer.grads.items())
