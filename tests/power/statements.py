"""The statements of layers/ that forward and backward run, told apart: numerical, validation, or for buffers alone.

Validation raises on bad input, or computes what only such statements read. For buffers alone: moves running statistics, or
computes what only that reads. Everything else is numerical, the bookkeeping between forward and backward included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import layers

ROOT = Path(layers.__file__).parent
SOURCES = {p.stem: p.read_text(encoding="utf-8") for p in sorted(ROOT.glob("*.py")) if p.stem != "__init__"}

Kind = Literal["numerical", "validation", "buffer"]


@dataclass(eq=False)
class Function:
    """A function of layers/: "BatchNorm.forward" in module "batch_norm"."""

    module: str
    owner: str
    node: ast.FunctionDef

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.node.name}".lstrip(".")


@dataclass(eq=False)
class Unit:
    """A simple statement, or the head of a compound one."""

    function: Function
    node: ast.stmt
    within: list[Unit] = field(default_factory=list)
    """What stands in the body of a compound statement."""
    kind: Kind = "numerical"

    @property
    def parts(self) -> list[ast.AST]:
        """What it computes itself."""
        if isinstance(self.node, ast.If):
            return [self.node.test]
        if isinstance(self.node, ast.For):
            return [self.node.iter]
        return [self.node]

    def loads(self) -> set[str]:
        """The local names and attributes ("self.x") that it reads."""
        nodes = [n for part in self.parts for n in ast.walk(part) if isinstance(getattr(n, "ctx", None), ast.Load)]
        names = {n.id for n in nodes if isinstance(n, ast.Name)}
        return names | {ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute) and _of_self(n)}

    def stores(self) -> set[str]:
        """What an assignment binds, empty for other statements; "" stands for an entry of something."""
        if not isinstance(self.node, ast.Assign):
            return set()
        flat = [t for target in self.node.targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
        return {ast.unparse(t) if isinstance(t, ast.Name) or _of_self(t) else "" for t in flat}

    def calls(self) -> list[str]:
        """The names of the functions and own methods that it calls, the outermost first."""
        called = [n.func for part in self.parts for n in ast.walk(part) if isinstance(n, ast.Call)]
        return [ast.unparse(f) for f in called if isinstance(f, ast.Name) or _of_self(f)]


def _of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def functions(trees: dict[str, ast.Module]) -> list[Function]:
    """Every function and method of the modules."""
    found = []
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                found.append(Function(module, "", node))
            elif isinstance(node, ast.ClassDef):
                found += [Function(module, node.name, f) for f in node.body if isinstance(f, ast.FunctionDef)]
    return found


def _units(function: Function, body: list[ast.stmt]) -> list[Unit]:
    made = []
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        within = [u for name in ("body", "orelse") for u in _units(function, getattr(node, name, []))]
        made.append(Unit(function, node, [u for u in within if u.node in _direct(node)]))
        made += within
    return made


def _direct(node: ast.stmt) -> list[ast.stmt]:
    return [*getattr(node, "body", []), *getattr(node, "orelse", [])]


class Program:
    """What runs in the forwards and backwards of some modules."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.functions = functions(trees)
        self.units = {f: _units(f, f.node.body) for f in self.functions}
        reached = self._reached(everything=True)
        while self._classify(reached):
            pass
        numerical = self._reached(everything=False)
        for f in reached:
            for unit in self.units[f]:
                if f not in numerical and unit.kind == "numerical":
                    unit.kind = self._called_for(f, reached)
        self.reached = reached

    def __iter__(self) -> Iterator[Unit]:
        return (unit for f in self.reached for unit in self.units[f])

    def _called(self, unit: Unit, outermost: bool = False) -> list[Function]:
        """The functions of layers/ that a statement may call: methods of its class or of the base, and plain ones."""
        owners, names = {unit.function.owner, "Layer"}, unit.calls()
        return [
            f
            for name in (names[:1] if outermost else names)
            for f in self.functions
            if (f.owner in owners if name.startswith("self.") else not f.owner)
            and f.node.name == name.removeprefix("self.")
        ]

    def _reached(self, everything: bool) -> list[Function]:
        """What forward and backward of the layers reach, by any statement or by numerical ones."""
        found = [f for f in self.functions if f.node.name in ("forward", "backward") and f.owner != "Layer"]
        for f in found:
            for unit in self.units[f]:
                if everything or unit.kind == "numerical":
                    found += [g for g in self._called(unit) if g not in found]
        return found

    def _classify(self, reached: list[Function]) -> bool:
        """One more round; whether something changed."""
        changed = False
        for f in reached:
            for unit in reversed(self.units[f]):
                if unit.kind == "numerical" and (kind := self._apart(unit, reached)):
                    unit.kind, changed = kind, True
        return changed

    def _apart(self, unit: Unit, reached: list[Function]) -> Kind | None:
        """Why a statement is not numerical, if it is not."""
        if isinstance(unit.node, ast.Raise):
            return "validation"
        if unit.within:
            return _common(unit.within)
        if isinstance(unit.node, ast.Expr):
            called = self._called(unit, outermost=True)
            if called and all(_common(self.units[f]) == "validation" for f in called):
                return "validation"
            return "buffer" if called and all(self._moves_buffers(f) for f in called) else None
        return self._read_apart(unit, reached)

    def _read_apart(self, unit: Unit, reached: list[Function]) -> Kind | None:
        """Whether what an assignment binds is read by statements apart alone."""
        stored = unit.stores()
        if not stored or "" in stored:
            return None
        everywhere = any(name.startswith("self.") for name in stored)
        readers = [u for f in (reached if everywhere else [unit.function]) for u in self.units[f] if u.loads() & stored]
        return None if any(u.kind == "numerical" for u in readers) else _most({u.kind for u in readers})

    def _moves_buffers(self, f: Function) -> bool:
        loads = set().union(*(u.loads() for u in self.units[f]))
        return "self.buffers" in loads and not loads & {"self.grads", "self.params"}

    def _called_for(self, f: Function, reached: list[Function]) -> Kind:
        """What kind of statement a function is called by that no numerical one calls."""
        return _most({u.kind for g in reached for u in self.units[g] if f in self._called(u)} - {"numerical"})


def _common(units: list[Unit]) -> Kind | None:
    kinds = {u.kind for u in units}
    return None if "numerical" in kinds else _most(kinds)


def _most(kinds: set[Kind]) -> Kind:
    return "buffer" if "buffer" in kinds else "validation"
