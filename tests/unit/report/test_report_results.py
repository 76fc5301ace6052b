"""summary.json and the files beside it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from report.command import conduct_and_save
from report.errors import UsageError
from report.progress import Lines
from report.results import read
from report.settings import COMPARISONS, EXPERIMENTS, EXPLORATIONS, Settings
from report.statistics import describe, paired
from report.study import Inline, conduct, pool
from report.summary import MEASURES

SMALL = Settings(seeds=2, epochs=2, test_points=100)


def test_the_summary_has_the_promised_form(finished):
    content = json.loads((finished / "summary.json").read_text())
    assert list(content) == ["settings", "experiments", "paired"]
    assert list(content["experiments"]) == ["in_p0.0", "in_p0.2", "bn_p0.0", "bn_p0.2"]
    promised = {"train_accuracy", "val_accuracy", "test_accuracy", "train_loss", "val_loss", "epochs_to_95"}
    for part in (content["experiments"], content["paired"]):
        for measures in part.values():
            assert promised <= measures.keys()
            for stat in measures.values():
                assert list(stat) == ["mean", "sd", "ci95", "n", "values"]
                assert len(stat["ci95"]) == 2
                assert len(stat["values"]) == 3
    assert content["settings"]["seeds"] == 3
    assert content["settings"]["dataset"] == {
        "points": 300, "features": 2, "classes": 2, "train": 240, "validation": 60, "test": 200,
        "bayes_accuracy": pytest.approx(0.977, abs=0.03),
    }  # fmt: skip


def test_every_statistic_follows_from_its_values(stored):
    experiments = stored.summary["experiments"]
    for measures in experiments.values():
        assert all(stat == describe(stat["values"]) for stat in measures.values())
    for c in COMPARISONS:
        for m in MEASURES:
            a, b = (experiments[e.name][m]["values"] for e in (c.first, c.second))
            assert stored.summary["paired"][c.name][m] == paired(a, b)


def test_a_run_that_never_gets_there_has_null(stored):
    stat = stored.summary["experiments"]["bn_p0.2"]["epochs_to_95"]
    assert stat == {"mean": None, "sd": None, "ci95": [None, None], "n": 0, "values": [None, None, None]}


def test_the_last_point_of_the_curves_is_the_final_measure(stored):
    for e in EXPERIMENTS:
        for measure in ("train_accuracy", "val_accuracy", "train_loss", "val_loss"):
            curve = stored.arrays[f"{e.name}.{measure}"]
            assert curve.shape == (3, 12)
            final = stored.summary["experiments"][e.name][measure]["values"]
            assert curve[:, -1].tolist() == np.float32(final).tolist()
        assert (stored.arrays[f"{e.name}.votes"].sum(0) == 3).all()


def test_the_control_is_recorded(stored):
    assert stored.control == {"seed": 1, "epochs": 3, "same": {e.name: True for e in EXPERIMENTS}}


@pytest.mark.usefixtures("stand_in")
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    files = ("summary.json", "curves.npz", "verification.json")
    for name, settings in (("a", SMALL), ("b", SMALL), ("c", replace(SMALL, seed0=5))):
        conduct_and_save(settings, tmp_path / name, 1)
    a, b, c = ([(tmp_path / d / f).read_bytes() for f in files] for d in "abc")
    assert a == b
    assert all(x != y for x, y in zip(a, c, strict=True))
    first, other = (json.loads(x[0])["experiments"]["in_p0.0"]["train_loss"]["values"] for x in (a, c))
    assert not set(first) & set(other)


def test_seeds_are_the_same_however_many_there_are(finished, stored, tmp_path, stand_in):
    conduct_and_save(Settings(seeds=1, epochs=12, test_points=200, seed0=2), tmp_path, 1)
    alone = read(tmp_path)
    assert alone.control["seed"] is None
    for name, measures in alone.summary["experiments"].items():
        assert all(
            stat["values"][0] == stored.summary["experiments"][name][m]["values"][2] for m, stat in measures.items()
        )


def test_processes_change_nothing_and_report_progress():
    from report.dataset import load

    dataset, told = load(SMALL), []
    with pool(2, told.append) as (executor, progress):
        spread = conduct(SMALL, dataset, executor, progress)
    here = conduct(SMALL, dataset, Inline(), lambda n: None)
    for name, outcome in here.items():
        assert outcome.values == spread[name].values
        assert outcome.alone is spread[name].alone
        assert all(np.array_equal(outcome.curves[c], spread[name].curves[c]) for c in outcome.curves)
    explored = sum(2 * 2 * e.longer for e in EXPLORATIONS)
    assert sum(told) == 4 * 2 * 2 + 4 + explored  # every epoch of every seed, and one of each control


def test_progress_off_a_terminal_is_a_line_for_each_tenth(capsys):
    import sys

    lines = Lines(40, "training", sys.stderr)
    for _ in range(40):
        lines.update(1)
    assert capsys.readouterr().err.splitlines() == [f"training: {10 * i} %" for i in range(1, 11)]


def test_files_of_other_settings_are_not_mixed(finished, tmp_path, stand_in):
    for name in ("curves.npz", "verification.json", "evidence.json"):
        directory = tmp_path / name
        conduct_and_save(SMALL, directory, 1)
        shutil.copy(finished / name, directory)
        with pytest.raises(UsageError, match=f"{name}: comes from a run with other settings than summary.json"):
            read(directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is not a summary of this report (found list)"),
        ("{}", "'settings' lacks seeds, epochs, dataset"),
        ('{"settings": {"seeds": 1, "epochs": 1, "dataset": {}}}', "'experiments' lacks in_p0.0, in_p0.2"),
        ("{", "cannot be read as JSON"),
    ],
)
def test_a_summary_of_another_form_is_told(tmp_path, content, message):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read(tmp_path)
    assert message in str(caught.value)
