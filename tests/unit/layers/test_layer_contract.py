"""What every layer promises beside its formula: errors, accumulation, modes, memory, dtypes, copies, autograd."""

import copy
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from layers import BatchNorm, Dropout, InstanceNorm, Layer, Linear, Sequential, SoftmaxCrossEntropy, Tanh

B, D = 6, 5


def mlp():
    return Sequential(Linear(D, 7), InstanceNorm(7), Tanh(), Dropout(0.4), Sequential(Linear(7, 3), BatchNorm(3)))


BUILDS = {
    "Linear": lambda: Linear(D, 4),
    "InstanceNorm": lambda: InstanceNorm(D),
    "BatchNorm": lambda: BatchNorm(D),
    "Tanh": Tanh,
    "Dropout": lambda: Dropout(0.4),
    "Sequential": mlp,
}
EVERY = pytest.mark.parametrize("name", BUILDS)
WITH_PARAMETERS = pytest.mark.parametrize("name", ["Linear", "InstanceNorm", "BatchNorm", "Sequential"])
MODES = pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])


@pytest.fixture
def build(dtype, device, normal):
    """Builds a layer by name, with drawn parameters; Dropout gets a generator of the device."""

    def made(name):
        torch.manual_seed(0)
        layer = BUILDS[name]().to(dtype=dtype, device=device)
        for part in (layer, *(layer.layers if isinstance(layer, Sequential) else ())):
            if isinstance(part, Dropout):
                part.generator = torch.Generator(device).manual_seed(1)
        for p in layer.params.values():
            p += normal(*p.shape, scale=0.3)
        return layer

    return made


@EVERY
@MODES
@pytest.mark.parametrize("shape", [(B, D), (3, B, D)])
def test_backward_is_what_autograd_makes_of_forward(name, mode, shape, build, normal, dtype):
    layer = build(name)
    layer.forward(normal(*shape, shift=1.0))  # moves the running statistics, and leaves something stale
    layer.train(mode)
    z = normal(*shape).requires_grad_()
    for key, p in layer.params.items():
        layer.params[key] = p.clone().requires_grad_()
    a = layer.forward(z)
    δa = normal(*a.shape)
    expected = torch.autograd.grad(a, [z, *layer.params.values()], δa)
    found = [layer.backward(δa), *layer.grads.values()]
    tolerance = 64 * torch.finfo(dtype).eps
    for ours, autograds in zip(found, expected, strict=True):
        assert not ours.requires_grad
        # 1: δa's scale, for the gradient of a bias in front of BatchNorm, which is truly zero
        assert_close(
            ours, autograds, rtol=tolerance, atol=tolerance * max(1.0, autograds.square().mean().sqrt().item())
        )
    assert not any(buffer.requires_grad for buffer in layer.buffers.values())


def test_softmax_cross_entropy_backward_is_what_autograd_makes_of_forward(normal, dtype, device):
    layer, z = SoftmaxCrossEntropy(), normal(3, B, D, scale=3.0).requires_grad_()
    L = layer.forward(z, torch.arange(3 * B, device=device).reshape(3, B) % D)
    δL = normal(3)
    (expected,) = torch.autograd.grad(L, z, δL)
    tolerance = 64 * torch.finfo(dtype).eps
    assert_close(layer.backward(δL), expected, rtol=tolerance, atol=tolerance * expected.square().mean().sqrt().item())


@EVERY
@MODES
def test_nothing_given_is_changed_or_shared(name, mode, build, normal):
    layer = build(name).train(mode)
    z = normal(B, D)
    z_before = z.clone()
    params = {key: p.clone() for key, p in layer.params.items()}
    a = layer.forward(z)
    δa = normal(*a.shape)
    δa_before = δa.clone()
    δz = layer.backward(δa)
    assert torch.equal(z, z_before)
    assert torch.equal(δa, δa_before)
    assert all(torch.equal(p, params[key]) for key, p in layer.params.items())
    storages = [t.untyped_storage().data_ptr() for t in (z, a, δa, δz, *layer.params.values(), *layer.grads.values())]
    assert len(set(storages)) == len(storages)


@WITH_PARAMETERS
def test_gradients_accumulate_until_zero_grad(name, build, normal):
    layer = build(name)
    grads = layer.grads
    assert all(torch.equal(grad, torch.zeros_like(layer.params[key])) for key, grad in grads.items())
    a = layer.forward(normal(B, D))
    δa = normal(*a.shape)
    layer.backward(δa)
    once = {key: grad.clone() for key, grad in grads.items()}
    layer.backward(2 * δa)
    for key, grad in grads.items():
        assert grad is layer.grads[key]
        assert grad.abs().max() > 0
        assert_close(grad, 3 * once[key])
    layer.zero_grad()
    assert all(grad is layer.grads[key] and not grad.any() for key, grad in grads.items())


@WITH_PARAMETERS
def test_writing_into_params_and_replacing_them_both_take_effect(name, build, normal):
    layer, z = build(name), normal(B, D)
    reference = copy.deepcopy(layer)
    for key in layer.params:
        before = copy.deepcopy(layer).forward(z)
        new = layer.params[key] + 0.5
        reference.params[key].copy_(new)
        layer.params[key] = new
        assert layer.params[key] is new
        after = copy.deepcopy(layer).forward(z)
        assert torch.equal(after, copy.deepcopy(reference).forward(z))
        # A constant added to the weights in front of a normalisation is normalised away.
        assert name == "Sequential" or not torch.equal(after, before)


def test_sequentials_dicts_reach_into_the_layers():
    inner, outer = Linear(3, 3), Linear(2, 3)
    model = Sequential(outer, Sequential(BatchNorm(3), inner))
    assert list(model.params) == ["0.W", "0.b", "1.0.gamma", "1.0.beta", "1.1.W", "1.1.b"]
    assert list(model.grads) == list(model.params)
    assert list(model.buffers) == ["1.0.running_mean", "1.0.running_var"]
    new = {key: torch.full_like(p, 2.0) for key, p in model.params.items()}
    model.params.update(new)
    assert inner.params["W"] is new["1.1.W"]
    assert outer.params["b"] is model.params["0.b"] is new["0.b"]


def test_a_parameter_of_another_shape_starts_a_gradient_of_its_own():
    layer = Linear(2, 3)
    layer.params["W"] = torch.ones(4, 2, 3)
    layer.params["b"] = torch.zeros(4, 1, 3)
    layer.forward(torch.ones(4, 5, 2))
    layer.backward(torch.ones(4, 5, 3))
    assert torch.equal(layer.grads["W"], torch.full((4, 2, 3), 5.0))
    assert torch.equal(layer.grads["b"], torch.full((4, 1, 3), 5.0))


@EVERY
@MODES
@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_kept(name, mode, low, build, normal, device):
    layer = build(name).to(dtype=low).train(mode)
    a = layer.forward(normal(B, D).to(low))
    δz = layer.backward(torch.ones_like(a))
    tensors = [a, δz, *layer.params.values(), *layer.grads.values(), *layer.buffers.values()]
    assert {t.dtype for t in tensors} == {low}
    assert {t.device for t in tensors} == {device}


@EVERY
def test_an_empty_batch_in_evaluation(name, build, normal):
    layer = build(name).eval()
    a = layer.forward(normal(0, D))
    assert layer.backward(torch.zeros_like(a)).shape == (0, D)
    assert not any(grad.any() for grad in layer.grads.values())


@EVERY
@MODES
def test_a_copy_after_forward_goes_its_own_way(name, mode, build, normal):
    layer = build(name).train(mode)
    z = normal(B, D).requires_grad_()
    for p in layer.params.values():
        p += 0.1  # so that the originals' counts of changes are not those of fresh tensors
    δa = normal(*layer.forward(z).shape)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin.backward(δa), layer.backward(δa))
    assert all(torch.equal(twin.grads[key], grad) for key, grad in layer.grads.items())
    assert torch.equal(twin.forward(z), layer.forward(z))
    ours = {t.data_ptr() for t in (*layer.params.values(), *layer.grads.values(), *layer.buffers.values())}
    theirs = {t.data_ptr() for t in (*twin.params.values(), *twin.grads.values(), *twin.buffers.values())}
    assert not ours & theirs


@EVERY
def test_train_and_eval_return_the_layer_and_reach_every_sublayer(name, build):
    layer = build(name)
    parts = layer.layers if isinstance(layer, Sequential) else ()
    assert layer.training
    assert layer.eval() is layer
    assert not any(part.training for part in (layer, *parts))
    assert layer.train() is layer
    assert all(part.training for part in (layer, *parts))


@EVERY
def test_to_returns_the_layer_and_forgets_the_forward(name, build, normal):
    layer = build(name)
    a = layer.forward(normal(B, D))
    assert layer.to(dtype=torch.float64) is layer
    with pytest.raises(RuntimeError, match="found backward without a forward before it"):
        layer.backward(torch.ones_like(a))


def test_a_forward_that_raises_leaves_nothing_to_go_back_through():
    """What the last one kept is given up before the next one computes: their memory is never needed twice."""
    layer, z = Dropout(0.5, [torch.Generator(), torch.Generator()]), torch.ones(2, 3, D)
    layer.backward(layer.forward(z))
    with pytest.raises(ValueError, match="one leading index a generator"):
        layer.forward(z[:1])
    with pytest.raises(RuntimeError, match="found backward without a forward before it"):
        layer.backward(z)


def test_an_input_that_becomes_autograds_after_forward_leaves_no_history():
    layer, z = Linear(D, 4), torch.ones(B, D)
    a = layer.forward(z)
    z.requires_grad_()
    δz = layer.backward(torch.ones_like(a).requires_grad_())
    assert not any(t.requires_grad for t in (δz, *layer.grads.values()))


@EVERY
def test_layers_work_in_inference_mode(name, build, normal):
    layer = build(name)
    with torch.inference_mode():
        a = layer.forward(normal(B, D))
        assert layer.backward(a).shape == (B, D)


# Errors: what was found and what is needed.


def refuses(error, text, call, *args):
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        call(*args)


def last(name):
    """The sublayer that a wrong cotangent reaches first."""
    return "BatchNorm" if name == "Sequential" else name


def first(name):
    return "Linear" if name == "Sequential" else name


@EVERY
def test_backward_before_forward(name):
    text = f"{last(name)}: found backward without a forward before it, needs forward first"
    refuses(RuntimeError, text, BUILDS[name]().backward, torch.ones(2, D))


def test_loss_backward_before_forward():
    text = "SoftmaxCrossEntropy: found backward without a forward before it, needs forward first"
    refuses(RuntimeError, text, SoftmaxCrossEntropy().backward)


@EVERY
def test_a_cotangent_unlike_the_output(name):
    layer = BUILDS[name]()
    a = layer.forward(torch.ones(4, D))
    found = f"{last(name)}: found the cotangent "
    needs = f"needs forward's output shape {tuple(a.shape)}"
    refuses(ValueError, f"{found}of shape (4, 9), {needs}", layer.backward, torch.ones(4, 9))
    needs = "needs a torch.Tensor of torch.float32 as forward's output"
    refuses(TypeError, f"{found}of torch.float64, {needs}", layer.backward, torch.ones_like(a).double())
    refuses(TypeError, f"{found}a numpy.ndarray, {needs}", layer.backward, np.ones((4, D)))
    needs = "needs cpu as forward's output"
    refuses(ValueError, f"{found}on meta, {needs}", layer.backward, torch.ones_like(a, device="meta"))


@EVERY
def test_an_input_of_the_wrong_kind(name):
    layer = BUILDS[name]()
    needs = "needs a torch.Tensor of a floating-point dtype"
    refuses(TypeError, f"{first(name)}: found z a numpy.ndarray, {needs}", layer.forward, np.ones((2, D)))
    refuses(TypeError, f"{first(name)}: found z of torch.int64, {needs}", layer.forward, torch.ones(2, D).long())


@pytest.mark.parametrize("name", ["Linear", "InstanceNorm", "BatchNorm"])
def test_an_input_that_does_not_fit_the_parameters(name):
    layer = BUILDS[name]()
    key = next(iter(layer.params))
    for shape in ((2, D + 1), (D,), ()):
        refuses(
            ValueError, f"{name}: found z of shape {shape}, needs shape (…, B, 5)", layer.forward, torch.ones(shape)
        )
    text = f"{name}: found z of torch.float64, needs torch.float32 as {key}: z.to(…), or the layer's to(dtype=…)"
    refuses(TypeError, text, layer.forward, torch.ones(2, D).double())
    text = f"{name}: found z on meta, needs cpu as {key}: z.to(…), or the layer's to(device=…)"
    refuses(ValueError, text, layer.forward, torch.ones(2, D, device="meta"))


def test_parameters_that_do_not_fit():
    layer = InstanceNorm(D, leading=(3,))
    text = (
        "InstanceNorm: found z of shape (2, 4, 5), needs shape (…, 3, B, 5), as gamma holds a model per leading index"
    )
    refuses(ValueError, text, layer.forward, torch.ones(2, 4, D))
    text = "InstanceNorm: found z of shape (4, 5), needs shape (…, 3, B, 5), as gamma holds a model per leading index"
    refuses(ValueError, text, layer.forward, torch.ones(4, D))
    layer.params["beta"] = torch.ones(4)
    text = "InstanceNorm: found beta of shape (4,), needs shape (…, 1, 5)"
    refuses(ValueError, text, layer.forward, torch.ones(3, 4, D))


def test_running_statistics_of_other_leading_axes():
    layer = BatchNorm(D)
    layer.forward(torch.ones(3, 4, D))
    text = (
        "BatchNorm: found z of shape (4, 5), needs shape (…, 3, B, 5), as running_mean holds a model per leading index"
    )
    refuses(ValueError, text, layer.forward, torch.ones(4, D))


@pytest.mark.parametrize("batch", [0, 1])
def test_batch_norm_needs_two_samples_in_training(batch):
    layer = BatchNorm(D)
    text = f"BatchNorm: found z of shape ({batch}, 5), needs a batch of B ≥ 2 in training"
    refuses(ValueError, text, layer.forward, torch.ones(batch, D))
    assert layer.eval().forward(torch.ones(batch, D)).shape == (batch, D)
    assert torch.equal(layer.buffers["running_mean"], torch.zeros(D))


@pytest.mark.parametrize("change", ["input", "output", "parameter"])
def test_a_change_in_place_between_forward_and_backward(change):
    layer = Sequential(Linear(D, D), Tanh())
    z = torch.ones(2, D)
    a = layer.forward(z)
    {"input": z, "output": a, "parameter": layer.params["0.W"]}[change].add_(1)
    text = f"{'Tanh' if change == 'output' else 'Linear'}: found an input, output or parameter changed in place"
    refuses(RuntimeError, text, layer.backward, torch.ones(2, D))
    layer.forward(z)
    layer.backward(torch.ones(2, D))


def test_a_generator_on_another_device():
    layer = Dropout(0.5, torch.Generator("cpu"))
    text = "Dropout: found the generator on cpu, needs torch.Generator('meta'), as z is there"
    refuses(ValueError, text, layer.forward, torch.ones(2, D, device="meta"))


@pytest.mark.parametrize(
    ("y", "error", "text"),
    [
        ([[0, 1], [2, 3]], ValueError, "found y[1, 1] = 3 among the labels, needs 0 ≤ y < 3"),
        ([[0, -1], [2, 7]], ValueError, "found y[0, 1] = -1 among the labels, needs 0 ≤ y < 3"),
        ([0, 1], ValueError, "found y of shape (2,), needs shape (2, 2), a label for each row of z"),
        ([[0, 1, 2], [0, 1, 2]], ValueError, "found y of shape (2, 3), needs shape (2, 2), a label for each row of z"),
        ([[0.5, 1.0], [2.0, 0.0]], TypeError, "found y[0, 0] = 0.5 of torch.float32, needs integers"),
        ([[True, False], [False, True]], TypeError, "found y[0, 0] = True of torch.bool, needs integers"),
        ([[1j, 0], [0, 0]], TypeError, "found y[0, 0] = 1j of torch.complex64, needs integers"),
    ],
)
def test_labels(y, error, text):
    refuses(error, f"SoftmaxCrossEntropy: {text}", SoftmaxCrossEntropy().forward, torch.ones(2, 2, 3), torch.tensor(y))


def test_labels_elsewhere_or_otherwise():
    layer, z = SoftmaxCrossEntropy(), torch.ones(2, 3)
    text = "SoftmaxCrossEntropy: found y a list, needs a torch.Tensor of integers"
    refuses(TypeError, text, layer.forward, z, [0, 1])
    text = "SoftmaxCrossEntropy: found y on meta, needs cpu, as z is there"
    refuses(ValueError, text, layer.forward, z, torch.ones(2, dtype=torch.long, device="meta"))
    text = "SoftmaxCrossEntropy: found y of torch.float32, needs integers"
    refuses(TypeError, text, layer.forward, torch.ones(0, 2, 3), torch.ones(0, 2))


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (2, 0, 3)])
def test_a_loss_needs_rows_and_classes(shape):
    text = f"SoftmaxCrossEntropy: found z of shape {shape}, needs shape (…, B, C) with B, C ≥ 1"
    refuses(ValueError, text, SoftmaxCrossEntropy().forward, torch.ones(shape), torch.ones(shape[:-1]).long())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Linear(0, 3), "Linear: found D_in=0, D_out=3, needs both ≥ 1"),
        (lambda: InstanceNorm(0), "InstanceNorm: found D=0, eps=1e-05, needs D ≥ 1, eps ≥ 0"),
        (lambda: InstanceNorm(3, eps=float("nan")), "InstanceNorm: found D=3, eps=nan, needs D ≥ 1, eps ≥ 0"),
        (lambda: BatchNorm(3, momentum=2.0), "BatchNorm: found D=3, eps=1e-05, momentum=2.0, needs"),
    ],
)
def test_constructors(call, text):
    refuses(ValueError, text, call)


def test_sequential_is_made_of_layers():
    refuses(TypeError, "Sequential: found no layers, needs one or more layers", Sequential)
    refuses(TypeError, "Sequential: found Tanh, ReLU, needs one or more layers", Sequential, Tanh(), torch.nn.ReLU())
    tanh = Tanh()
    text = "Sequential: found layer 0 again as layer 2, needs layers of their own"
    refuses(ValueError, text, Sequential, tanh, Linear(2, 2), tanh)


def test_every_layer_is_a_layer():
    layers = [BUILDS[name]() for name in BUILDS]
    assert all(isinstance(layer, Layer) for layer in (*layers, SoftmaxCrossEntropy()))
    with pytest.raises(NotImplementedError):
        Layer().forward(torch.ones(1))
    with pytest.raises(NotImplementedError):
        Layer().backward(torch.ones(1))
