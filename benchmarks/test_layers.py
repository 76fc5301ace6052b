"""`pytest benchmarks --benchmark-only`: each layer beside PyTorch's module, a group per operation, size and device."""

import pytest
import torch

from benchmarks.operations import OPERATIONS, SIZES, Pair

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("side", ["ours", "pytorch"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_forward_and_backward(benchmark, operation, size, device, side):
    benchmark.group = f"{operation} {size[0]}x{size[1]} {device}"
    pair = Pair.of(operation, *size, device)
    ours, pytorch = pair.errors()
    benchmark.extra_info |= {"error": ours if side == "ours" else pytorch, "threads": torch.get_num_threads()}
    run = {"ours": pair.ours, "pytorch": pair.pytorch}[side]

    def timed():
        run()
        pair.sync()

    benchmark(timed)
    assert ours <= max(4 * pytorch, 1e-6)
