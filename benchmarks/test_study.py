"""`pytest benchmarks/test_study.py --benchmark-only`: ten epochs of S seeds in one pass beside a loop over PyTorch's modules."""

import pytest
import torch

from benchmarks.study import COUNTS, STEPS, ours, pytorch
from report.settings import EXPERIMENTS

EPOCHS = 10  # what is done once for a run would show in one


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("S", ["pytorch", *COUNTS], ids=lambda S: f"S={S}" if S in COUNTS else S)
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_training(benchmark, experiment, S):
    benchmark.group = f"{EPOCHS} epochs, {experiment.name}"
    training = pytorch(experiment) if S == "pytorch" else ours(experiment, S)
    assert training.seed_steps == STEPS * (1 if S == "pytorch" else S)
    benchmark(training.run, EPOCHS)
    benchmark.extra_info["microseconds_per_seed_step"] = (
        1e6 * benchmark.stats.stats.median / (EPOCHS * training.seed_steps)
    )
