"""Every check of every layer in layers/, one item per (layer, check, mode): `pytest -k gradcheck`. What it costs is counted."""

from collections.abc import Callable, Iterator

import pytest
from counted import MARGIN, SUITE, counting
from specs import SPECS

from harness import parametrize


@pytest.fixture(autouse=True)
def _forwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """The first item of a layer and mode runs all of its checks; it may take as many forwards as are recorded."""
    with counting() as calls:
        yield
    layer, _, mode = request.node.name.partition("[")[2].rstrip("]").split("-")
    if all(request.config.getoption(f"gradcheck_{n}", None) is None for n in ("examples", "seed", "device")):
        assert calls.forward <= MARGIN * SUITE[f"{layer}-{mode}"]


@parametrize(SPECS)
def test_gradcheck(case: Callable[[], None]) -> None:
    case()
