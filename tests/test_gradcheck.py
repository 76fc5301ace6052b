"""Every check of every layer in layers/, one item per (layer, check, mode): `pytest -k gradcheck`."""

from collections.abc import Callable

from specs import SPECS

from harness import parametrize


@parametrize(SPECS)
def test_gradcheck(case: Callable[[], None]) -> None:
    case()
