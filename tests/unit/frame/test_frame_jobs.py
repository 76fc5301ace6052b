"""`--jobs`: several targets are looked at at once, and what comes of it is what comes of one after the other."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

RIGHT = """
import os

class Twice:
    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        {backward}
        return 2 * dy
"""


@pytest.fixture
def many(folder):
    """Files a.py, b.py, ...: the layer of each is right but for what its backward does first."""

    def write(*backwards):
        names = [f"{'abcdefgh'[k]}.py" for k in range(len(backwards))]
        for name, backward in zip(names, backwards, strict=True):
            (folder / name).write_text(RIGHT.format(backward=backward), encoding="utf-8")
        return names

    return write


def test_reports_come_in_the_order_of_the_targets_and_are_the_same(check, many, folder):
    names = many("pass", "dy = 3 * dy", "os._exit(7)", "pass")
    one = check(*names, "nowhere.py", "--json", "one.json")
    three = check(*names, "nowhere.py", "--json", "three.json", "--jobs", "3")
    assert (three.status, three.err) == (one.status, one.err)
    assert three.out.replace("three.json", "one.json") == one.out
    assert (folder / "three.json").read_bytes() == (folder / "one.json").read_bytes()
    outcomes = {
        r["target"]: {x["outcome"] for x in r["results"]} for r in json.loads(Path("one.json").read_text())["reports"]
    }
    assert "FAIL" in outcomes["b.py"]
    assert outcomes["c.py"] == outcomes["nowhere.py"] == {"ERROR"}
    assert outcomes["a.py"] == outcomes["d.py"] == {"PASS", "SKIP"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no child processes")
def test_targets_do_run_at_once(check, many):
    """Each waits for the other's file, so that one after the other both would time out."""
    wait = "import time; open({own!r}, 'w').close()\n        while not os.path.exists({other!r}): time.sleep(0.01)"
    names = many(wait.format(own="first", other="second"), wait.format(own="second", other="first"))
    answer = check(*names, "--jobs", "2", "--timeout", "60", "--only", "shapes")
    assert answer.status == 0, answer.out


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_a_usage_error_ends_all_of_them(check, many):
    """What is wrong with every target is told at once; the child that would go on for ever is gone."""
    names = many("pass", "open('pid', 'w').write(str(os.getpid()))\n        while True: pass")
    begun = time.monotonic()
    answer = check(*names, "--jobs", "2", "--only", "no_such_check", "--timeout", "600")
    assert (answer.status, answer.out) == (2, "")
    assert "no_such_check" in answer.err
    assert time.monotonic() - begun < 100
    # this process may ask for a child again
    assert check(names[0]).status == 0


@pytest.mark.parametrize(("jobs", "said"), [("0", "0 is less than 1"), ("many", "'many' is no whole number")])
def test_numbers_of_jobs_that_are_none(check, many, jobs, said):
    answer = check(*many("pass"), "--jobs", jobs)
    assert answer.status == 2
    assert f"argument --jobs: {said}" in answer.err


def test_no_more_processes_are_started_than_there_are_targets(check, many, monkeypatch):
    isolate = sys.modules["harness.processes.isolate"]
    begun, started = [], isolate._started
    monkeypatch.setattr(isolate, "_started", lambda: begun.append(1) or started())
    assert check(*many("pass", "pass"), "--jobs", "8", "--only", "shapes").status == 0
    assert len(begun) == 2
