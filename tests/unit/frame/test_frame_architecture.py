"""Every module of the harness imports only from ranks below its own, and none knows layers/ or report/."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import harness

ROOT = Path(harness.__file__).parent
CHECKOUT = Path(__file__).parents[3]

# From the ground up. `x.*`: every module of a package whose members are found by being there; siblings may share.
RANKS = [
    {"harness"},  # a table of contents: each name is imported when it is used
    {
        "examples",
        "findings",
        "functions",
        "judgement",
        "low_precision",
        "oracles",
        "processes",
        "reading",
        "replay",
        "scripts",
        "state",
        "targets",
        "tensors",
    },  # a docstring each
    {"spelling", "examples.values"},
    {"reading.holders", "once", "reading.scopes", "reading.signatures"},
    {"reading.members", "reading.parts", "reading.scalars"},
    {
        "reading.handed",
        "reading.masks",
        "reading.modes",
        "reading.naming",
        "tensors.nested",
        "outcome",
        "render",
        "subject",
        "reading.titles",
    },
    {
        "tensors.arrays",
        "findings.chances",
        "dimensions",
        "domain",
        "replay.entropy",
        "replay.onward",
        "replay.settings",
        "explain",
        "fault",
        "functions.graph",
        "tensors.layouts",
        "targets.factories",
        "targets.notebook",
        "options",
        "tensors.poison",
        "render.file",
        "report",
    },
    {"replay.bare", "tensors.library", "builds", "kinds", "wanted", "scripts.written"},
    {"replay.generators"},
    {
        "fault.circumstances",
        "events",
        "processes.job",
        "reading.lengths",
        "scripts.recipe",
        "reading.rates",
        "fault.regions",
        "scripts.routes",
        "fault.modal",
        "fault.gradients",
        "fault.grains",
        "render.data",
        "render.text",
        "state.slots",
        "replay.sources",
        "spec",
        "oracles.pairing",
        "oracles.stencil",
        "tensors.within",
    },
    {
        "scripts.scripted",
        "state.copies",
        "draws",
        "explain.*",
        "faults",
        "functions.held",
        "state.history",
        "state.owners",
        "targets.rebind",
        "render.html",
        "render.rows",
        "request",
        "low_precision.rounding",
        "state.views",
    },
    {"functions.kept", "state.meaning", "models", "state.outside", "state.returned", "state.whole"},
    {"state.asking", "targets.candidates", "targets.find"},
    {"state.earlier", "targets.made", "targets.shapes"},
    {"targets.handed_over"},
    {"targets.guesses", "state.calls"},
    {"state.watched"},
    {
        "base",
        "state.derived",
        "state.built",
        "examples.design",
        "oracles.estimate",
        "oracles.noise",
        "functions.reference",
        "state.stateful",
        "functions.stateless",
        "functions.traced",
    },
    {"evaluated"},
    {"case", "state.counted", "state.dependence", "state.idle", "state.orders", "functions.sifting", "state.steps"},
    {"conventions", "state.discovery"},
    {
        "conventions.*",
        "findings.disturbance",
        "findings.likeness",
        "findings.reproduce",
        "examples.prepare",
        "oracles.differences",
    },
    {
        "oracles.blocks",
        "oracles.budget",
        "wavering",
        "examples.cases",
        "findings.conditions",
        "judgement.edges",
        "judgement.outrun",
        "oracles.nudge",
        "judgement.pieces",
        "findings.multiples",
        "findings.residuals",
        "examples.special",
        "judgement.verdict",
    },
    {"low_precision.neighbours", "judgement.claim", "findings.diagnosis", "examples.sample", "judgement.surroundings"},
    {"judgement.inside", "judgement.line", "low_precision.precision", "low_precision.upcast"},
    {"judgement.kinks", "judgement.ladders", "judgement.together"},
    {"judgement.acceptance", "low_precision.outputs", "judgement.place", "low_precision.scales"},
    {"judgement.judge"},
    {"judgement.comparison", "session"},
    {
        "judgement.accord",
        "judgement.broken",
        "aggregate",
        "checks",
        "judgement.coarse",
        "echo",
        "findings.confirmed",
        "findings.evidence",
    },
    {"judgement.fine"},
    {"judgement.unaided"},
    {"chance", "checks.*", "low_precision.finer"},
    {"arguments", "engine", "examples.columns", "points"},
    {"single"},
    {"api"},
    {"items"},
    {"targets.probe"},
    {"processes.worker"},
    {"processes.zygote"},
    {"processes.isolate"},
    {"command", "plugin"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}

# Imports that run when a function is called, or never (TYPE_CHECKING), may go up: each with why.
UPWARD = {
    ("harness", "*"): "a table of contents: PEP 562 and its declaration for type checkers",
    ("outcome", "report"): "the type of GradientError.report",
    ("judgement.inside", "judgement.judge"): "the type of the judge whose verdict it looks at",
    ("judgement.kinks", "judgement.judge"): "the type of the judge whose claim it looks at",
    ("judgement.place", "judgement.judge"): "the type of the judge that it looks for",
    ("report", "render.data"): "to_dict, to_json: a report can render itself",
    ("report", "render.html"): "to_html, _repr_html_",
    ("report", "render.text"): "str()",
}


class Import(NamedTuple):
    """`source` imports from `target`; `late`: inside a function, or for type checkers alone."""

    source: str
    target: str
    late: bool


def named(path: Path, root: Path) -> str:
    """`render.html` for harness/render/html.py; `harness` for the package itself."""
    parts = path.relative_to(root).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) or "harness"


def modules(root: Path) -> dict[str, ast.Module]:
    return {named(p, root): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(root.rglob("*.py"))}


def absolute(node: ast.stmt) -> list[str]:
    """The dotted names that a statement imports; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they lead"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def is_late(node: ast.AST) -> bool:
    """Whether what stands in it doesn't run when its module is imported."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def statements(tree: ast.AST, late: bool = False) -> list[tuple[str, bool]]:
    """Every (dotted name imported, late) below a node."""
    found = []
    for node in ast.iter_child_nodes(tree):
        found += [(name, late) for name in absolute(node)] if isinstance(node, ast.stmt) else []
        found += statements(node, late or is_late(node))
    return found


def imports(trees: dict[str, ast.Module]) -> set[Import]:
    """Which module of the harness imports which other."""
    found = set()
    for source, tree in trees.items():
        for name, late in statements(tree):
            parts = name.split(".")
            if parts[0] == "harness":
                tails = (".".join(parts[1:k]) or "harness" for k in range(len(parts), 0, -1))
                found.add(Import(source, next(t for t in tails if t in trees), late))
    return {i for i in found if i.source != i.target}


def ranked(module: str) -> str:
    """Its entry in the table: its own, or its package's `x.*`."""
    return module if module in RANK else f"{module.rpartition('.')[0]}.*"


def out_of_rank(found: set[Import]) -> list[str]:
    """Imports at module level that go up or sideways, but for siblings of one `x.*`."""

    def wrong(i: Import) -> bool:
        source, target = ranked(i.source), ranked(i.target)
        siblings = source == target and source.endswith(".*")
        return not i.late and RANK[target] >= RANK[source] and not siblings

    return sorted(f"{i.source} imports {i.target}" for i in found if wrong(i))


def late_and_unexplained(found: set[Import]) -> list[str]:
    """Late imports that go up without a reason in the table."""
    up = {i for i in found if i.late and RANK[ranked(i.target)] >= RANK[ranked(i.source)]}
    known = {i for i in up if (i.source, i.target) in UPWARD or (i.source, "*") in UPWARD}
    return sorted(f"{i.source} imports {i.target}" for i in up - known)


def cycle(found: set[Import]) -> list[str]:
    """A ring of imports at module level; empty where there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for i in found:
        if not i.late:
            sorter.add(i.source, i.target)
    try:
        sorter.prepare()
    except CycleError as error:
        return error.args[1]
    return []


def foreign(trees: dict[str, ast.Module]) -> list[str]:
    """Imports of what only the checkout has, wherever they stand."""
    own = {"layers", "report", "tests", "benchmarks"}
    return sorted(
        f"{s} imports {n}" for s, tree in trees.items() for n, _ in statements(tree) if n.split(".")[0] in own
    )


TREES = modules(ROOT)
IMPORTS = imports(TREES)


def test_every_module_has_a_rank_and_every_rank_a_module():
    assert [m for m in TREES if ranked(m) not in RANK] == []
    assert RANK.keys() - {ranked(m) for m in TREES} == set()
    assert len(RANK) == sum(map(len, RANKS))


def test_modules_import_from_ranks_below():
    assert out_of_rank(IMPORTS) == []


def test_late_imports_that_go_up_have_a_reason():
    assert late_and_unexplained(IMPORTS) == []
    used = {(i.source, i.target) for i in IMPORTS if i.late}
    assert [pair for pair in UPWARD if pair[1] != "*" and pair not in used] == []


def test_there_is_no_cycle():
    assert cycle(IMPORTS) == []


def room(module: str) -> str:
    """The package that a module of it stands in; a package's own `__init__`, and what stands beside packages, are rooms too."""
    package, _, _ = module.rpartition(".")
    return f"{package}.*" if package else module


def between_rooms(found: set[Import]) -> set[Import]:
    return {Import(room(i.source), room(i.target), i.late) for i in found if room(i.source) != room(i.target)}


def test_there_is_no_cycle_of_packages():
    assert cycle(between_rooms(IMPORTS)) == []


def test_the_harness_knows_neither_layers_nor_report():
    assert foreign(TREES) == []


def test_checks_and_conventions_know_nothing_above_them():
    top = {"api", "items", "processes.worker", "cli", "plugin", "engine"}
    low = ("checks", "conventions", "judgement", "oracles", "case", "subject", "render")
    assert [i for i in IMPORTS if i.target in top and i.source.split(".")[0] in low] == []


# The twins: each rule is seen to catch what it is for


def planted(module: str, source: str) -> dict[str, ast.Module]:
    """The harness with other source in one of its modules."""
    return TREES | {module: ast.parse(source)}


def new(found: list[str], before: list[str]) -> list[str]:
    return [said for said in found if said not in before]


@pytest.mark.parametrize(
    ("module", "source", "said"),
    [
        ("outcome", "from harness.judgement.judge import Judge", "outcome imports judgement.judge"),
        ("judgement.judge", "import harness.cli", "judgement.judge imports cli"),
        ("subject", "from harness import api", "subject imports api"),
        ("tensors.arrays", "from harness.dimensions import Dimensions", "tensors.arrays imports dimensions"),
        ("checks.contract", "try:\n    from harness.engine import events\nexcept ImportError: pass", "checks.contract imports engine"),
        ("conventions.pair", "class A:\n    from harness.api import check", "conventions.pair imports api"),
    ],
)  # fmt: skip
def test_an_import_that_goes_up_is_seen(module, source, said):
    assert said in out_of_rank(imports(planted(module, source)))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    from harness.api import check",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.api import check",
    ],
)
def test_a_late_import_that_goes_up_is_seen_apart(source):
    found = imports(planted("dimensions", source))
    assert new(out_of_rank(found), out_of_rank(IMPORTS)) == []
    assert new(late_and_unexplained(found), late_and_unexplained(IMPORTS)) == ["dimensions imports api"]


def test_a_cycle_of_packages_is_seen():
    found = imports(planted("tensors.poison", "from harness.state import views"))
    assert cycle(found) == []
    assert {"tensors.*", "state.*"} <= set(cycle(between_rooms(found)))


def test_a_cycle_is_seen():
    found = imports(planted("checks.contract", "from harness.checks.mode import state"))
    assert Import("checks.mode", "checks.contract", False) in found
    assert new(out_of_rank(found), out_of_rank(IMPORTS)) == []
    assert {"checks.mode", "checks.contract"} <= set(cycle(found))


@pytest.mark.parametrize(
    "source",
    [
        "from layers import Tanh",
        "import report.cli",
        "def f():\n    import layers.tanh",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import layers",
    ],
)
def test_an_import_of_the_checkout_is_seen(source):
    assert len(foreign(planted("judge", source))) == 1


def test_a_module_without_a_rank_is_seen():
    assert [m for m in planted("newcomer", "") if ranked(m) not in RANK] == ["newcomer"]
    assert [m for m in planted("checks.newcomer", "") if ranked(m) not in RANK] == []


# Where it is imported from


def test_importing_all_of_the_harness_imports_nothing_of_the_checkout():
    found = sorted("harness" if m == "harness" else f"harness.{m}" for m in TREES if m != "__main__")
    code = f"import sys, importlib\nfor m in {found}: importlib.import_module(m)\nprint(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": f"{ROOT.parent}{os.pathsep}{CHECKOUT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "harness" in loaded
    assert {"layers", "report", "tests", "benchmarks"} & loaded == set()


@pytest.mark.skipif(os.environ.get("PYTHONSAFEPATH") != "1", reason="only tox installs the wheel")
def test_the_installed_wheel_is_tested():
    assert ROOT.is_relative_to(sysconfig.get_path("purelib"))
    done = subprocess.run(
        [sys.executable, "-c", "import harness; print(harness.__file__)"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(sysconfig.get_path("purelib"))
