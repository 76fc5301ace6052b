"""All jobs of the study on any `concurrent.futures.Executor`, and their results put together."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.dataset import Dataset
from report.runs import CURVES, Job, Progress, Result, groups, recorded_epochs, run
from report.settings import DROPOUT, EXPERIMENTS, Settings
from report.statistics import Value


class Inline(Executor):
    """Runs each job when it is submitted, here."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """An already finished future; an error is raised at once."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def pool(processes: int) -> Iterator[Executor]:
    """Spawned processes: a fork of a process in which torch already runs threads may hang."""
    if processes == 1:
        yield Inline()
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass
class Outcome:
    """One model over all seeds, in their order."""

    values: dict[str, list[Value]] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    votes: NDArray[np.int16] | None = None
    alone: bool | None = None  # the control seed gave the same bits without the others; None: there are no others
    seconds: float = 0.0  # of training, summed over the groups


def control(settings: Settings) -> tuple[int, int]:
    """The seed that every model trains once more, alone, and for how many epochs: a fifth shows a bit astray."""
    recorded = recorded_epochs(settings)
    return settings.run_seeds[settings.seeds // 2], int(recorded[(len(recorded) - 1) // 5])


def plan(settings: Settings) -> list[Job]:
    """The groups of seeds of each model, those that draw masks first as they take longest, then the controls."""
    order = sorted(EXPERIMENTS, key=lambda e: e.p != DROPOUT)
    jobs = [Job(e, seeds, settings.epochs) for e in order for seeds in groups(settings.run_seeds)]
    seed, epochs = control(settings)
    if settings.seeds > 1:
        jobs += [Job(e, (seed,), epochs) for e in order]
    return jobs


def conduct(settings: Settings, dataset: Dataset, executor: Executor, progress: Progress) -> dict[str, Outcome]:
    """Every experiment by name. The order in which jobs finish changes nothing."""
    futures = [executor.submit(run, job, dataset, settings, progress) for job in plan(settings)]
    results: list[Result] = [future.result() for future in futures]
    return {e.name: _gather([r for r in results if r.job.experiment == e], settings) for e in EXPERIMENTS}


def _gather(results: Sequence[Result], settings: Settings) -> Outcome:
    count = len(groups(settings.run_seeds))
    parts, controls = results[:count], results[count:]
    votes = [r.votes for r in parts if r.votes is not None]
    return Outcome(
        values={name: [v for r in parts for v in r.values[name]] for name in parts[0].values},
        curves={name: np.concatenate([r.curves[name] for r in parts]) for name in CURVES},
        votes=np.sum(votes, axis=0, dtype=np.int16) if votes else None,
        alone=same(controls[0], parts) if controls else None,
        seconds=sum(r.seconds for r in parts),
    )


def same(alone: Result, parts: Sequence[Result]) -> bool:
    """Whether a seed's curves are, bit for bit, the beginning of those it drew in its group.

    Losses depend on every weight, and training is chaotic: one bit astray in any of them would show in the end.
    """
    (seed,) = alone.job.seeds
    (together,) = (r for r in parts if seed in r.job.seeds)
    s = together.job.seeds.index(seed)
    return all(row.tobytes() == together.curves[name][s, : len(row)].tobytes() for name, (row,) in alone.curves.items())
