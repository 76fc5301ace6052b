"""The command line as a user meets it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness_results import FAILURE

import report
from report.__main__ import main, parser
from report.command import settings_of

# tox keeps the working directory off sys.path
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(report.__file__).parent.parent)}
TINY = ["--seeds", "2", "--epochs", "2", "--jobs", "1"]


def settings(*arguments):
    return settings_of(parser().parse_args(arguments))


def test_defaults_are_the_study():
    s = settings()
    assert (s.seeds, s.epochs, s.seed0, s.device, s.quick, s.data) == (30, 1000, 0, "cpu", False, "generate_spiral")
    assert (s.width, s.batch, s.lr, s.dropout, s.examples, s.test_points) == (64, 32, 0.1, 0.2, 25, 10_000)
    assert s.run_seeds == list(range(30))
    assert parser().parse_args([]).out == Path("report-out")


def test_quick_changes_what_was_not_given():
    s = settings("--quick")
    assert s.quick
    assert s.seeds * s.epochs <= 200
    assert s.examples == 25
    assert settings("--quick", "--seeds", "9").seeds == 9
    assert settings("--quick", "--epochs", "7").epochs == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "argument --seeds: found '0', needs an integer of at least 1"),
        (["--epochs", "many"], "argument --epochs: found 'many', needs an integer of at least 1"),
        (["--seed0", "-1"], "argument --seed0: found '-1', needs an integer of at least 0"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["tables"], "the following arguments are required: DIR"),
    ],
)
def test_wrong_arguments_are_told_with_exit_code_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "abacus"], "--device abacus: torch cannot use it"),
        (["--data", "nowhere.npz"], "--data nowhere.npz: there is no such file"),
        (["--out", "/dev/null"], "--out /dev/null: cannot be written (File exists); give a directory that can"),
        (["tables", "nowhere"], "nowhere: there is no such directory; `python -m report --out nowhere` makes it"),
    ],
)
def test_what_cannot_be_used_is_told_with_exit_code_2(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("report: error: ")
    assert message in error
    assert os.listdir(tmp_path) == []


def test_without_the_harness_nothing_is_trained(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "harness", None)
    monkeypatch.setattr("report.command.conduct", None)
    assert main([*TINY, "--out", str(tmp_path)]) == 2
    assert "the verification matrix needs harness.check" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("stand_in")
def test_a_run_writes_everything_and_shows_the_tables(tmp_path, capsys):
    assert main([*TINY, "--out", str(tmp_path / "out")]) == 0
    written = capsys.readouterr()
    assert set(os.listdir(tmp_path / "out")) == {
        "results.sqlite",
        "summary.json", "curves.npz", "verification.json", "evidence.json", "timing.json", "report.md", "report.html", "tables.tex",
        "curves.png", "threshold.png", "paired.png", "boundaries.png",
    }  # fmt: skip
    assert "Q6: InstanceNorm, no Dropout − BatchNorm, no Dropout" in written.out
    assert "training: 100 %" in written.err
    assert "per step of one seed" in written.err


def test_a_layer_that_is_not_verified_is_exit_code_1(tmp_path, stand_in, capsys):
    stand_in.append(FAILURE)
    assert main([*TINY, "--out", str(tmp_path)]) == 1
    assert "not everything was verified" in capsys.readouterr().err
    assert "Tanh, `input_gradient`, eval: FAIL" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_full_disk_leaves_the_earlier_results(tmp_path, monkeypatch, capsys):
    assert main([*TINY, "--out", str(tmp_path)]) == 0
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main([*TINY, "--seed0", "1", "--out", str(tmp_path)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    after = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    assert after.pop("results.sqlite") != before.pop(
        "results.sqlite"
    )  # what was trained is kept, for when there is room
    assert after == before


@pytest.mark.usefixtures("stand_in")
def test_other_data_of_three_classes_in_three_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    np.savez(tmp_path / "points.npz", X=rng.normal(size=(120, 3)) + 3 * np.eye(3)[y], y=y)
    assert main([*TINY, "--data", str(tmp_path / "points.npz"), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "96 for training and 24 for validation" in text
    assert "no decision boundary to draw" in text


def test_the_command_line_starts_without_torch():
    code = "import sys, report.__main__; sys.exit(bool({'torch', 'matplotlib', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


def test_help_says_what_can_be_asked():
    shown = subprocess.run(
        [sys.executable, "-m", "report", "--help"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    for option in ("--seeds", "--epochs", "--out", "--seed0", "--device", "--quick", "--data", "--jobs", "tables DIR"):
        assert option in shown.stdout
