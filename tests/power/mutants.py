"""Mutants of layers/: one operator, axis, constant, argument or statement changed on the syntax tree, nothing written."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

from statements import SOURCES, Kind, Program, Unit

ARITHMETIC: tuple[type[ast.operator], ...] = (ast.Add, ast.Sub, ast.Mult, ast.Div)
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    **{op: tuple(o for o in ARITHMETIC if o is not op) for op in ARITHMETIC},
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
}
COMMUTE = (ast.Add, ast.Mult)
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.Lt),
}  # fmt: skip
CALLS = {
    "mean": "sum", "sum": "mean", "amax": "amin", "min": "max", "round": "int", "rsqrt": "sqrt", "sqrt": "abs", "square": "abs",
    "exp": "exp2", "log": "log2", "tanh": "sigmoid", "addcmul": "addcdiv", "addcmul_": "addcdiv_", "add_": "sub_", "sub_": "add_",
    "mul_": "div_", "div_": "mul_", "scatter_add_": "scatter_", "ones_like": "zeros_like", "zeros_like": "ones_like",
    "new_ones": "new_zeros", "empty": "zeros", "stack": "cat", "all": "any",
}  # fmt: skip
"""A function or method and one that is mistaken for it."""

NUMBERS = ("eps", "p", "D")
"""Attributes of a layer that are numbers."""

Put = Callable[[ast.expr], None]


@dataclass(frozen=True)
class Mutant:
    """One module of layers/ with one thing changed."""

    module: str
    function: str
    line: str
    """The first line of the statement."""
    mutation: str
    kind: Kind
    source: str = field(repr=False, compare=False)
    """The module, mutated."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.function, self.line, self.mutation

    def __str__(self) -> str:
        return f"{self.function}: {self.mutation}, in {self.line}"


def mutants(sources: dict[str, str] = SOURCES) -> list[Mutant]:
    """Every mutant of every statement that forward and backward reach, each once; `kind` tells the statements apart."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    found: list[Mutant] = []
    seen = {ast.unparse(tree) for tree in trees.values()}
    for unit in Program(trees):
        module = unit.function.module
        line = sources[module].splitlines()[unit.node.lineno - 1].strip()
        said: Counter[str] = Counter()
        for mutation in _changed(unit):
            source = ast.unparse(trees[module])
            if source not in seen and compiles(source):
                seen.add(source)
                said[mutation] += 1
                name = mutation if said[mutation] == 1 else f"{mutation} ({said[mutation]})"
                found.append(Mutant(module, unit.function.name, line, name, unit.kind, source))
    return found


def compiles(source: str) -> bool:
    """Whether it is a module at all."""
    try:
        compile(source, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


def _changed(unit: Unit) -> Iterator[str]:
    """The tree with one change after the other in place while its name is held; it is taken back afterwards."""
    for node, put in _slots(unit):
        for new in _replacements(node):
            put(new)
            yield f"{ast.unparse(node)} → {ast.unparse(new)}"
            put(node)
    yield from _statement(unit)


def _slots(unit: Unit) -> list[tuple[ast.expr, Put]]:
    """Every expression that the unit computes, with how to put another in its place; a signed number is one expression."""
    heads = {ast.If: "test", ast.For: "iter"}
    head = heads.get(type(unit.node))
    found: list[tuple[ast.expr, Put]] = []
    if head:
        found.append((getattr(unit.node, head), partial(setattr, unit.node, head)))
    for root in unit.parts:
        for parent in ast.walk(root):
            for name, value in ast.iter_fields(parent):
                if isinstance(value, list):
                    found += [
                        (v, partial(value.__setitem__, k)) for k, v in enumerate(value) if isinstance(v, ast.expr)
                    ]
                elif isinstance(value, ast.expr) and not isinstance(parent, ast.FormattedValue):
                    found.append((value, partial(setattr, parent, name)))
    signed = [n.operand for n, _ in found if _number(n) is not None and isinstance(n, ast.UnaryOp)]
    return [(n, put) for n, put in found if not isinstance(getattr(n, "ctx", None), ast.Store) and n not in signed]


def _number(node: ast.AST) -> float | None:
    """The value of 2 or −1."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    return None


def _replacements(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression is changed into."""
    if (number := _number(node)) is not None:
        yield from (_expression(str(v)) for v in dict.fromkeys((0, number + 1, number - 1, -number)) if v != number)
        return
    match node:
        case ast.BinOp(left, op, right):
            yield from (ast.BinOp(left, other(), right) for other in OPERATORS[type(op)])
            if not isinstance(op, COMMUTE):
                yield ast.BinOp(right, op, left)
            yield from (left, right)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Compare(left, [op], [right]):
            yield from (ast.Compare(left, [other()], [right]) for other in COMPARISONS.get(type(op), ()))
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            yield from values
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse)
        case ast.Constant(bool() as yes):
            yield ast.Constant(not yes)
        case ast.Attribute(value, "mT"):
            yield value
        case ast.Attribute(ast.Name("self"), name) if name in NUMBERS:
            yield from (ast.Constant(0), ast.BinOp(ast.Constant(2), ast.Mult(), node))
        case ast.Tuple(elements):
            yield from (ast.Tuple(e, node.ctx) for e in _swapped(elements))
        case ast.Subscript(value, index):
            yield value
            if isinstance(index, ast.Tuple):
                rest = [[e for e in index.elts if e is not gone] for gone in index.elts]
                yield from (ast.Subscript(value, ast.Tuple(r, ast.Load()), node.ctx) for r in rest)
            if isinstance(index, ast.Slice):
                yield from (ast.Subscript(value, s, node.ctx) for s in _wider(index))
        case ast.Call():
            yield from _calls(node)


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    """Another function; not called at all; arguments swapped, dropped."""
    func, args, keywords = node.func, node.args, node.keywords
    if isinstance(func, ast.Attribute):
        if func.attr in CALLS:
            yield ast.Call(ast.Attribute(func.value, CALLS[func.attr], ast.Load()), args, keywords)
        if not (isinstance(func.value, ast.Name) and func.value.id in ("torch", "self")):
            yield func.value
        else:
            yield from args
    elif isinstance(func, ast.Name):
        yield from args
        if func.id in CALLS:
            yield ast.Call(ast.Name(CALLS[func.id], ast.Load()), args, keywords)
    yield from (ast.Call(func, a, keywords) for a in _swapped(args))
    for values in _swapped([k.value for k in keywords]):
        yield ast.Call(func, args, [ast.keyword(k.arg, v) for k, v in zip(keywords, values, strict=True)])
    yield from (ast.Call(func, [a for a in args if a is not gone], keywords) for gone in args)
    yield from (ast.Call(func, args, [k for k in keywords if k is not gone]) for gone in keywords)


def _swapped(nodes: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """Two neighbours exchanged."""
    for k in range(len(nodes) - 1):
        yield [*nodes[:k], nodes[k + 1], nodes[k], *nodes[k + 2 :]]


def _wider(index: ast.Slice) -> Iterator[ast.Slice]:
    """Without one of its ends."""
    for end in ("lower", "upper"):
        if getattr(index, end) is not None:
            wider = deepcopy(index)
            setattr(wider, end, None)
            yield wider


def _statement(unit: Unit) -> Iterator[str]:
    """The statement left out; the condition always, or never, true."""
    node = unit.node
    if isinstance(node, ast.If):
        test = node.test
        for always in (True, False):
            node.test = ast.Constant(always)
            yield f"{ast.unparse(test)} → {always}"
        node.test = test
    elif isinstance(node, ast.For):
        iterated, node.iter = node.iter, ast.Tuple([], ast.Load())
        yield "loop left out"
        node.iter = iterated
    elif not isinstance(node, (ast.Return, ast.Raise)) and _bound(unit):
        bodies = [b for p in ast.walk(unit.function.node) for b in _bodies(p) if node in b]
        (body,) = bodies
        k = body.index(node)
        body[k] = ast.Pass()
        yield "left out"
        body[k] = node


def _bound(unit: Unit) -> bool:
    """Whether all that an assignment binds was bound before: without it something else is read, not nothing."""
    everything = unit.function.node
    names = {a.arg for a in ast.walk(everything.args) if isinstance(a, ast.arg)}
    names |= {
        n.id
        for n in ast.walk(everything)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.lineno < unit.node.lineno
    }
    return all(n in names or not n.isidentifier() for n in unit.stores())


def _bodies(node: ast.AST) -> list[list[ast.stmt]]:
    return [b for name in ("body", "orelse") if isinstance(b := getattr(node, name, None), list)]


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
