"""results.sqlite: what is finished is kept, through kills, full disks and damage, and never mixed with anything else."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import report
from report.__main__ import main
from report.command import conduct_and_save
from report.dataset import load
from report.errors import LedgerError
from report.ledger import NAME, Ledger, key
from report.runs import Job, run
from report.settings import BN, EXPLORATIONS, IN, Settings
from report.study import Inline, conduct

SMALL = Settings(seeds=2, epochs=2, test_points=100)
MADE = ("summary.json", "curves.npz", "verification.json")


def trained(monkeypatch):
    """Jobs as they are run; each is a (model, seeds, epochs)."""
    jobs = []

    def counting(job, *given):
        jobs.append((job.experiment.name, job.seeds, job.epochs))
        return run(job, *given)

    monkeypatch.setattr("report.study.run", counting)
    return jobs


@pytest.fixture
def dataset():
    return load(SMALL)


def kept(directory):
    with sqlite3.connect(directory / NAME) as connection:
        return connection.execute("SELECT experiment, seed, alone FROM runs ORDER BY 1, 2, 3").fetchall()


def test_runs_come_back_as_they_were(dataset, tmp_path):
    job = Job(BN, (3, 8), 2)
    runs = run(job, dataset, SMALL)
    with Ledger.open(tmp_path, "a") as ledger:
        ledger.add(job, runs)
    with Ledger.open(tmp_path, "a") as ledger:
        found = ledger.finished(job)
        assert ledger.finished(replace(job, seeds=(8,))).keys() == {8}
    assert list(found) == [3, 8]
    for r in runs:
        assert (found[r.seed].values, found[r.seed].seconds) == (r.values, r.seconds)
        assert all(np.array_equal(found[r.seed].curves[name], curve) for name, curve in r.curves.items())
        assert np.array_equal(found[r.seed].decisions, r.decisions)


def test_a_row_belongs_to_its_settings_model_epochs_and_company(dataset, tmp_path):
    job = Job(IN, (3,), 2)
    with Ledger.open(tmp_path, "a") as ledger:
        ledger.add(job, run(job, dataset, SMALL))
        for other in (replace(job, experiment=BN), replace(job, epochs=3), replace(job, alone=True)):
            assert ledger.finished(other) == {}
    with Ledger.open(tmp_path, "b") as other:
        assert other.finished(job) == {}


def test_the_key_is_all_that_decides_a_run_and_nothing_else(dataset, tmp_path, monkeypatch):
    own = key(SMALL, dataset)
    for same in (replace(SMALL, seeds=9), replace(SMALL, seed0=4), replace(SMALL, quick=True)):
        assert key(same, dataset) == own
    others = [replace(SMALL, lr=0.2), replace(SMALL, epochs=3), replace(SMALL, width=8), replace(SMALL, versions={})]
    keys = {own, *(key(other, dataset) for other in others), key(SMALL, replace(dataset, X=dataset.X + 1))}
    (tmp_path / "edited.py").write_text("# another line of code")
    monkeypatch.setattr("report.ledger._sources", lambda: [tmp_path / "edited.py"])
    assert len(keys | {key(SMALL, dataset)}) == 7


@pytest.mark.usefixtures("stand_in")
def test_more_seeds_go_on_from_fewer_and_other_settings_from_nothing(tmp_path, monkeypatch):
    jobs = trained(monkeypatch)
    conduct_and_save(SMALL, tmp_path / "a", 1)
    jobs.clear()
    conduct_and_save(SMALL, tmp_path / "a", 1)
    assert jobs == []
    conduct_and_save(replace(SMALL, seeds=3), tmp_path / "a", 1)
    assert {seeds for _, seeds, _ in jobs} == {(2,)}
    jobs.clear()
    conduct_and_save(replace(SMALL, lr=0.2), tmp_path / "a", 1)
    assert {seeds for _, seeds, epochs in jobs if epochs >= 2} == {(0, 1)}
    conduct_and_save(replace(SMALL, lr=0.2), tmp_path / "b", 1)
    assert (tmp_path / "a" / "summary.json").read_bytes() == (tmp_path / "b" / "summary.json").read_bytes()


def test_each_job_is_kept_as_soon_as_it_is_done_also_in_one_process(dataset, tmp_path, monkeypatch):
    calls = iter(range(9))

    def third_fails(job, *given):
        if next(calls) == 2:
            raise MemoryError
        return run(job, *given)

    monkeypatch.setattr("report.study.run", third_fails)
    with Ledger.open(tmp_path, "a") as ledger, pytest.raises(MemoryError):
        conduct(SMALL, dataset, Inline(), lambda n: None, ledger)
    assert len(kept(tmp_path)) == 4


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
import harness_results, report.command, report.study, report.verification
def verify(examples, seed):
    return report.verification.rows(harness_results.RESULTS)
report.command.checker, report.command.specs, report.command.verify = (lambda: None), list, verify
from report.runs import groups
report.study.groups = lambda seeds: groups(seeds, 1)
from report.command import conduct_and_save
from report.settings import Settings
if __name__ == "__main__":
    conduct_and_save(Settings(seeds=3, epochs=25, test_points=100), Path(sys.argv[1]), {processes})
"""


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path, processes):
    script = tmp_path / "script.py"
    places = {"tests": str(Path(__file__).parent), "root": str(Path(report.__file__).parents[1])}
    script.write_text(KILLED.format(processes=processes, **places))
    command = [sys.executable, str(script), str(tmp_path / "broken")]
    broken = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for_rows(tmp_path / "broken", broken, 2)
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    before = len(kept(tmp_path / "broken"))
    assert 2 <= before < 16
    assert not (tmp_path / "broken" / "summary.json").exists()
    wait_for_group_to_end(broken.pid)
    conduct_and_save(Settings(seeds=3, epochs=25, test_points=100), tmp_path / "broken", processes=1)
    conduct_and_save(Settings(seeds=3, epochs=25, test_points=100), tmp_path / "whole", processes=1)
    for name in MADE:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(kept(tmp_path / "broken")) == 16 + 3 * len(EXPLORATIONS)


def wait_for_rows(directory, process, count, seconds=60):
    for _ in range(seconds * 50):
        assert process.poll() is None
        try:
            if len(kept(directory)) >= count:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.02)
    raise AssertionError("no rows came")


def wait_for_group_to_end(group, seconds=30):
    """No process outlives the run that was killed."""
    for _ in range(seconds * 20):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process of the pool goes on without its parent")


def damaged(path):
    """A ledger whose pages are overwritten, one that never was any, one of another program, a row that changed."""
    content = path.read_bytes()
    yield content[:4096] + bytes(4096) + content[8192:], "is damaged"
    yield b"no ledger at all" * 300, "is damaged (file is not a database)"
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (id)")
    other.close()
    yield path.read_bytes(), "its table has the columns id"
    path.write_bytes(content)
    with sqlite3.connect(path) as same:
        same.execute("UPDATE runs SET run = X'00' WHERE seed = 1 AND experiment = 'bn_p0.2'")
    same.close()
    yield path.read_bytes(), "the row of bn_p0.2, seed 1, is not what was written"


@pytest.mark.usefixtures("stand_in")
def test_a_damaged_ledger_is_told_and_left_as_it_is(tmp_path, capsys):
    arguments = ["--seeds", "2", "--epochs", "2", "--jobs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / NAME
    for content, message in [*damaged(path)]:
        path.write_bytes(content)
        capsys.readouterr()
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "move it away to begin anew" in error
        assert path.read_bytes() == content


@pytest.mark.usefixtures("stand_in")
def test_a_full_disk_stops_the_run_and_keeps_what_there_is(tmp_path, capsys, monkeypatch):
    arguments = ["--seeds", "2", "--epochs", "2", "--jobs", "1", "--out", str(tmp_path)]
    connect = sqlite3.connect

    def small(*given, **more):
        connection = connect(*given, **more)
        connection.execute("PRAGMA max_page_count = 10")
        return connection

    monkeypatch.setattr("report.ledger.sqlite3.connect", small)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "results.sqlite: database or disk is full; the runs that it holds are kept" in error
    monkeypatch.undo()
    monkeypatch.setattr("report.ledger.sqlite3.connect", connect)
    before = kept(tmp_path)
    assert 0 < len(before) < 12 + 2 * len(EXPLORATIONS)
    with Ledger.open(tmp_path, "any"):
        assert kept(tmp_path) == before


def test_a_ledger_that_cannot_be_written_is_told(dataset, tmp_path, monkeypatch):
    with Ledger.open(tmp_path, "a"):
        pass
    connect = sqlite3.connect

    def read_only(path, **more):
        return connect(f"file:{path}?mode=ro&immutable=1", uri=True, **more)

    monkeypatch.setattr("report.ledger.sqlite3.connect", read_only)
    with (
        pytest.raises(LedgerError, match=r"results\.sqlite: attempt to write a readonly database; the runs that it"),
        Ledger.open(tmp_path, "a") as ledger,
    ):
        ledger.add(Job(IN, (1,), 2), run(Job(IN, (1,), 2), dataset, SMALL))
