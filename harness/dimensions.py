"""Dimension expressions: `"B D"`, `"B 2*G L"`, `"*batch D"`, `""` (a scalar)."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.outcome import SpecError

Sizes = Mapping[str, int | tuple[int, ...]]
"""What a dimension stands for: an integer, or a tuple of them for a starred one."""

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True)
class Dimensions:
    """The shape of one input as an expression in named dimensions.

    Parts are separated by spaces: a name, an integer, an expression of `+ - * //` over both (no spaces inside),
    or `*name`, which stands for any number of axes.

    Raises:
        SpecError: a part that is none of these.
    """

    text: str

    def __post_init__(self) -> None:
        _ = self.parts

    @cached_property
    def parts(self) -> tuple[ast.expr | str, ...]:
        """The parsed parts; a string is the name of a starred dimension."""
        return tuple(self._parse(part) for part in self.text.split())

    def _parse(self, part: str) -> ast.expr | str:
        if part.startswith("*") and part[1:].isidentifier():
            return part[1:]
        try:
            expression = ast.parse(part, mode="eval").body
        except SyntaxError:
            expression = None
        if expression is None or not all(map(_allowed, ast.walk(expression))):
            raise SpecError(
                f"{part!r} in the shape {self.text!r} is no dimension: write names, integers and + - * // without "
                "spaces, parts separated by spaces, as in 'B 2*D' (or '*batch D' for any number of leading axes)"
            )
        return expression

    @property
    def names(self) -> tuple[str, ...]:
        """The plain dimensions, in order of appearance."""
        found = [n.id for p in self.parts if not isinstance(p, str) for n in ast.walk(p) if isinstance(n, ast.Name)]
        return tuple(dict.fromkeys(found))

    @property
    def starred(self) -> tuple[str, ...]:
        """The starred dimensions, without the star."""
        return tuple(p for p in self.parts if isinstance(p, str))

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """The shape at the given sizes; raises `SpecError` where an axis would be negative."""
        shape: list[int] = []
        for part in self.parts:
            if isinstance(part, str):
                axes = sizes[part]
                shape.extend(axes if isinstance(axes, tuple) else (axes,))
            else:
                shape.append(_value(part, sizes))
        if any(n < 0 for n in shape):
            raise SpecError(f"the shape {self.text!r} has a negative axis at {dict(sizes)}: {tuple(shape)}")
        return tuple(shape)


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    return isinstance(node, (ast.Name, ast.BinOp, ast.Load, *_OPERATORS))


def _value(node: ast.expr, sizes: Sizes) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            size = sizes[name]
            if isinstance(size, tuple):
                raise SpecError(f"{name!r} stands for several axes: write *{name}")
            return size
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, sizes), _value(right, sizes))
    raise SpecError(f"no dimension: {ast.unparse(node)}")
