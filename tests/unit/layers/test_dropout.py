"""Masks: their probability, their generators, and what is not drawn."""

import copy
import math

import pytest
import torch
from torch.testing import assert_close

from layers import Dropout


def generator(device, seed=7):
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (32, 64), (2, 3, 4)])
def test_entries_are_scaled_or_zero_and_backward_keeps_the_mask(p, shape, normal, dtype, device):
    layer = Dropout(p, generator(device))
    z = normal(*shape, shift=10.0)
    a = layer.forward(z)
    kept = a != 0
    assert_close(a, torch.where(kept, z / (1 - p), 0.0))
    δa = normal(*shape)
    assert_close(layer.backward(δa), torch.where(kept, δa / (1 - p), 0.0))
    assert a.dtype == dtype
    assert a.device == device


@pytest.mark.parametrize("p", [1e-3, 0.2, 0.5, 0.75, 0.999])
def test_entries_are_dropped_with_probability_p(p, device):
    """Within 5 standard deviations over four million entries, also at each residue of the position modulo 8."""
    n = 2**22
    dropped = Dropout(p, generator(device)).forward(torch.ones(n // 8, 8, device=device)) == 0
    spread = math.sqrt(p * (1 - p))
    assert abs(dropped.double().mean().item() - p) < 5 * spread / math.sqrt(n)
    assert ((dropped.double().mean(0) - p).abs() < 5 * spread / math.sqrt(n / 8)).all()


def test_neighbouring_entries_are_independent(device):
    n, p = 2**22, 0.5
    m = (Dropout(p, generator(device)).forward(torch.ones(n, device=device)) != 0).double() - (1 - p)
    for lag in (1, 2, 3, 4, 8):
        assert abs((m[lag:] * m[:-lag]).mean().item()) < 5 * p * (1 - p) / math.sqrt(n)


@pytest.mark.parametrize("p", [1e-12, 1e-9, 1 - 1e-9, 1 - 1e-12])
def test_the_resolution_reaches_extreme_probabilities(p, device):
    dropped = Dropout(p, generator(device)).forward(torch.ones(2**20, device=device)) == 0
    assert dropped.double().mean().item() == round(p)


@pytest.mark.parametrize("p", [0, 0.0, 0.3])
def test_identity_draws_nothing_and_shares_no_memory(p, normal, device):
    g = generator(device)
    before = g.get_state()
    layer = Dropout(p, g)
    if p:
        layer.eval()
    z, δa = normal(3, 4), normal(3, 4)
    a, δz = layer.forward(z), layer.backward(δa)
    assert torch.equal(a, z)
    assert torch.equal(δz, δa)
    assert a.data_ptr() != z.data_ptr()
    assert δz.data_ptr() != δa.data_ptr()
    assert torch.equal(g.get_state(), before)


def test_an_eval_forward_forgets_the_training_mask(normal):
    layer = Dropout(0.5, generator("cpu"))
    z = normal(4, 4).cpu()
    layer.forward(z)
    layer.eval().forward(z)
    assert torch.equal(layer.backward(z), z)


def test_a_training_backward_after_switching_to_eval_keeps_its_mask(normal):
    layer = Dropout(0.5, generator("cpu"))
    z = normal(8, 8).cpu()
    a = layer.forward(z)
    assert torch.equal(layer.eval().backward(z), a)


def test_the_same_seed_gives_the_same_masks_and_another_does_not(device):
    z = torch.ones(16, 16, device=device)
    first, second, other = (Dropout(0.5, generator(device, seed)) for seed in (1, 1, 2))
    a, b = first.forward(z), first.forward(z)
    assert torch.equal(second.forward(z), a)
    assert torch.equal(second.forward(z), b)
    assert not torch.equal(a, b)
    assert not torch.equal(other.forward(z), a)


def test_no_generator_is_torchs_default_one():
    z = torch.ones(8, 8)
    torch.manual_seed(3)
    a = Dropout(0.5).forward(z)
    assert torch.equal(a, Dropout(0.5, torch.Generator().manual_seed(3)).forward(z))
    torch.manual_seed(3)
    assert torch.equal(copy.deepcopy(Dropout(0.5)).forward(z), a)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (32, 64)])
def test_each_of_s_generators_is_consumed_as_alone_to_the_bit(shape, device, dtype):
    together = [generator(device, s) for s in range(4)]
    alone = [generator(device, s) for s in range(4)]
    layer = Dropout(0.3, together)
    z = torch.ones(4, *shape, dtype=dtype, device=device)
    for _ in range(3):
        a = layer.forward(z)
        for s, g in enumerate(alone):
            assert torch.equal(a[s], Dropout(0.3, g).forward(z[s]))
            assert torch.equal(together[s].get_state(), g.get_state())


def test_the_mask_does_not_depend_on_the_dtype_or_the_layout(device):
    z = torch.ones(6, 9, device=device)
    a = Dropout(0.5, generator(device)).forward(z)
    for other in (
        z.double(),
        z.half(),
        torch.ones(9, 6, device=device).T,
        torch.ones(1, 1, device=device).expand(6, 9),
    ):
        assert torch.equal(Dropout(0.5, generator(device)).forward(other).float(), a)


def test_a_copy_draws_the_same_masks_from_a_generator_of_its_own(device):
    layer = Dropout(0.5, [generator(device, 1), generator(device, 2)])
    z = torch.ones(2, 8, 8, device=device)
    layer.forward(z)
    twin = copy.deepcopy(layer)
    assert torch.equal(twin.backward(z), layer.backward(z))
    assert torch.equal(twin.forward(z), layer.forward(z))
    assert torch.equal(twin.forward(z), layer.forward(z))


@pytest.mark.parametrize("p", [-0.1, 1, 1.0, 1.5, math.nan, math.inf, -math.inf])
def test_p_outside_its_range(p):
    with pytest.raises(ValueError, match=rf"Dropout: found p={p}, needs 0 ≤ p < 1"):
        Dropout(p)


@pytest.mark.parametrize("p", ["0.5", None, [0.5], torch.tensor(0.5), 0.5j])
def test_p_is_a_number(p):
    with pytest.raises(TypeError, match=rf"Dropout: found p of type {type(p).__name__}, needs a number"):
        Dropout(p)


def test_as_many_generators_as_leading_indices():
    layer = Dropout(0.5, [generator("cpu", s) for s in range(3)])
    with pytest.raises(
        ValueError, match=r"found z of shape \(2, 4, 5\), needs shape \(3, …\), one leading index a generator"
    ):
        layer.forward(torch.ones(2, 4, 5))


def test_generators_are_generators():
    with pytest.raises(TypeError, match=r"Dropout: found a generator of type int, needs torch\.Generator"):
        Dropout(0.5, [torch.Generator(), 3])
    with pytest.raises(TypeError, match=r"Dropout: found a generator of type int, needs torch\.Generator"):
        Dropout(0.5, 3)
    with pytest.raises(ValueError, match="Dropout: found no generators, needs one or more"):
        Dropout(0.5, [])
