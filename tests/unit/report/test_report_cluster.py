"""A real Dask scheduler with two workers on loopback, one of them killed in the middle: the same tables."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import report
from report.command import conduct_and_save
from report.errors import UsageError
from report.settings import Settings
from report.study import cluster

pytest.importorskip("distributed")
ROOT, TESTS = Path(report.__file__).parents[1], Path(__file__).parent
SMALL = Settings(seeds=2, epochs=30, test_points=100)
FILES = ("summary.json", "curves.npz", "verification.json", "evidence.json")

STUDY = """
import sys
from pathlib import Path
import harness_results, report.command, report.verification
from report.settings import Settings
report.command.checker, report.command.specs = (lambda: None), list
report.command.verify = harness_results.verify
report.command.conduct_and_save(Settings(seeds=2, epochs=30, test_points=100), Path(sys.argv[1]), 1, sys.argv[2])
"""


def started(*command):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *command]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def scheduler():
    """Its address, and the workers' processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [started("distributed.cli.dask_scheduler", *local, "--port", str(port))]
    worker = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
    processes += [started("distributed.cli.dask_worker", address, *worker) for _ in range(2)]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("stand_in")
def test_a_worker_is_killed_and_the_tables_are_the_same(scheduler, tmp_path):
    address, workers = scheduler
    (tmp_path / "study.py").write_text(STUDY)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}"}
    command = [sys.executable, str(tmp_path / "study.py"), str(tmp_path / "there"), address]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as study:
        for line in study.stderr:  # some jobs are done, others are not
            if line.startswith("training:"):
                break
        workers[0].kill()
        rest = study.stderr.read()
        assert study.wait(timeout=300) == 0, rest
    conduct_and_save(SMALL, tmp_path / "here", 1)
    for name in FILES:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert workers[0].poll() is not None
    assert workers[1].poll() is None


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("distributed.Client", lambda *_, **__: (_ for _ in ()).throw(OSError("timed out")))
    with (
        pytest.raises(UsageError, match=r"--scheduler tcp://127\.0\.0\.1:1: cannot be reached"),
        cluster("tcp://127.0.0.1:1", print),
    ):
        pass


def test_without_distributed_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="needs `pip install distributed`"), cluster("tcp://127.0.0.1:1", print):
        pass
