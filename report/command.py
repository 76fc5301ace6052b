"""What the command line does, in order: settings, data, verification and training side by side, stored results."""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import torch

from report.dataset import load
from report.errors import UsageError
from report.ledger import Ledger, key
from report.progress import bar
from report.results import save, save_timing
from report.settings import SPIRAL, Settings
from report.store import prepare
from report.study import cluster, conduct, plan, pool
from report.verification import checker, specs, verified, verify

QUICK_SEEDS, QUICK_EPOCHS = 3, 40


def settings_of(options: argparse.Namespace) -> Settings:
    """From the command line; --quick only changes what was not given.

    It leaves the verification whole: with fewer examples, whether a tensor counts as verified would be luck.
    """
    _usable(options.device)
    seeds, epochs = (QUICK_SEEDS, QUICK_EPOCHS) if options.quick else (30, 1000)
    return Settings(
        seeds=options.seeds or seeds,
        epochs=options.epochs or epochs,
        seed0=options.seed0,
        device=options.device,
        quick=options.quick,
        data=SPIRAL if options.data is None else options.data,
    )


def _usable(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: torch cannot use it ({reason}); write cpu, or cuda") from None


def conduct_and_save(settings: Settings, out: Path, processes: int, scheduler: str | None = None) -> bool:
    """Everything that takes time; whether all layers were verified and no seed depended on another.

    What could stop the end is tried at the start: the data, the directory, the harness and its specs.
    """
    dataset = load(settings)
    prepare(out)
    checker()
    specs()
    jobs = plan(settings)
    total = sum(len(job.seeds) * job.epochs for job in jobs)
    start = time.perf_counter()
    with ExitStack() as stack:
        shown = stack.enter_context(bar(total, "training"))
        place = cluster(scheduler, shown) if scheduler else pool(min(processes, len(jobs) + 1), shown)
        executor, progress = stack.enter_context(place)
        ledger = stack.enter_context(Ledger.open(out, key(settings, dataset)))
        checks = executor.submit(verify, settings.examples, 0)
        outcomes = conduct(settings, dataset, executor, progress, ledger)
        matrix = checks.result()
    seconds = {name: outcome.seconds for name, outcome in outcomes.items()} | {"total": time.perf_counter() - start}
    save(out, settings, dataset, outcomes, matrix)
    timing = save_timing(out, settings, dataset, seconds)
    print(f"trained and verified in {seconds['total']:.0f} s:", _rates(timing), file=sys.stderr)
    return verified(matrix) and all(o.alone is not False for o in outcomes.values())


def _rates(timing: dict[str, dict[str, float]]) -> str:
    rates = timing["microseconds_per_seed_step"]
    return ", ".join(f"{name} {rate:g} µs" for name, rate in rates.items()) + " per step of one seed"
