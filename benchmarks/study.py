"""Many seeds in one pass beside a loop over PyTorch's own modules: what both train, and a table of their times.

    python -m benchmarks.study [--rounds 9] [--out benchmarks/results]

Both train the study's model (2 → 64 → 64 → 2, batches of 32 from 240 points in a new order each epoch, plain SGD) on the
study's own splits, one thread each, in the same run: PyTorch a seed after the other, ours S seeds at once. Times are
processor time for one step of one seed, medians over rounds that go through all of them, so that a busy machine slows
all alike. The floor is what the matrix products of a step take by themselves.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.operations import publish, setting
from report.dataset import load
from report.model import build
from report.runs import groups
from report.settings import EXPERIMENTS, Experiment, Settings
from report.streams import stream
from report.training import split_by_seed, train

COUNTS = (1, 10, 30, 100, 300)
SETTINGS = Settings(test_points=100)
STEPS = 7  # an epoch: 240 points in batches of 32


@dataclass(frozen=True)
class Training:
    """Something that trains for whole epochs, and how many steps of single seeds an epoch is."""

    run: Callable[[int], object]
    seed_steps: int


def ours(experiment: Experiment, S: int) -> Training:
    """The study's own loop, in its own groups."""
    dataset = load(SETTINGS)
    with torch.inference_mode():
        made = [
            (build(experiment, seeds, (2, SETTINGS.width, 2)), split_by_seed(dataset, seeds, SETTINGS), seeds)
            for seeds in groups(range(S))
        ]

    def run(epochs: int) -> None:
        with torch.inference_mode():
            for model, data, seeds in made:
                train(model, data, seeds, SETTINGS, lambda epoch, model: None, epochs)

    return Training(run, STEPS * S)


def pytorch(experiment: Experiment) -> Training:
    """One seed with PyTorch's modules, autograd and optimiser, as one would write it."""
    nn, width, p = torch.nn, SETTINGS.width, experiment.p
    norm = {"in": nn.LayerNorm, "bn": nn.BatchNorm1d}[experiment.norm]
    dropout = [nn.Dropout(p)] if p else []
    blocks = [(nn.Linear(D, width), norm(width), nn.Tanh(), *dropout) for D in (2, width)]
    model = nn.Sequential(*blocks[0], *blocks[1], nn.Linear(width, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=SETTINGS.lr)
    with torch.inference_mode(False):
        data = split_by_seed(load(SETTINGS), [0], SETTINGS)
    z, y, order = data.z_train[0], data.y_train[0], stream(0, "batches")

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for picked in torch.randperm(len(z), generator=order).split(SETTINGS.batch)[:STEPS]:
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(z[picked]), y[picked]).backward()
                optimiser.step()

    return Training(run, STEPS)


def floor(S: int = 30) -> Training:
    """The matrix products of a step alone, without those for the input's gradient."""
    B, width = SETTINGS.batch, SETTINGS.width
    x, h, δ, δa = (torch.randn(S, B, D) for D in (2, width, width, 2))
    V, W, U = torch.randn(S, 2, width), torch.randn(S, width, width), torch.randn(S, 2, width)

    def run(epochs: int) -> None:
        for _ in range(STEPS * epochs):
            _products(x, h, δ, δa, V, W, U)

    return Training(run, STEPS * S)


def _products(x: Tensor, h: Tensor, δ: Tensor, δa: Tensor, V: Tensor, W: Tensor, U: Tensor) -> None:
    """Forward, then backward to weights and to inputs; U is Wᵀ of the last layer, the fast way round."""
    torch.bmm(x, V), torch.bmm(h, W), torch.bmm(h, U.mT)
    torch.bmm(δa.mT, h), torch.bmm(h.mT, δ), torch.bmm(x.mT, δ)
    torch.bmm(δa, U), torch.bmm(δ, W.mT)


def seconds(training: Training, steps: int = 3000) -> float:
    """Processor time for one step of one seed: over about so many of them, in at least 10 epochs."""
    epochs = max(10, steps // training.seed_steps)
    training.run(1)  # fills the caches again after the others
    start = time.process_time()
    training.run(epochs)
    return (time.process_time() - start) / (epochs * training.seed_steps)


def contestants(experiment: Experiment) -> dict[str, Training]:
    """PyTorch, the floor, and ours at each number of seeds."""
    return {"pytorch": pytorch(experiment), "floor": floor()} | {str(S): ours(experiment, S) for S in COUNTS}


def measure(experiment: Experiment, rounds: int) -> dict[str, float]:
    """Median microseconds for one step of one seed, by contestant."""
    sides = contestants(experiment)
    taken = [{name: 1e6 * seconds(side) for name, side in sides.items()} for _ in range(rounds)]
    return {name: median(t[name] for t in taken) for name in sides}


def table(rows: dict[str, dict[str, float]], where: dict[str, object]) -> str:
    """Markdown: how many times faster, and the times."""
    faster = [[name, *(f"{t['pytorch'] / t[str(S)]:.1f}" for S in COUNTS)] for name, t in rows.items()]
    times = [
        [name, t["pytorch"], t["floor"], t["30"] / t["floor"], *(t[str(S)] for S in COUNTS)] for name, t in rows.items()
    ]
    heads = [f"S = {S}" for S in COUNTS]
    return "\n".join(
        [
            "# Many seeds in one pass: speed-up over a loop of PyTorch's own modules\n",
            tabulate(faster, ["", *heads], "pipe", disable_numparse=True),
            "\nMicroseconds of processor time for one step of one seed. Floor: the matrix products alone, 30 seeds.\n",
            tabulate(times, ["", "PyTorch", "floor", "S = 30 / floor", *heads], "pipe", floatfmt=".1f"),
            "",
            *(f"- {key}: {value}" for key, value in where.items()),
            "",
        ]
    )


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="folder for study.md and study.json; without it nothing is written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {e.name: measure(e, arguments.rounds) for e in EXPERIMENTS}
    where = setting("cpu", 0.0) | {"rounds": arguments.rounds}
    del where["seconds_per_row"]
    publish("study", table(rows, where), {"setting": where, "rows": rows}, arguments.out)


if __name__ == "__main__":
    main()
