"""What each check does, one module each: its docstring, a layer that the check catches, what to do on INCONCLUSIVE.

A module here is found by being here. `harness check harness.explain.mask` shows the check at work. Loads no torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pkgutil import iter_modules
from textwrap import fill, indent
from types import MappingProxyType

from harness.outcome import SpecError
from harness.spelling import among


def explained() -> tuple[str, ...]:
    """The checks that have an explanation."""
    return tuple(m.name for m in iter_modules(__path__))


def explanation(check: str, groups: Mapping[str, Iterable[str]] = MappingProxyType({})) -> str:
    """The explanation of a check; of one of these groups of them a line on each.

    Raises:
        SpecError: there is no such check or group.
    """
    if check in groups:
        return f"{check}: a group of checks (--only {check} runs these alone)\n\n{_lines(groups[check])}"
    if check not in explained():
        raise SpecError(f"there is no check or group {check!r}: {among(check, [*groups, *explained()])}")
    tree = ast.parse(_source(check))
    advice = next(n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "INCONCLUSIVE")
    return "\n\n".join(
        [
            f"{check}: {ast.get_docstring(tree)}",
            f"A layer that it catches (to see it: harness check harness.explain.{check})",
            indent(_layer(_source(check), tree, advice), "    "),
            "On INCONCLUSIVE",
            indent(fill(ast.literal_eval(advice.value), 100), "    "),
        ]
    )


def summary() -> str:
    """A line on each check."""
    return _lines(explained())


def _lines(checks: Iterable[str]) -> str:
    """A line on each of these checks."""
    lines = {name: str(ast.get_docstring(ast.parse(_source(name)))).split("\n")[0] for name in checks}
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {line}" for name, line in lines.items())


def _source(check: str) -> str:
    return files(__name__).joinpath(f"{check}.py").read_text(encoding="utf-8")


def _layer(source: str, tree: ast.Module, advice: ast.Assign) -> str:
    """The module between its docstring and its advice."""
    lines = source.splitlines()
    return "\n".join(lines[tree.body[1].lineno - 1 : advice.lineno - 1]).strip()
