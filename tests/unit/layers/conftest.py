"""The dtypes and devices that every layer is tried with."""

import pytest
import torch

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=CUDA)])
def device(request):
    return torch.device(request.param, 0) if request.param == "cuda" else torch.device(request.param)


@pytest.fixture
def normal(dtype, device):
    """Draws normal tensors of the test's dtype on its device, the same values on every device."""
    generator = torch.Generator().manual_seed(2026)

    def draw(*shape, scale=1.0, shift=0.0):
        values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale + shift
        return values.to(dtype=dtype, device=device)

    return draw
