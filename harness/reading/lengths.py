"""How long the steps are that a backward takes, where that is a number in its code: `self.W -= 0.01 * dW`.

A number in that very statement which multiplies the rest is as much a learning rate as one that is called so. Half a gradient, or
twice one, is one of a square: where there are two numbers, or the one is larger than learning rates are, the length of the step can't
be told from a factor of the gradient.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from harness.reading.parts import objects_of

LONGEST = 0.1
"""What a step's length is at most. Learning rates are: 0.1, 0.01, 0.001; factors of gradients are 2, 1/2 and 1/n."""


@dataclass(frozen=True)
class Update:
    """A statement that moves something by a product."""

    target: str
    """What it moves, as a script reaches it: `layer.W`; of `self.params[k]` as far as `layer.params[`; or a name of the function's
    own, as `p` in a loop over parameters."""
    code: str
    numbers: tuple[float, ...]
    """What it multiplies by, but for the sign."""

    @property
    def length(self) -> float | None:
        """The number that can only be the step's length; None where there is none."""
        return self.numbers[0] if len(self.numbers) == 1 and self.numbers[0] <= LONGEST else None

    def moves(self, code: str) -> bool:
        """Whether it moves what a script reaches so."""
        return code.startswith(self.target) if self.target.endswith("[") else code == self.target


def lengths_in(layer: Any, codes: Mapping[str, str]) -> tuple[dict[str, float], list[Update]]:
    """{name: length} of the steps along which backward moves what a script reaches by `codes`, and the statements that say it or
    that leave it open."""
    updates = [u for code, owner in objects_of(layer) for u in _updates_of(owner, code)]
    lengths: dict[str, float] = {}
    said: dict[Update, None] = {}
    for name, code in codes.items():
        own = [u for u in updates if u.moves(code)] or [u for u in updates if u.target.isidentifier()]
        said |= dict.fromkeys(u for u in own if u.numbers)
        if len(found := {u.length for u in own}) == 1 and (length := found.pop()) is not None:
            lengths[name] = length
    return lengths, list(said)


def _updates_of(owner: Any, code: str) -> Iterator[Update]:
    """Those in its backward, and in the methods that this calls."""
    seen: set[str] = set()
    pending: list[tuple[str, ast.Call | None, dict[str, float]]] = [("backward", None, {})]
    while pending:
        name, call, known = pending.pop()
        method = getattr(getattr(owner, name, None), "__func__", None)
        if name in seen or not isinstance(method, FunctionType) or (tree := _parsed(method)) is None:
            continue
        seen.add(name)
        itself = next(iter(method.__code__.co_varnames), "")
        numbers = {**_given(call, method, known), **_numbers(tree)}
        for node in ast.walk(tree):
            if (value := _moved_by(node)) is not None:
                target, how = value
                written = _reached(target)
                whole = f"{code}{written.removeprefix(itself)}" if written.startswith(f"{itself}.") else written
                yield Update(whole, ast.unparse(node), tuple(_factors(how, numbers)))
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == itself:
                pending.append((called.attr, node, numbers))  # type: ignore[arg-type]


def _given(call: ast.Call | None, method: FunctionType, known: Mapping[str, float]) -> dict[str, float]:
    """The arguments of a method that are numbers: `self.update(dW, 0.01)`."""
    if call is None:
        return {}
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    given = [*zip(names, call.args, strict=False), *((k.arg or "", k.value) for k in call.keywords)]
    return {
        n: next(_factors(v, known)) for n, v in given if _is_number(v) or (isinstance(v, ast.Name) and v.id in known)
    }


def _parsed(function: FunctionType) -> ast.AST | None:
    """Its definition; None where the source is not to be had."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def _moved_by(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    """What `W -= step` or `W = W - step` moves, and the step; None of any other statement."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, (ast.Sub, ast.Add)):
        return node.target, node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(value := node.value, ast.BinOp):
        same = ast.unparse(value.left) == ast.unparse(node.targets[0])
        return (node.targets[0], value.right) if same and isinstance(value.op, (ast.Sub, ast.Add)) else None
    return None


def _reached(target: ast.expr) -> str:
    """How it is written; without an index that is no constant."""
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
        return ast.unparse(target.value)  # `self.W[:] -= …`
    if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Constant):
        return f"{ast.unparse(target.value)}["
    return ast.unparse(target)


def _numbers(tree: ast.AST) -> dict[str, float]:
    """The names that the function gives to a number once and to nothing else: `lr = 0.01`."""
    stores = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    plain = [(n.targets[0], n.value) for n in ast.walk(tree) if isinstance(n, ast.Assign) and len(n.targets) == 1]
    found = {t.id: next(_factors(v, {})) for t, v in plain if isinstance(t, ast.Name) and _is_number(v)}
    return {name: value for name, value in found.items() if stores.count(name) == 1}


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _factors(node: ast.expr, known: Mapping[str, float]) -> Iterator[float]:
    """The sizes of the numbers that a product is made of, or of their inverses."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.MatMult, ast.Div)):
        yield from _factors(node.left, known)
        right = _factors(node.right, known)
        yield from (1 / x for x in right if x) if isinstance(node.op, ast.Div) else right
    elif isinstance(node, ast.UnaryOp):
        yield from _factors(node.operand, known)
    elif isinstance(node, ast.Constant) and _is_number(node):
        yield abs(float(node.value))  # type: ignore[arg-type]
    elif isinstance(node, ast.Name) and node.id in known:
        yield known[node.id]


def told(names: Collection[str], lengths: Mapping[str, float], updates: Collection[Update]) -> list[str]:
    """What is said of steps whose length is read, and of those whose length is not."""
    said = []
    for length in dict.fromkeys(lengths.values()):
        own = ", ".join(n for n in names if lengths.get(n) == length)
        code = next(u.code for u in updates if u.length == length)
        said.append(
            f"backward takes a step itself, {length:g} times the gradient by `{code}`: the gradient of {own} is read off it, and "
            "the step undone"
        )
    if rest := [n for n in names if n not in lengths]:
        said.append(f"backward moves {', '.join(rest)} by steps whose length is not known; they are undone")
        said += [
            f"in `{u.code}` the length of the step can't be told from a factor of the gradient: give it a name, lr"
            for u in updates
            if u.length is None
        ]
    return said
