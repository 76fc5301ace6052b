"""The Python of a notebook: imports, definitions and the assignments that they use; or every cell."""

from __future__ import annotations
import __future__

import ast
import json
import linecache
import re
import symtable
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.outcome import SpecError

# What IPython reads and Python does not: magics, shell commands, help; also behind an assignment.
_MAGIC = re.compile(r"^(\s*)(?:[%!?]|\w+\s*=\s*[%!]|[\w.]+\?{1,2}\s*$)")
_WRAPS = ("%%time", "%%timeit", "%%capture", "%%prun")
"""Magics of a whole cell whose body is Python all the same."""

_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORT = (ast.Import, ast.ImportFrom)
_ASSIGNMENT = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_COMPOUND = (ast.If, ast.Try)


def on_stderr(said: str) -> None:
    """What is told where nobody gathers it."""
    print(f"harness: {said}", file=sys.stderr)


def run(path: Path, scope: dict[str, Any], run_all: bool = False, tell: Callable[[str], None] = on_stderr) -> None:
    """Execute what is to be executed of a notebook, in this namespace.

    An import of what is not installed is left out and told, and so is what can't be defined without it; with `run_all` every
    cell is as it is under Jupyter.

    Raises:
        SpecError: it is no notebook of Python cells, or with `run_all` a cell is no Python.
    """
    execute(statements(path, run_all, tell), path, scope, run_all, tell)


def execute(
    body: Iterable[ast.stmt],
    path: Path,
    scope: dict[str, Any],
    strict: bool,
    tell: Callable[[str], None],
    future: int = 0,
) -> None:
    """Execute these statements of a file; unless `strict`, those that need what is not installed are left out and told."""
    absent: dict[str, str] = {}
    for node in (one for whole in body for one in _apart(whole)):
        # of one cell, it holds for those that follow
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            future |= sum(getattr(__future__, name.name).compiler_flag for name in node.names)
        code = compile(ast.Module([node], []), str(path), "exec", future, dont_inherit=True)
        try:
            exec(code, scope)
        except (ImportError, NameError) as error:
            if strict or not (why := _missing(node, error, absent)):
                raise
            absent |= dict.fromkeys(_given(node), why)
            tell(f"{path}: {why}: `{_first_line(node)}` is left out")


def _apart(node: ast.stmt) -> list[ast.stmt]:
    """`import a, b` as two: the one may be there where the other is not."""
    if not isinstance(node, ast.Import):
        return [node]
    return [ast.copy_location(ast.Import([name]), node) for name in node.names]


def _missing(node: ast.stmt, error: ImportError | NameError, absent: Mapping[str, str]) -> str:
    """Why a statement can't be executed, where that is an import of its own, or one that has been left out before."""
    if isinstance(error, NameError):
        return absent.get(error.name or "", "")
    return str(error) if any(isinstance(n, _IMPORT) for n in ast.walk(node)) else ""


def _given(node: ast.stmt) -> set[str]:
    """The names that a statement gives to something."""
    if isinstance(node, _DEFINITION):
        return {node.name}
    if isinstance(node, _IMPORT):
        return {(a.asname or a.name).partition(".")[0] for a in node.names}
    return (
        _targets(node)
        if _assigns(node) and not _inside(node)
        else {n for inner in _inside(node) for n in _given(inner)}
    )


def defines(node: ast.stmt) -> bool:
    """Whether a statement defines a class or function."""
    return isinstance(node, _DEFINITION)


def _first_line(node: ast.stmt) -> str:
    return next(line for line in ast.unparse(node).splitlines() if not line.startswith("@"))


def statements(path: Path, run_all: bool = False, tell: Callable[[str], None] = on_stderr) -> list[ast.stmt]:
    """What is to be executed of a notebook; tracebacks and `inspect` see its lines.

    Raises:
        SpecError: it is no notebook of Python cells, or with `run_all` a cell is no Python.
    """
    text, body = "", []
    for number, cell in enumerate(_cells(path), 1):
        plain = without_magics(cell)
        try:
            tree = ast.parse(plain)
        except SyntaxError as error:
            if run_all:
                raise SpecError(f"{path}: code cell {number} is no Python: {error.msg}: {error.text}") from None
            tell(f"{path}: code cell {number} is no Python ({error.msg}, line {error.lineno}) and is left out")
            plain, tree = re.sub(r"[^\n]+", "", plain), ast.Module([], [])
        body += [ast.increment_lineno(node, text.count("\n")) for node in tree.body]
        text += plain.rstrip("\n") + "\n"
    linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
    return body if run_all else needed(body)


def _cells(path: Path) -> list[str]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = data["cells"] if "cells" in data else [c for sheet in data["worksheets"] for c in sheet["cells"]]
        sources = [c.get("source", c.get("input", "")) for c in cells if c["cell_type"] == "code"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpecError(f"{path} is no Jupyter notebook ({type(error).__name__}: {error})") from None
    language = (data.get("metadata") or {}).get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise SpecError(f"{path} is a notebook in {language}: only Python's can be read")
    return ["".join(s) for s in sources]


def without_magics(cell: str) -> str:
    """The cell with as many lines, those that only IPython reads replaced."""
    lines = cell.split("\n")
    first = next((k for k, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        if not lines[first].startswith(_WRAPS):
            return "\n" * (len(lines) - 1)
        lines[first] = ""
    try:
        ast.parse("\n".join(lines))
    except SyntaxError:
        lines = [_plain(line) for line in lines]
    return "\n".join(lines)


def _plain(line: str) -> str:
    found = _MAGIC.match(line)
    return f"{found.group(1)}pass" if found else line


def needed(body: list[ast.stmt]) -> list[ast.stmt]:
    """Imports, definitions, specs and the assignments that these use, in their order.

    An assignment is used if it gives a name, or changes a part of what has that name, to which a kept statement refers.
    """
    kept = {k for k, node in enumerate(body) if _always(node)}
    while True:
        wanted = {name for k in kept for name in _names(body[k])}
        more = {k for k, node in enumerate(body) if k not in kept and _assigns(node) and _targets(node) & wanted}
        if not more:
            return [body[k] for k in sorted(kept)]
        kept |= more


def _always(node: ast.stmt) -> bool:
    """Imports (and what is done to `sys.path` for them), definitions, and what makes a LayerSpec."""
    if isinstance(node, (*_DEFINITION, *_IMPORT)):
        return True
    if isinstance(node, ast.Expr):
        return ast.unparse(node).startswith("sys.path.")
    if isinstance(node, _ASSIGNMENT):
        return "LayerSpec" in _names(node)
    return _quiet(node) and any(map(_always, _inside(node)))


def _assigns(node: ast.stmt) -> bool:
    return isinstance(node, _ASSIGNMENT) or _quiet(node)


def _quiet(node: ast.stmt) -> bool:
    """An `if` or `try` in which nothing but imports, definitions and assignments happens."""
    inside = _inside(node)
    fine = (*_DEFINITION, *_IMPORT, *_ASSIGNMENT, ast.Pass)
    return isinstance(node, _COMPOUND) and all(isinstance(n, fine) or _quiet(n) for n in inside)


def _inside(node: ast.stmt) -> list[ast.stmt]:
    blocks: Iterable[list[ast.stmt]] = (getattr(node, name, []) for name in ("body", "orelse", "finalbody"))
    found = [n for block in blocks for n in block]
    return found + [n for handler in getattr(node, "handlers", []) for n in handler.body]


def _names(node: ast.stmt) -> set[str]:
    """Every name of the notebook that a statement looks up or defines: `x` in a function that has an `x` of its own is none."""
    top = symtable.symtable(ast.unparse(node), "cell", "exec")
    return {*top.get_identifiers(), *(name for inner in top.get_children() for name in _globals(inner))}


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The global names in a function or class and those inside it."""
    yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
    for inner in table.get_children():
        yield from _globals(inner)


def _targets(node: ast.stmt) -> set[str]:
    """The names that an assignment gives or whose parts it changes: `W`, `config["eps"]`, `Layer.forward`."""
    if not isinstance(node, _ASSIGNMENT):
        return {name for n in _inside(node) for name in _targets(n)}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {name for t in targets for name in _bases(t)}


def _bases(target: ast.expr) -> set[str]:
    """`a` of `a`, `a.b` and `a[k]`; of a tuple, those of its members."""
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, (ast.Attribute, ast.Subscript, ast.Starred)):
        return _bases(target.value)
    return {name for member in getattr(target, "elts", []) for name in _bases(member)}
