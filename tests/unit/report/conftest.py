"""A stand-in for the harness's results, and one small stored run that several tests read."""

from types import SimpleNamespace

import pytest
import torch

from report.command import conduct_and_save
from report.results import read
from report.settings import Settings
from report.verification import rows


def result(layer, check, mode, outcome, tensors=None, reason=""):
    """What `report.results` of the harness holds, as far as the report looks at it."""
    return SimpleNamespace(
        layer=layer,
        check=check,
        mode=mode,
        outcome=SimpleNamespace(name=outcome),
        tensors=tensors or {},
        reason=reason,
    )


RESULTS = [
    result("Linear", "input_gradient", None, "PASS", {"z": 2e-12}),
    result("Linear", "parameter_gradient", None, "PASS", {"W": 3e-12, "b": 4e-13}),
    result("Linear", "mask", None, "SKIP", reason="draws no random numbers"),
    result("Dropout", "input_gradient", "train", "PASS", {"z": 5e-12}),
    result("Dropout", "input_gradient", "eval", "PASS", {"z": 6e-12}),
    result("Dropout", "mask", "train", "PASS"),
    result("Dropout", "mask", "eval", "SKIP", reason="evaluation draws nothing"),
]
FAILURE = result("Tanh", "input_gradient", "eval", "FAIL", {"z": 1e-11}, "3 of 8 entries are out")


@pytest.fixture(autouse=True)
def threads_stay():
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture
def stand_in(monkeypatch):
    """`harness` replaced by RESULTS, in this process; the list may be extended."""
    results = list(RESULTS)
    monkeypatch.setattr("report.command.checker", lambda: None)
    monkeypatch.setattr("report.command.specs", list)
    monkeypatch.setattr("report.command.verify", lambda examples, seed: rows(results))
    return results


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The directory of a finished small run; tests that write copy it first."""
    directory = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("report.command.checker", lambda: None)
        patch.setattr("report.command.specs", list)
        patch.setattr("report.command.verify", lambda examples, seed: rows(RESULTS))
        assert conduct_and_save(Settings(seeds=3, epochs=12, test_points=200), directory, 1)
    return directory


@pytest.fixture
def stored(finished):
    return read(finished)
