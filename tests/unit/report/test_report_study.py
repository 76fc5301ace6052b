"""The study in report/results: its means lie where independent reference runs say, and its text is what it gives."""

from pathlib import Path

import pytest

import report
from report.document import all_tables, markdown
from report.results import read
from report.settings import Settings
from report.statistics import earlier

RESULTS = Path(report.__file__).parent / "results"

# Mean validation accuracy over 30 seeds with PyTorch's own modules, ± 3 standard errors of the difference of two such means.
BANDS = {"in_p0.0": (0.956, 0.024), "in_p0.2": (0.950, 0.023), "bn_p0.0": (0.952, 0.022), "bn_p0.2": (0.609, 0.047)}


@pytest.fixture(scope="module")
def study():
    return read(RESULTS)


def test_it_is_the_whole_study(study):
    stored = study.summary["settings"]
    expected = Settings().to_dict()
    assert {k: v for k, v in stored.items() if k not in ("dataset", "versions")} == {
        k: v for k, v in expected.items() if k != "versions"
    }


@pytest.mark.parametrize("name", BANDS)
def test_mean_validation_accuracy_lies_in_its_band(study, name):
    middle, width = BANDS[name]
    stat = study.summary["experiments"][name]["val_accuracy"]
    assert stat["n"] == 30
    assert stat["mean"] == pytest.approx(middle, abs=width)


@pytest.mark.parametrize("slower", ["bn_p0.0", "in_p0.2"])
def test_instance_norm_alone_is_the_first_to_arrive(study, slower):
    first, second = (study.summary["experiments"][n]["epochs_to_95"]["values"] for n in ("in_p0.0", slower))
    assert earlier(first, second) >= 27


def test_no_classifier_beats_the_best_possible(study):
    best = study.summary["settings"]["dataset"]["bayes_accuracy"]
    assert best == pytest.approx(0.977, abs=0.004)
    for measures in study.summary["experiments"].values():
        assert max(measures["test_accuracy"]["values"]) <= best


def test_everything_was_verified_and_no_seed_depends_on_another(study):
    assert {row["outcome"] for row in study.matrix} == {"PASS", "SKIP"}
    assert all(study.control["same"].values())


def test_the_report_is_what_the_results_give(study):
    figures = [path.name for path in RESULTS.glob("*.png")]
    assert len(figures) == 4
    assert (RESULTS / "report.md").read_text(encoding="utf-8") == markdown(study, figures)
    assert all_tables(study)
