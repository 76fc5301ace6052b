"""A stand-in for the harness, and one small stored run that several tests read."""

import pytest
import torch
from harness_results import RESULTS

from report.command import conduct_and_save
from report.results import read
from report.settings import Settings
from report.verification import rows


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
