import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from harness_results import FAILURE, RESULTS, result

from report import tables, verification
from report.document import markdown
from report.errors import UsageError
from report.verification import counts, peers, rows, specs, verified, verify


def test_a_row_keeps_the_coarsest_resolution():
    row = rows(RESULTS)[1]
    assert row == {
        "layer": "Linear",
        "check": "parameter_gradient",
        "mode": None,
        "outcome": "PASS",
        "resolution": 3e-12,
        "reason": "",
    }
    assert rows(RESULTS)[2]["resolution"] is None


def test_only_passes_and_skips_are_verified():
    good = rows(RESULTS)
    assert verified(good)
    assert counts(good) == {"FAIL": 0, "ERROR": 0, "INCONCLUSIVE": 0, "PASS": 5, "SKIP": 2}
    for outcome in ("FAIL", "ERROR", "INCONCLUSIVE"):
        assert not verified([*good, good[0] | {"outcome": outcome}])
    assert not verified([row for row in good if row["outcome"] == "SKIP"])
    assert not verified([])


def test_the_matrix_has_a_row_for_each_layer_and_a_column_for_each_check():
    table = tables.verification(rows([*RESULTS, FAILURE]))
    assert list(table.headers) == ["layer", "`input_gradient`", "`parameter_gradient`", "`mask`"]
    assert table.rows == [
        ["Linear", "pass 2e-12", "pass 3e-12", "skip"],
        ["Dropout", "pass 6e-12", "–", "pass"],
        ["Tanh", "FAIL (eval)", "–", "–"],
    ]


def test_every_spec_is_checked_with_the_same_examples_and_seed(monkeypatch):
    asked = []

    def check(spec, **options):
        asked.append((spec, options))
        return SimpleNamespace(results=RESULTS[:2])

    monkeypatch.setattr(verification, "checker", lambda: check)
    monkeypatch.setattr(verification, "specs", lambda: ["a", "b"])
    assert verify(7, 3) == rows(RESULTS[:2] * 2)
    assert asked == [("a", {"examples": 7, "seed": 3}), ("b", {"examples": 7, "seed": 3})]


def test_without_the_harness_there_is_no_report(monkeypatch):
    monkeypatch.setitem(sys.modules, "harness", None)
    with pytest.raises(UsageError, match=r"needs harness\.check, which cannot be imported"):
        verification.checker()


def written(tmp_path, monkeypatch, text):
    monkeypatch.setattr(verification, "SPECS", tmp_path / "specs.py")
    if text is not None:
        (tmp_path / "specs.py").write_text(text)


def test_specs_are_the_list_of_the_file(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, "SPECS = [1, 2]")
    assert specs() == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("OTHERS = []", "has no attribute 'SPECS'"),
        ("SPECS = []", "is empty"),
    ],
)
def test_without_specs_there_is_no_report(tmp_path, monkeypatch, text, message):
    written(tmp_path, monkeypatch, text)
    with pytest.raises(UsageError) as caught:
        specs()
    assert "the verification matrix needs" in str(caught.value)
    assert message in str(caught.value)


def test_a_tensor_without_a_resolution_is_no_number_in_a_file():
    found = rows([result("Tanh", "input_gradient", "eval", "FAIL", {"z": float("inf"), "w": 2e-9})])
    assert found[0]["resolution"] == 2e-9
    assert rows([result("Tanh", "float16", "eval", "FAIL", {"z": float("inf")})])[0]["resolution"] is None


FOUND = {
    "setting": {"device": "one"},
    "detection": {"found": {"public": 90, "fast": 66}, "tried": {"public": 100, "fast": 99}},
    "summary": [
        {"size": "16x32", "peer": "fast", "ours": "core", "geomean": 2.345, "worst": 1.2, "worst_layer": "Tanh"}
    ],
}


def test_peers_are_read_from_the_benchmarks_own_results(tmp_path):
    path = tmp_path / "checkers.json"
    assert peers(path) is None
    for other in ("{", "[]", "{}", json.dumps(FOUND | {"summary": [{}]})):
        path.write_text(other)
        assert peers(path) is None
    path.write_text(json.dumps(FOUND))
    read = peers(path)
    assert tables.detection(read).rows == [["harness", "90/100", "0.900"], ["PyTorch, fast", "66/99", "0.667"]]
    assert tables.times(read).rows == [["PyTorch, fast", "16x32", "2.35", "1.20 (Tanh)"]]


def test_peers_stand_in_the_report_where_they_were_measured(stored, tmp_path):
    path = tmp_path / "checkers.json"
    path.write_text(json.dumps(FOUND))
    assert "**faults found**" not in markdown(replace(stored, peers=None), [])
    assert "**faults found**" in markdown(replace(stored, peers=peers(path)), [])
