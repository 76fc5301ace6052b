"""The pytest plugin. Its import and pytest's start load no torch."""

from __future__ import annotations

import pickle
from argparse import ArgumentTypeError
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from harness.options import OPTIONS, add_to_pytest, usable_device
from harness.outcome import SpecError
from harness.render.file import ready, write

if TYPE_CHECKING:
    from harness.items import Item, Run, Unbuilt
    from harness.report import Report

_RUNS: pytest.StashKey[list[tuple[str, Run]]] = pytest.StashKey()
_REPORTS: pytest.StashKey[list[tuple[str, Report]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """--gradcheck-examples, -seed, -device, -html, each also an ini key."""
    add_to_pytest(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and look at everything that was set before any work begins."""
    config.addinivalue_line("markers", "gradcheck: one check of one layer in one mode (gradient verification harness)")
    config.addinivalue_line("markers", "xdist_group(name): items that pytest-xdist keeps on one worker")
    config.stash[_RUNS] = []
    config.stash[_REPORTS] = []
    if (how := config.getini("gradcheck_inconclusive")) not in ("fail", "skip"):
        raise pytest.UsageError(f"gradcheck_inconclusive = {how!r} in the ini file: write fail or skip")
    if path := _settings(config, {})["html"]:
        try:
            ready(path)
        except SpecError as error:
            raise pytest.UsageError(f"gradcheck-html: {error}") from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for every (layer, check, mode) of a function that `parametrize` has marked."""
    plan = getattr(metafunc.function, "_harness", None)
    if plan is None:
        return
    try:
        settings = _settings(metafunc.config, plan.settings)
        usable_device(settings["device"])
        items = plan.items(settings, metafunc.config.getini("gradcheck_inconclusive"))
    except SpecError as error:
        raise pytest.Collector.CollectError(f"{metafunc.function.__name__}: {error}") from None
    runs = {id(item.run): item.run for item in items if item.run is not None}
    metafunc.config.stash[_RUNS].extend((metafunc.definition.nodeid, run) for run in runs.values())
    metafunc.parametrize("case", [pytest.param(item, id=item.id, marks=_marks(item)) for item in items])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A method of a unittest.TestCase is not parametrized by pytest."""
    if hasattr(getattr(item, "function", None), "_harness") and not hasattr(item, "callspec"):
        pytest.fail(
            f"{item.name}: pytest parametrizes no method of a unittest.TestCase; write a function, or a method of a plain class",
            pytrace=False,
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, pluggy.Result[object]]:
    """A test that never calls its case has verified nothing."""
    done = yield
    case = pyfuncitem.funcargs.get("case")
    if hasattr(pyfuncitem.function, "_harness") and done.exception is None and not getattr(case, "asked", True):
        pytest.fail(
            f"{pyfuncitem.name} has not called its case, so that nothing was checked: write case()", pytrace=False
        )


def _marks(item: Item | Unbuilt) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.gradcheck]
    if item.run is not None:
        marks.append(pytest.mark.xdist_group("-".join(filter(None, ("gradcheck", item.run.name, item.run.mode)))))
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
            except ArgumentTypeError as error:
                raise pytest.UsageError(f"gradcheck_{o.name} in the ini file: {error}") from None
        found[o.name] = decorated.get(o.name, o.default) if value is None else value
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, or hand this worker's results to the process that will."""
    config = session.config
    reports = [(origin, run.done) for origin, run in config.stash[_RUNS] if run.done is not None]
    if hasattr(config, "workeroutput"):
        config.workeroutput["harness"] = pickle.dumps(reports)
        return
    if (path := _settings(config, {})["html"]) and not config.option.collectonly:
        from harness.render.html import page

        try:
            write(path, page(_merged([*config.stash[_REPORTS], *reports])))
        except SpecError as error:
            raise pytest.UsageError(f"gradcheck-html: {error}") from None


def _merged(reports: Iterable[tuple[str, Report]]) -> list[Report]:
    """One report a layer of a test, in a fixed order, however xdist has spread its modes and however often each ran."""
    from harness.report import Report

    layers: dict[tuple[str, str], list[Report]] = {}
    for origin, report in reports:
        layers.setdefault((report.layer, origin), []).append(report)
    merged = []
    for (name, _), parts in sorted(layers.items()):
        results = {(r.mode or "", r.check): r for part in parts for r in part.results}
        train_first = sorted(results.values(), key=lambda r: r.mode or "", reverse=True)
        notes = dict.fromkeys(note for part in parts for note in part.notes)
        merged.append(Report(name, tuple(train_first), parts[0].settings, tuple(notes)))
    return merged


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the results of a pytest-xdist worker."""
    if packed := getattr(node, "workeroutput", {}).get("harness"):
        node.config.stash[_REPORTS].extend(pickle.loads(packed))  # our own worker's bytes
