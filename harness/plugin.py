"""The pytest plugin. Its import and pytest's start load no torch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.options import OPTIONS, add_to_pytest

if TYPE_CHECKING:
    from harness.items import Layer
    from harness.report import Report

_LAYERS = pytest.StashKey["list[Layer]"]()
_REPORTS = pytest.StashKey["list[Report]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """--gradcheck-examples, -seed, -device, -html, each also an ini key."""
    add_to_pytest(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "gradcheck: one check of one layer in one mode (gradient verification harness)")
    config.addinivalue_line("markers", "xdist_group(name): items that pytest-xdist keeps on one worker")
    config.stash[_LAYERS] = []
    config.stash[_REPORTS] = []
    if (how := config.getini("gradcheck_inconclusive")) not in ("fail", "skip"):
        raise pytest.UsageError(f"gradcheck_inconclusive = {how!r} in the ini file: write fail or skip")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for every (layer, check, mode) of a function that `parametrize` has marked."""
    plan = getattr(metafunc.function, "_harness", None)
    if plan is None:
        return
    settings = _settings(metafunc.config, plan.settings)
    items = plan.items(settings, metafunc.config.getini("gradcheck_inconclusive"))
    layers = {id(item.layer): item.layer for item in items if item.layer is not None}
    metafunc.config.stash[_LAYERS].extend(layers.values())
    metafunc.parametrize("case", [pytest.param(item, id=item.id, marks=_marks(item)) for item in items])


def _marks(item: Any) -> list[Any]:
    marks: list[Any] = [pytest.mark.gradcheck]
    if item.layer is not None:
        marks.append(pytest.mark.xdist_group(f"gradcheck-{item.layer.name}"))
    if item.gap is not None:
        marks.append(pytest.mark.xfail(reason=f"known gap: {item.gap}", strict=True))
    return marks


def _settings(config: pytest.Config, decorated: dict[str, Any]) -> dict[str, Any]:
    """Command line over ini over decorator over default."""
    found = {}
    for o in OPTIONS:
        value = config.getoption(f"--gradcheck-{o.name}")
        if value is None and (ini := config.getini(f"gradcheck_{o.name}")):
            try:
                value = o.kind(ini)
            except ValueError:
                raise pytest.UsageError(f"gradcheck_{o.name} = {ini!r} in the ini file is no {o.kind.__name__}") from None
        found[o.name] = decorated.get(o.name, o.default) if value is None else value
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, or hand this worker's results to the process that will."""
    config = session.config
    reports = [layer.__dict__["report"] for layer in config.stash.get(_LAYERS, []) if "report" in layer.__dict__]
    if hasattr(config, "workeroutput"):
        config.workeroutput["harness"] = pickle.dumps(reports)
        return
    path = config.getoption("--gradcheck-html") or config.getini("gradcheck_html")
    if path:
        from harness.render.html import page

        Path(path).write_text(page(_merged([*config.stash[_REPORTS], *reports])), encoding="utf-8")


def _merged(reports: list[Report]) -> list[Report]:
    """One report a layer, in a fixed order, however xdist has spread them."""
    return list({r.layer: r for r in sorted(reports, key=lambda r: r.layer)}.values())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the results of a pytest-xdist worker."""
    if packed := getattr(node, "workeroutput", {}).get("harness"):
        node.config.stash[_REPORTS].extend(pickle.loads(packed))  # noqa: S301  (our own worker's bytes)
