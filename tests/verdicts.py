"""For tests that ask which tensor is failed, and not what its gradient looks like: their `conftest.py` imports both fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch
from zlib import crc32

import pytest
from commit import turn

from harness.findings.evidence import placed


@pytest.fixture
def diagnosed() -> None:
    """Asked for by a test of what is said of a failure."""


@pytest.fixture(autouse=True)
def without_diagnosis(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a failure looks like is tried on fresh draws, which takes as long as finding it does, and changes no verdict: one test in
    eight has it all the same, another one at each commit, for it must not raise."""
    if "diagnosed" in request.fixturenames or (crc32(request.node.nodeid.encode()) + turn(8)) % 8 == 0:
        yield
        return
    with patch("harness.engine.finding_of", lambda session, name, verdict, *_: placed(session.case, name, verdict)):
        yield
