"""What a reader sees: every number is the summary's, every sentence depends on what was measured."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
from harness_results import FAILURE, RESULTS

from report import causes, evidence, findings
from report.__main__ import main
from report.document import all_tables, console, latex, markdown
from report.figures import all_figures
from report.findings import Q6, Q7, Q7_BN, Reader
from report.results import Stored, read
from report.settings import BN, COMPARISONS, EXPERIMENTS, EXPLORATIONS, IN, IN_DROPOUT, LONGER
from report.statistics import describe, paired
from report.summary import MEASURES
from report.verification import rows

FIGURES = ["curves.png", "threshold.png", "paired.png", "boundaries.png"]


def changed(stored, **values):
    """The same results with other values: IN__val_accuracy=[…] for the experiment named IN."""
    summary = copy.deepcopy(stored.summary)
    named = {"IN": IN, "IN_DROPOUT": IN_DROPOUT, "BN": BN, "BN_DROPOUT": EXPERIMENTS[3]}
    for key, of_seeds in values.items():
        name, measure = key.split("__")
        summary["experiments"][named[name].name][measure] = describe(of_seeds)
    for c in COMPARISONS:
        for m in MEASURES:
            a, b = (summary["experiments"][e.name][m]["values"] for e in (c.first, c.second))
            summary["paired"][c.name][m] = paired(a, b)
    return Stored(summary, stored.arrays, stored.matrix, stored.control)


def reader(stored, **values):
    return Reader(changed(stored, **values).summary, stored.arrays)


def test_tables_rewrites_the_same_files_without_training(finished, tmp_path, monkeypatch, capsys):
    directory = tmp_path / "out"
    shutil.copytree(finished, directory)
    monkeypatch.setattr("report.runs.train", None)
    written = []
    for _ in range(2):
        assert main(["tables", str(directory)]) == 0
        written.append({name: (directory / name).read_bytes() for name in [*FIGURES, "report.md"]})
        for name in written[-1]:
            (directory / name).unlink()
    assert written[0] == written[1]
    assert written[0]["report.md"].decode() == markdown(read(finished), FIGURES)
    assert "All four models" in capsys.readouterr().out
    assert (directory / "summary.json").read_bytes() == (finished / "summary.json").read_bytes()


def test_a_changed_value_changes_the_text(finished, tmp_path):
    directory = tmp_path / "out"
    shutil.copytree(finished, directory)
    content = json.loads((directory / "summary.json").read_text())
    content["experiments"]["in_p0.2"]["train_accuracy"]["mean"] = 0.12345
    (directory / "summary.json").write_text(json.dumps(content))
    assert main(["tables", str(directory)]) == 0
    text = (directory / "report.md").read_text()
    assert text.count("0.123 ±") >= 5  # short answer, overview, Q5's sentence and table, the tables of Q6 and Q7


def test_every_measured_number_of_the_text_follows_the_summary(stored):
    """With all measures moved to values met nowhere else, none of the old three-decimal numbers is left."""
    text = markdown(stored, FIGURES)
    values = {
        f"{name}__{measure}": [i + 10.0 * j + d for d in (0.0071, 0.0089, 0.0093)]
        for i, name in enumerate(("IN", "IN_DROPOUT", "BN", "BN_DROPOUT"), 2)
        for j, measure in enumerate(MEASURES, 3)
        if measure != "epochs_to_95"
    }
    moved = changed(stored, **values)
    arrays = {n: a + 100 if n.endswith("_loss") else a for n, a in stored.arrays.items()}
    moved.summary["settings"]["dataset"]["bayes_accuracy"] = 77.7772
    other = markdown(Stored(moved.summary, arrays, stored.matrix, stored.control), FIGURES)
    constants = {"0.05", "1.000", "0.001"}  # a corrected p, and the spread of the values above
    before, after = (set(re.findall(r"-?\d+\.\d{3}\b", t)) - constants for t in (text, other))
    assert len(before) > 60
    assert not (before - {"0.000"}) & after


def test_the_text_says_what_was_assumed_and_run(stored):
    text = markdown(stored, FIGURES)
    for said in (
        "names the signature",
        "but not its body. Assumed here: t = linspace(0, 1, n), radius t",
        "`--data FILE.npz` or `--data module:function` puts other data in its place",
        "asks for Dropout without giving p: 0.2 is used",
        "3 seeds from 0 up",
        "12 epochs",
        "seed 1 was trained once more alone for 3 epochs with each model",
        "the same bits at every recorded epoch",
    ):
        assert said in text
    assert "quick" not in text


def test_a_quick_run_says_so(stored):
    stored.summary["settings"]["quick"] = True
    text = markdown(stored, FIGURES)
    assert "**A quick run**: 3 seeds of 12 epochs" in text
    assert "its numbers are not the study's" in text
    assert "`python -m report --seeds 3 --epochs 12 --seed0 0 --device cpu --quick`" in text


def test_every_figure_is_shown_with_a_text_alternative(stored):
    made = all_figures(stored.summary, stored.arrays)
    text = markdown(stored, list(made))
    assert list(made) == FIGURES
    for name, content in made.items():
        assert content.startswith(b"\x89PNG")
        assert 5_000 < len(content) < 500_000
        assert re.search(rf"!\[[^\]]{{20,}}\]\({name}\)", text)


def test_points_that_are_not_planar_have_no_map(stored):
    arrays = {name: a for name, a in stored.arrays.items() if not name.endswith(".votes")}
    made = all_figures(stored.summary, arrays)
    assert "boundaries.png" not in made
    text = markdown(Stored(stored.summary, arrays, stored.matrix, stored.control), list(made))
    assert "no decision boundary to draw" in text
    assert "boundaries.png" not in text


def test_three_classes_can_be_drawn(stored):
    arrays = dict(stored.arrays)
    arrays["y"] = np.arange(300) % 3
    for e in EXPERIMENTS:
        votes = arrays[f"{e.name}.votes"]
        arrays[f"{e.name}.votes"] = np.concatenate([votes, votes[:1]])
    assert "boundaries.png" in all_figures(stored.summary, arrays)


def test_a_failed_check_is_named_with_its_reason(stored):
    text = markdown(Stored(stored.summary, stored.arrays, rows([*RESULTS, FAILURE]), stored.control), FIGURES)
    assert "1 FAIL, 5 PASS, 2 SKIP" in text
    assert "- Tanh, `input_gradient`, eval: FAIL. 3 of 8 entries are out" in text


def test_a_seed_that_depends_on_its_neighbours_is_named(stored):
    control = stored.control | {"same": stored.control["same"] | {"bn_p0.0": False}}
    text = markdown(Stored(stored.summary, stored.arrays, stored.matrix, control), FIGURES)
    assert "**its learning curves differ for BatchNorm, no Dropout**" in text


def test_the_console_shows_every_table(stored):
    shown = console(stored)
    assert all(title in shown for title in all_tables(stored))
    assert "|" not in shown


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([0.9, 0.91, 0.92], [0.5, 0.52, 0.51], "InstanceNorm without Dropout classifies better than BatchNorm"),
        ([0.5, 0.52, 0.51], [0.9, 0.91, 0.92], "InstanceNorm without Dropout classifies worse than BatchNorm"),
        ([0.5, 0.9, 0.7], [0.9, 0.5, 0.7], "No difference in accuracy between InstanceNorm without Dropout and"),
    ],
)
def test_which_model_is_better_depends_on_the_interval(stored, first, second, said):
    text = findings.accuracy(reader(stored, IN__test_accuracy=first, BN__test_accuracy=second), Q6)
    assert text.startswith(said)


def test_speed_counts_every_seed(stored):
    text = findings.speed(reader(stored, IN__epochs_to_95=[10, 20, None], BN__epochs_to_95=[40, 15, None]), Q6)
    assert "InstanceNorm without Dropout reached validation accuracy .95 at median epoch 20 (2 of 3 runs)" in text
    assert "BatchNorm without Dropout reached validation accuracy .95 at median epoch 40" in text
    assert "earlier in 1 of 3 seeds, later in 1. The medians stand 2.0 to 1." in text


def test_speed_has_no_ratio_where_a_median_run_never_arrives(stored):
    text = findings.speed(reader(stored, IN__epochs_to_95=[10, 20, 30], BN__epochs_to_95=[None, None, 40]), Q6)
    assert "did not reach validation accuracy .95 in the median run (1 of 3 runs did)" in text
    assert "earlier in 3 of 3 seeds" in text
    assert "medians" not in text


def test_the_gap_is_compared_seed_by_seed(stored):
    same = {"IN__train_accuracy": [0.9, 0.91, 0.92], "IN_DROPOUT__train_accuracy": [0.9, 0.91, 0.92]}
    narrow = reader(stored, **same, IN__val_accuracy=[0.8, 0.81, 0.83], IN_DROPOUT__val_accuracy=[0.89, 0.9, 0.92])
    assert findings.gap(narrow).startswith("Dropout narrows")
    wide = reader(stored, **same, IN__val_accuracy=[0.89, 0.9, 0.92], IN_DROPOUT__val_accuracy=[0.8, 0.81, 0.83])
    assert findings.gap(wide).startswith("Dropout widens")
    level = reader(stored, **same, IN__val_accuracy=[0.8, 0.9, 0.85], IN_DROPOUT__val_accuracy=[0.9, 0.8, 0.85])
    assert "was not resolved" in findings.gap(level)


def test_undertraining_is_claimed_only_where_training_points_suffer(stored):
    less = reader(stored, BN__train_accuracy=[0.96, 0.97, 0.96], BN_DROPOUT__train_accuracy=[0.6, 0.62, 0.61])
    assert "it fits too little, not too closely" in findings.undertraining(less)
    assert findings.accuracy(less, Q7_BN)
    assert "the two together" in causes.batch_norm_with_dropout(less)
    level = reader(stored, BN__train_accuracy=[0.9, 0.5, 0.7], BN_DROPOUT__train_accuracy=[0.5, 0.9, 0.7])
    assert "did not lower the accuracy on the training points beyond doubt" in findings.undertraining(level)
    assert "no loss to explain" in causes.batch_norm_with_dropout(level)


def test_masks_are_not_cleared_where_both_norms_lose_alike(stored):
    alike = {f"{n}__train_accuracy": [0.96, 0.97, 0.96] for n in ("IN", "BN")}
    alike |= {f"{n}_DROPOUT__train_accuracy": [0.6, 0.62, 0.61] for n in ("IN", "BN")}
    assert "a loss of like size" in causes.batch_norm_with_dropout(reader(stored, **alike))


def test_causes_are_only_given_for_what_was_seen_and_marked(stored):
    faster = reader(stored, IN__epochs_to_95=[1, 2, 3], BN__epochs_to_95=[7, 8, 9], IN_DROPOUT__epochs_to_95=[4, 5, 6])
    slower = reader(stored, IN__epochs_to_95=[7, 8, 9], BN__epochs_to_95=[1, 2, 3], IN_DROPOUT__epochs_to_95=[4, 5, 6])
    for cause in (causes.norms, causes.instance_norm_with_dropout):
        assert cause(faster).startswith("*Why (not isolated by this run).*")
        assert cause(slower).endswith("to explain.")


def test_spread_between_runs_is_described(stored):
    r = reader(stored, IN__test_accuracy=[0.5, 0.9, 0.7], IN_DROPOUT__test_accuracy=[0.8, 0.82, 0.81])
    assert "closer together: the sd of the test accuracy over seeds is 0.010 against 0.200" in findings.calm(r)
    assert "the worst run 0.800 against 0.500" in findings.calm(r)


def test_without_fresh_points_validation_stands_in(stored):
    none = {
        f"{n}__test_{m}": [None] * 3 for n in ("IN", "IN_DROPOUT", "BN", "BN_DROPOUT") for m in ("accuracy", "loss")
    }
    without = changed(stored, **none)
    without.summary["settings"]["dataset"].update(test=0, bayes_accuracy=None)
    without.summary["settings"]["data"] = "points.npz"
    made = all_figures(without.summary, without.arrays)
    text = markdown(without, list(made))
    assert "The data come from `--data points.npz`, in place of the built-in spiral; there are no fresh points" in text
    assert "validation accuracy" in findings.accuracy(Reader(without.summary, without.arrays), Q7)
    assert "best possible" not in text


def test_latex_tables_are_those_of_the_page(stored):
    text = latex(stored)
    assert text.count("\\begin{tabular}") == text.count("\\bottomrule") == len(all_tables(stored))
    assert "input\\_gradient" in text


def test_evidence_is_beside_each_claim_and_marked(stored):
    text = markdown(stored, FIGURES)
    section = text.split("## What tells the causes apart")[1].split("\n## ")[0]
    assert "*Exploratory: 3 seeds, looked at after the fact" in section
    assert "in evaluation the second BatchNorm sees" in section
    assert "was not isolated" in section
    for e in EXPLORATIONS:
        assert e.title in section


def test_the_verdict_on_the_shift_and_on_time_follows_the_numbers(stored):
    def explored(reestimated, longer):
        values = {e.name: {"test_accuracy": [0.96, 0.95, 0.96]} for e in (IN, BN)}
        values["bn_p0.2"] = {"test_accuracy": [0.66, 0.65, 0.67], "reestimated_test_accuracy": reestimated}
        values["bn_p0.2"] |= {"variance_shift_1": [1.0] * 3, "variance_shift_2": [0.8, 0.82, 0.81]}
        values[LONGER.name] = {"test_accuracy": longer}
        return evidence.Explored(values, 3)

    low, high = explored([0.66, 0.66, 0.66], [0.7, 0.71, 0.7]), explored([0.95, 0.94, 0.95], [0.95, 0.95, 0.94])
    assert evidence.variance_shift(low).endswith("The shift is not what costs the accuracy.")
    assert "of 0.297 that Dropout cost. The shift accounts for a part" in evidence.variance_shift(high)
    assert "most of the distance stays" in evidence.undertrained(low)
    assert "most of the distance closes" in evidence.undertrained(high)
