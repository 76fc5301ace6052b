"""All jobs of the study on any `concurrent.futures.Executor`, and their results put together."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.dataset import Dataset
from report.errors import UsageError
from report.ledger import Ledger
from report.progress import heard, joined, send
from report.runs import CURVES, Job, Progress, Run, groups, recorded_epochs, run
from report.settings import DROPOUT, EXPERIMENTS, EXPLORATIONS, Experiment, Settings
from report.statistics import Value


class Inline(Executor):
    """Runs each job when it is submitted, here."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """An already finished future; an error is raised at once."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def cluster(address: str, update: Callable[[int], object]) -> Iterator[tuple[Executor, Progress]]:
    """The same on Dask's workers; progress comes with each job that is done. A job whose worker is lost runs on another."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--scheduler {address}: needs `pip install distributed` ({error})") from None
    try:
        client = Client(address, timeout=30)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {address}: cannot be reached ({error})") from None
    with client, client.get_executor(pure=False, retries=3) as executor:  # type: ignore[no-untyped-call]
        yield Counting(executor, update), quiet


def quiet(n: int) -> None:
    """What a job on another machine tells: nothing, its end says all."""


class Counting(Executor):
    """Tells how far a job has come when it is done."""

    def __init__(self, executor: Executor, update: Callable[[int], object]) -> None:
        self.executor, self.update = executor, update

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the executor's own."""
        future = self.executor.submit(fn, *args, **kwargs)
        if args and isinstance(args[0], Job):
            epochs = len(args[0].seeds) * args[0].epochs
            future.add_done_callback(lambda _: self.update(epochs))
        return future


@contextmanager
def pool(processes: int, update: Callable[[int], object]) -> Iterator[tuple[Executor, Progress]]:
    """An executor, and what its jobs call in order that `update` is called here.

    Spawned processes: a fork of a process in which torch already runs threads may hang.
    """
    if processes == 1:
        yield Inline(), update
        return
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with heard(queue, update), ProcessPoolExecutor(processes, context, joined, (queue,)) as executor:
        try:
            yield executor, send
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
    """All seeds of each model, those that draw masks first as they take longest; the controls; the explorations."""
    order = sorted(EXPERIMENTS, key=lambda e: e.p != DROPOUT)
    jobs = [Job(e, tuple(settings.run_seeds), settings.epochs) for e in order]
    seed, epochs = control(settings)
    if settings.seeds > 1:
        jobs += [Job(e, (seed,), epochs, alone=True) for e in order]
    return jobs + [Job(e, tuple(settings.explored_seeds), settings.epochs * e.longer) for e in EXPLORATIONS]


def conduct(
    settings: Settings, dataset: Dataset, executor: Executor, progress: Progress, ledger: Ledger | None = None
) -> dict[str, Outcome]:
    """Every experiment by name. Neither the order in which jobs finish nor what the ledger held changes anything."""
    done = {job: ledger.finished(job) if ledger else {} for job in plan(settings)}
    progress(sum(run.epochs for runs in done.values() for run in runs.values()))
    parts = [(job, replace(job, seeds=s)) for job, found in done.items() for s in groups(_missing(job, found))]
    for job, runs in _as_finished(executor, parts, (dataset, settings, progress)):
        if ledger:
            ledger.add(job, runs)
        done[job] |= {r.seed: r for r in runs}
    return {e.name: _gather(e, done, dataset) for e in (*EXPERIMENTS, *EXPLORATIONS)}


def _missing(job: Job, found: Mapping[int, Run]) -> list[int]:
    return [s for s in job.seeds if s not in found]


def _as_finished(
    executor: Executor, parts: Sequence[tuple[Job, Job]], given: tuple[Dataset, Settings, Progress]
) -> Iterator[tuple[Job, list[Run]]]:
    """Each job with the runs of a part of it, as soon as there are any: also if submit is what runs it."""
    waiting: dict[Future[list[Run]], Job] = {}
    for whole, part in parts:
        future = executor.submit(run, part, *given)
        if future.done():
            yield whole, future.result()
        else:
            waiting[future] = whole
    for future in as_completed(waiting):
        yield waiting[future], future.result()


def _gather(experiment: Experiment, done: Mapping[Job, Mapping[int, Run]], dataset: Dataset) -> Outcome:
    of = {job.alone: [found[s] for s in job.seeds] for job, found in done.items() if job.experiment == experiment}
    runs, alone = of[False], of.get(True, [])
    return Outcome(
        values={name: [r.values[name] for r in runs] for name in runs[0].values},
        curves={name: np.stack([r.curves[name] for r in runs]) for name in CURVES},
        votes=_votes([r.decisions for r in runs if r.decisions is not None], dataset.n_classes),
        alone=all(same(a, r) for a in alone for r in runs if r.seed == a.seed) if alone else None,
        seconds=sum(r.seconds for r in runs),
    )


def _votes(decided: Sequence[NDArray[np.uint8]], K: int) -> NDArray[np.int16] | None:
    """(K, GRID, GRID): how many seeds chose the class."""
    if not decided:
        return None
    return np.stack([np.sum([d == c for d in decided], axis=0, dtype=np.int16) for c in range(K)])


def same(alone: Run, together: Run) -> bool:
    """Whether a seed's curves are, bit for bit, the beginning of those it drew in its group.

    Losses depend on every weight, and training is chaotic: one bit astray in any of them would show in the end.
    """
    return all(row.tobytes() == together.curves[name][: len(row)].tobytes() for name, row in alone.curves.items())
