"""The command line: exit statuses, the last line, and what stands in the files that it was asked for."""

import csv
import json
import os
import re
import subprocess
import sys

import pytest

import harness.api
from harness import Outcome

COUNTS = re.compile(r"(\d+) PASS, (\d+) FAIL, (\d+) INCONCLUSIVE, (\d+) SKIP, (\d+) ERROR")


@pytest.mark.parametrize(
    ("layers", "status", "outcome"),
    [
        (["Scale"], 0, "PASS"),
        (["Twice"], 1, "FAIL"),
        (["Hidden"], 3, "INCONCLUSIVE"),
        (["Refusing"], 4, "ERROR"),
        (["Unbuildable"], 4, "ERROR"),
        (["Scale", "Hidden"], 3, "INCONCLUSIVE"),
        (["Scale", "Twice", "Hidden", "Refusing"], 1, "FAIL"),
        (["Scale", "Hidden", "Refusing"], 4, "ERROR"),
    ],
)
def test_the_status_tells_the_worst_and_the_last_line_counts_all(check, specs, layers, status, outcome):
    specs(*layers)
    answer = check("mylayers.py")
    assert answer.status == status
    counted = dict(zip((o.value for o in Outcome), map(int, COUNTS.fullmatch(answer.last).groups()), strict=True))
    assert counted[outcome] > 0
    assert sum(counted.values()) == len(layers) * len(harness.api.selected())
    assert [line.split(":")[0] for line in answer.out.splitlines() if line[:1].isupper()] == layers


def test_nothing_verified_is_not_success(check, specs):
    specs("Scale")
    answer = check("mylayers.py", "--only", "state")
    assert (answer.status, answer.last) == (3, "0 PASS, 0 FAIL, 0 INCONCLUSIVE, 1 SKIP, 0 ERROR")
    assert check("mylayers.py", "--only", "shapes").status == 0


@pytest.mark.parametrize("arguments", [(), ("check",), ("verify", "mylayers.py"), ("check", "mylayers.py", "--fast")])
def test_a_wrong_call_is_a_usage_error(command, specs, arguments):
    specs("Scale")
    answer = command(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert "usage: harness" in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--examples", "0"), "argument --examples: 0 is less than 1"),
        (("--examples", "few"), "argument --examples: 'few' is no whole number"),
        (("--seed", "1.5"), "argument --seed: '1.5' is no whole number"),
        (("--device", "nowhere"), "device 'nowhere' can't be used here"),
        (("--only", "shape"), "there is no check or group 'shape': did you mean 'shapes'? there are gradient,"),
        (("--exemples", "3"), "unrecognized arguments: --exemples 3; did you mean --examples?"),
        (("--only", "shapes", "--cvs", "out.csv"), "did you mean --csv?"),
        (("--zebra",), "unrecognized arguments: --zebra\n"),
        (("--skip", "gradients"), "there is no check or group 'gradients'"),
        (("--only", "shapes", "--skip", "contract"), "leave no check"),
    ],
)
def test_a_value_that_can_not_be_used_is_a_usage_error(command, specs, arguments, said):
    specs("Scale")
    answer = command("check", "mylayers.py", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_only_and_skip_choose_checks_and_groups(check, specs):
    specs("Twice")
    assert check("mylayers.py", "--only", "input_gradient,contract").status == 0
    assert check("mylayers.py", "--only", "parameter_gradient").status == 1
    assert check("mylayers.py", "--skip", "parameter_gradient", "autograd", "single_example").status == 0
    assert check("mylayers.py", "--skip", "contract").status == 1


def test_an_error_of_the_harness_itself_is_one_layers_and_told(check, specs):
    breaking = """
import harness.processes.worker
real = harness.processes.worker.check

def broken(spec, *arguments, **keywords):
    if spec is SCALE:
        raise ZeroDivisionError("in the judge")
    return real(spec, *arguments, **keywords)

harness.processes.worker.check = broken
"""
    specs("Scale", "Switched", more=breaking)
    answer = check("mylayers.py")
    assert answer.status == 4
    assert "ZeroDivisionError: in the judge" in answer.err
    assert "Switched: verified" in answer.out
    assert answer.last.endswith("1 ERROR")


@pytest.mark.parametrize("place", ["__init__", "forward"])
def test_a_layer_that_ends_the_program_is_not_verified(check, specs, place):
    leaving = f"""
class Leaving(Scale):
    def {place}(self, D): raise SystemExit(0)
LEAVING = LayerSpec(build=Leaving, inputs="B D")
"""
    specs(more=leaving)
    answer = check("mylayers.py")
    assert answer.status == 4
    assert "SystemExit: 0" in answer.out + answer.err


# What is written


def written(check, folder, seed):
    status = check("mylayers.py", "--json", "out.json", "--seed", seed).status
    return status, (folder / "out.json").read_bytes()


def test_json_has_every_result(check, specs, folder):
    specs("Scale", "Twice")
    status, raw = written(check, folder, "0")
    data = json.loads(raw)
    assert (status, data["schema"]) == (1, 1)
    assert [(r["layer"], r["ok"], r["schema"]) for r in data["reports"]] == [("Scale", True, 1), ("Twice", False, 1)]
    results = [r for report in data["reports"] for r in report["results"]]
    assert len(results) == 2 * len(harness.api.selected())
    wrong = next(r for r in results if (r["layer"], r["check"]) == ("Twice", "parameter_gradient"))
    assert wrong["outcome"] == "FAIL"
    assert wrong["finding"]["tensor"] == "w"
    assert wrong["finding"]["analytic"] == pytest.approx(2 * wrong["finding"]["expected"])
    assert str(folder) not in raw.decode()
    assert not re.search(r"0x[0-9a-f]{6,}", raw.decode())


def test_one_seed_gives_one_json_and_another_seed_another(check, specs, folder):
    specs("Scale", "Twice", "Hidden", "Refusing", "Switched")
    first = written(check, folder, "3")
    assert written(check, folder, "3") == first
    assert written(check, folder, "4") != first


def test_one_seed_gives_one_json_in_another_process(check, specs, folder):
    specs("Scale", "Twice")
    _, first = written(check, folder, "3")
    command = [sys.executable, "-m", "harness", "check", "mylayers.py", "--json", "again.json", "--seed", "3"]
    done = subprocess.run([*command, "--examples", "2"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert (folder / "again.json").read_bytes() == first


def test_a_run_writes_no_file_that_was_not_asked_for(check, specs, folder):
    specs("Twice")
    before = sorted(p.name for p in folder.iterdir())
    assert check("mylayers.py").status == 1
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == before


def table(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_csv_has_a_row_for_every_result(check, specs, folder):
    specs("Scale", "Twice", "Switched")
    assert check("mylayers.py", "--csv", "out.csv").status == 1
    rows = table(folder / "out.csv")
    assert len(rows) == 4 * len(harness.api.selected())
    assert list(rows[0]) == ["target", "layer", "check", "mode", "outcome", "examples", "tensors", "reason"]
    wrong = next(r for r in rows if (r["layer"], r["check"]) == ("Twice", "parameter_gradient"))
    assert (wrong["target"], wrong["outcome"], wrong["examples"]) == ("mylayers.py", "FAIL", "2")
    assert wrong["reason"].startswith("w: ")
    assert {r["mode"] for r in rows if r["layer"] == "Switched"} == {"train", "eval"}


def test_several_targets_have_their_reports_one_after_the_other(check, specs, folder):
    specs("Scale")
    (folder / "others.py").write_text((folder / "mylayers.py").read_text().replace("Scale", "Twice"))
    answer = check("mylayers.py", "others.py", "--json", "out.json", "--csv", "out.csv")
    assert answer.status == 1
    assert re.findall(r"^\w+\.py: \w+: \w+", answer.out, re.MULTILINE) == [
        "mylayers.py: Scale: verified",
        "others.py: Twice: WRONG",
    ]
    data = json.loads((folder / "out.json").read_text())
    assert [(r["target"], r["layer"]) for r in data["reports"]] == [("mylayers.py", "Scale"), ("others.py", "Twice")]
    assert {r["target"] for r in table(folder / "out.csv")} == {"mylayers.py", "others.py"}


def test_of_several_targets_one_that_can_not_be_used_costs_no_other_its_results(check, specs, folder):
    specs("Scale")
    (folder / "broken.py").write_text("1 / 0")
    answer = check("broken.py", "nowhere.py", "mylayers.py", "--csv", "out.csv", "--only", "shapes")
    assert answer.status == 4
    assert [(r["target"], r["outcome"], r["reason"]) for r in table(folder / "out.csv")] == [
        ("broken.py", "ERROR", "importing broken.py failed: ZeroDivisionError: division by zero"),
        ("nowhere.py", "ERROR", "there is no file nowhere.py"),
        ("mylayers.py", "PASS", ""),
    ]
    answer = check("broken.py", "mylayers.py", "--only", "shape")
    assert (answer.status, answer.out) == (2, "")


def test_a_list_checks_nothing(check, specs, folder):
    specs("Scale", "Twice", "Refusing")
    answer = check("mylayers.py", "--list")
    assert answer.status == 0
    assert [line.split()[1] for line in answer.out.splitlines()] == ["Scale", "Twice", "Refusing"]
    assert answer.out.splitlines()[1].split(maxsplit=2)[2] == "LayerSpec(build=Twice, inputs='B D')"


def test_html_is_self_contained_and_escaped(check, specs, folder):
    more = 'NAMED = LayerSpec(build=Refusing, inputs="B D", name="<b>&bold")\n'
    specs("Twice", more=more)
    (folder / "sample_layers.py").write_text(
        (folder / "sample_layers.py").read_text().replace("no batch is", "<script>alert(1)</script> is")
    )
    assert check("mylayers.py", "--html", "out.html").status == 1
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert not re.search(r"https?:|src=|href=|@import|url\(", page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;&amp;bold" in page
    assert "<b>&bold" not in page
    assert "Twice: WRONG" in page
    assert str(folder) not in page


@pytest.mark.parametrize("option", ["--json", "--csv", "--html"])
@pytest.mark.parametrize(("path", "said"), [("nowhere/out", "there is no folder nowhere"), (".", "it is a folder")])
def test_an_output_that_can_not_be_written_is_told_before_the_work(check, specs, folder, option, path, said):
    specs("Scale")
    answer = check("mylayers.py", option, path)
    assert (answer.status, answer.out) == (2, "")
    assert f"can't write {path}: {said}" in answer.err


@pytest.mark.parametrize("option", ["--json", "--csv", "--html"])
def test_an_output_that_breaks_off_leaves_the_old_one(check, specs, folder, option, monkeypatch):
    specs("Scale")
    (folder / "out").write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    answer = check("mylayers.py", option, "out")
    assert answer.status == 2
    assert "can't write out: No space left on device" in answer.err
    assert (folder / "out").read_text() == "old"
    assert [p.name for p in folder.iterdir() if ".out" in p.name] == []
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert check("mylayers.py", option, "out").status == 0
    assert (folder / "out").read_text() != "old"


def test_an_output_may_be_a_link_or_a_device(check, specs, folder):
    specs("Scale")
    (folder / "link").symlink_to("real")
    (folder / "real").write_text("old")
    assert check("mylayers.py", "--json", "link", "--html", "/dev/null").status == 0
    assert (folder / "link").is_symlink()
    assert json.loads((folder / "real").read_text())["schema"] == 1


# As a program


@pytest.mark.parametrize(("layer", "status"), [("Scale", 0), ("Twice", 1)])
def test_python_m_runs_it_from_the_working_directory(specs, folder, layer, status):
    specs(layer)
    command = [sys.executable, "-W", "error", "-m", "harness", "check", "mylayers", "--examples", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    assert COUNTS.fullmatch(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("factor", [1, 2])
def test_python_m_runs_beside_files_named_like_python_s_own_modules(folder, factor):
    layer = "class Layer:\n    def forward(self, x): return 3 * x\n    def backward(self, v): return FACTOR * 3 * v\n"
    for name in ("random", "copy", "tempfile", "dataclasses"):
        (folder / f"{name}.py").write_text(layer.replace("FACTOR", str(factor)))
    command = [sys.executable, "-m", "harness", "check", "random.py", "--examples", "2", "--only", "input_gradient"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (factor - 1, "")


@pytest.mark.parametrize("factor", [1, 2])
def test_the_command_runs_beside_a_file_that_stops_python_m(folder, tmp_path_factory, factor):
    layer = "class Layer:\n    def forward(self, x): return 3 * x\n    def backward(self, v): return FACTOR * 3 * v\n"
    (folder / "types.py").write_text(layer.replace("FACTOR", str(factor)))
    script = tmp_path_factory.mktemp("bin") / "harness"  # as pip writes it
    script.write_text("import sys\nfrom harness.cli import main\nsys.exit(main())\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    for start in ([script], ["-P", "-m", "harness"]):
        command = [sys.executable, *start, "check", "types.py", "--examples", "2", "--only", "input_gradient"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (factor - 1, "")


@pytest.mark.parametrize("option", ["--only", "--skip"])
def test_a_file_after_the_names_of_checks_is_the_target(check, specs, option):
    specs("Scale")
    first = check("mylayers.py:Scale", option, "shapes", "repeatable")
    assert first.last[0] != "0"
    assert check(option, "shapes", "repeatable", "mylayers.py:Scale") == first


def test_a_target_that_an_option_took_is_told(check, specs):
    specs("Scale")
    answer = check("--only", "shapes", "mylayers")
    assert answer.status == 2
    assert "required: target; --only, --skip, --inputs take every word that follows" in answer.err
    assert check("mylayers", "--only", "shapes").err == ""


WARNING = """
import warnings
import numpy as np
np.log(np.zeros(1))
class Norm:
    def forward(self, x):
        self.s = 1 / np.sqrt(x.var(0) + 1e-5)
        self.xh = (x - x.mean(0)) * self.s
        if OWN: warnings.warn("mine", UserWarning)
        return self.xh
    def backward(self, d):
        return self.s * (d - d.mean(0) - self.xh * (d * self.xh).mean(0))
"""


@pytest.mark.parametrize("own", [False, True])
def test_warnings_of_what_the_harness_provokes_are_not_shown_and_all_others_are(specs, folder, own):
    (folder / "warning.py").write_text(WARNING.replace("OWN", str(own)))
    words = [sys.executable, "-m", "harness", "check", "warning.py", "--examples", "2", "--only", "input"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert "Mean of empty slice" not in done.stderr
    assert "Degrees of freedom" not in done.stderr
    assert "divide by zero encountered in log" in done.stderr
    assert ("mine" in done.stderr) is own


SQUARES = """
import numpy as np

def square_loss(x, t):
    d = x - t
    return np.sum(d * d), {factor} * d
"""


@pytest.mark.parametrize(("factor", "status"), [(2.0, 0), (1.0, 1)])
def test_a_function_that_gives_loss_and_gradient_is_found_and_can_be_named(check, tmp_path, factor, status):
    (tmp_path / "losses.py").write_text(SQUARES.replace("{factor}", str(factor)), encoding="utf-8")
    answer = check("losses.py")
    assert answer.status == status
    assert "--build 'value_and_grad(square_loss)'" in answer.out
    named = check("losses.py:square_loss", "--build", "value_and_grad(square_loss)", "--inputs", "B D", "B D")
    assert named.status == status


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mylayers.py",), "; write: harness check mylayers.py\n"),
        (("chek", "mylayers.py"), "; did you mean check?\n"),
    ],
)
def test_a_command_that_is_not_there_is_told_what_to_write(command, arguments, said):
    answer = command(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.endswith(said)
