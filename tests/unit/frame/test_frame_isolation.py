"""A layer that hangs, exhausts memory or ends the process has that as its verdict, and the others keep theirs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAULTY = """
import os, signal, sys, time

class Faulty(Scale):
    def forward(self, x):
        {forward}
        return super().forward(x)

    def backward(self, v):
        {backward}
        return super().backward(v)

FAULTY = LayerSpec(build=Faulty, inputs="B D")
AFTER = LayerSpec(build=Switched, inputs="B D", name="After")
"""
HANG = "while True: pass"
HOARD = "held = []\n        while True: held.append(bytearray(1 << 24))"


@pytest.fixture
def faulty(specs):
    return lambda forward="", backward="": specs("Scale", more=FAULTY.format(forward=forward, backward=backward))


def rows(folder):
    return {
        report["layer"]: {(r["check"], r["outcome"], r["reason"]) for r in report["results"]}
        for report in json.loads((folder / "out.json").read_text())["reports"]
    }


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize(
    ("fault", "limit", "said"),
    [
        (HANG, ("--timeout", "3"), "timed out after 3 s"),
        ("time.sleep(1000)", ("--timeout", "3"), "timed out after 3 s"),
        (HOARD, ("--memory", "600"), "took more than 600 MB of memory"),
        ("os.abort()", (), "crashed the interpreter (SIGABRT)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", (), "crashed the interpreter (SIGSEGV)"),
        ("os._exit(0)", (), "ended the process with exit status 0"),
        ("os.close(1); os.closerange(3, 99); os._exit(7)", (), "ended the process with exit status 7"),
    ],
)
def test_a_fault_is_its_layers_verdict(check, faulty, folder, fault, where, limit, said):
    faulty(**{where: fault})
    answer = check("mylayers.py", "--json", "out.json", *limit)
    assert answer.status == 4
    assert "Scale: verified" in answer.out
    assert "After: verified" in answer.out
    [(stage, outcome, reason)] = rows(folder)["Faulty"]
    assert (stage, outcome) == ("run", "ERROR")
    assert reason.startswith(said)
    assert list(rows(folder)) == ["Scale", "Faulty", "After"]


@pytest.mark.parametrize(
    ("where", "outcome", "reason"), [("forward", "ERROR", "SystemExit: 0"), ("backward", "FAIL", "SystemExit: 0")]
)
def test_leaving_the_program_is_what_raising_is(check, faulty, folder, where, outcome, reason):
    faulty(**{where: "sys.exit(0)"})
    assert check("mylayers.py", "--json", "out.json").status != 0
    assert {o for _, o, _ in rows(folder)["Faulty"]} == {outcome}
    assert all(reason in said for _, _, said in rows(folder)["Faulty"])
    assert {o for _, o, _ in rows(folder)["After"]} == {"PASS", "SKIP"}


def test_a_constructor_that_crashes_is_its_layers(check, specs, folder):
    crashing = """
import os
class Crashing(Scale):
    def __init__(self, D): os.abort()
CRASHING = LayerSpec(build=Crashing, inputs="B D")
"""
    specs("Scale", "Twice", more=crashing)
    assert check("mylayers.py", "--json", "out.json").status == 1
    assert rows(folder)["Crashing"] == {("run", "ERROR", "crashed the interpreter (SIGABRT)")}
    assert list(rows(folder)) == ["Scale", "Twice", "Crashing"]


@pytest.mark.parametrize("name", ["Faulty", "After"])
def test_a_name_chooses_one_layer_whatever_becomes_of_it(check, faulty, folder, name):
    faulty(forward="os.abort()")
    check(f"mylayers.py:{name}", "--json", "out.json")
    assert list(rows(folder)) == [name]


@pytest.mark.parametrize(
    ("source", "said"), [("while True: pass", "timed out"), ("import os; os.abort()", "crashed the interpreter")]
)
def test_a_file_that_never_loads_has_one_row(check, folder, source, said):
    (folder / "mylayers.py").write_text(source)
    assert check("mylayers.py", "--json", "out.json", "--timeout", "2").status == 4
    [(stage, outcome, reason)] = rows(folder)["mylayers.py"]
    assert (stage, outcome) == ("import", "ERROR")
    assert reason.startswith(said)


def test_a_layer_may_write_and_read_and_start_programs(check, faulty):
    faulty(forward="print('here'); sys.stdin.read(); os.system('true')")
    assert check("mylayers.py").status == 0


def test_what_a_layer_prints_does_not_bury_the_reports(faulty):
    faulty(forward="print('LOUD', x.shape)")
    command = [sys.executable, "-m", "harness", "check", "mylayers.py", "--examples", "2"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "LOUD" not in out
    said = [line.split()[:3] for line in out.splitlines() if " printed " in line]
    assert said == [["note:", "it", "printed"]]  # not of the layers beside it


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_no_process_is_left_behind(check, faulty, folder):
    faulty(forward="open('pids', 'a').write(f'{os.getpid()} {os.fork() or os.getpid()} ')\n        " + HANG)
    assert check("mylayers.py", "--timeout", "2").status == 4
    pids = set((folder / "pids").read_text().split())
    assert len(pids) >= 1
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [p for p in pids if alive(p)] == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_a_checker_that_is_killed_takes_its_child_along(faulty, folder):
    faulty(forward="open('pids', 'w').write(str(os.getpid()))\n        " + HANG)
    checker = subprocess.Popen([sys.executable, "-m", "harness", "check", "mylayers.py"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "pids").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    checker.kill()
    checker.wait()
    time.sleep(0.5)
    assert not alive(int((folder / "pids").read_text()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--timeout", "0"), "argument --timeout: 0 is no time that will pass: write seconds"),
        (("--timeout", "soon"), "argument --timeout: 'soon' is no number of seconds"),
        (("--memory", "0"), "argument --memory: 0 is less than 1"),
        (("--memory", "2G"), "argument --memory: '2G' is no whole number"),
    ],
)
def test_limits_that_can_not_be_held_are_usage_errors(check, specs, arguments, said):
    specs("Scale")
    answer = check("mylayers.py", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err


def test_the_help_says_that_it_is_no_sandbox(command):
    assert "no sandbox against hostile code" in " ".join(command("check", "--help").out.split())


def test_the_command_line_itself_loads_no_torch(specs):
    specs("Scale")
    code = "import sys; from harness.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "check", "mylayers.py", "--examples", "2", "--html", os.devnull]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_list_waits_for_no_layer_as_long_as_a_check(check, folder, monkeypatch):
    monkeypatch.setattr("harness.command.LISTING", 2)
    (folder / "plain.py").write_text(
        "class Hanging:\n"
        "    def forward(self, x):\n        while True: pass\n"
        "    def backward(self, dy):\n        return dy\n\n"
        "class Twice:\n"
        "    def forward(self, x):\n        return 2 * x\n"
        "    def backward(self, dy):\n        return 2 * dy\n"
    )
    begun = time.monotonic()
    answer = check("plain.py", "--list")
    assert time.monotonic() - begun < 60
    hanging, twice = answer.out.splitlines()
    assert "timed out after 2 s (for more time: --timeout SECONDS)" in hanging
    assert "--build" in twice
    assert "timed out after 3 s" in check("plain.py", "--list", "--timeout", "3").out
