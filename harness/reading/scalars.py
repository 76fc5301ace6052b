"""Nodes of somebody's own graph, such as micrograd's `Value`: what to write for a function of them."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from harness.reading.signatures import parameters_of


def is_node(thing: Any) -> bool:
    """Whether it holds its data and its gradient, and goes back through the graph that it came from."""
    plain = not isinstance(thing, (type, Tensor)) and not hasattr(thing, "shape")
    return plain and hasattr(thing, "data") and hasattr(thing, "grad") and callable(getattr(thing, "backward", None))


def node_of(kind: Any) -> Any:
    """A node of a class of such, by what its constructor sets and its backward asks for; None of any other class."""
    make = getattr(kind, "__init__", None)
    if not isinstance(kind, type) or not (inspect.isfunction(make) and hasattr(kind, "backward")):
        return None
    sets = {s.argval for s in dis.get_instructions(make) if s.opname == "STORE_ATTR"}
    joins = any(hasattr(kind, operator) for operator in ("__add__", "__mul__"))
    if not ({"data", "grad"} <= sets and joins):
        return None
    try:
        node = kind(1.0)
    except Exception:  # its constructor asks for more
        return None
    return node if is_node(node) else None


def _checked(shape: str) -> str:
    return f"gradcheck(run, np.random.randn({shape}))"


def node_advice(thing: Any, function: str = "f", check: Callable[[str], str] = _checked) -> str:
    """The closure to check in its place, and how. Its graph is built anew for each backward, which adds up what it finds there.

    Args:
        check: from a shape, such as "4, 3", to how the closure is checked at it.
    """
    kind = type(thing).__name__
    f = function if function.isidentifier() else "f"
    if hasattr(thing.data, "shape"):
        back = (
            f"{f}(node).backward(v)" if parameters_of(thing.backward) else f"({f}(node) * {kind}(v)).sum().backward()"
        )
        return (
            f"{kind} is an array in a graph of its own: check a function of such arrays as a closure on plain ones,\n"
            "    def run(x):\n"
            "        def pull(v):\n"
            f"            node = {kind}(x)\n"
            f"            {back}\n"
            "            return node.grad\n"
            f"        return {f}({kind}(x)).data, pull\n"
            f"    {check('4, 3')}"
        )
    return (
        f"{kind} is a number in a graph of its own: check a function of such numbers as a closure on an array,\n"
        "    def run(x):\n"
        "        def pull(v):\n"
        f"            nodes = [{kind}(t) for t in x.tolist()]\n"
        f"            {f}(*nodes).backward()\n"
        "            return v * np.array([n.grad for n in nodes])\n"
        f"        return np.float64({f}(*map({kind}, x.tolist())).data), pull\n"
        f"    {check('3')}"
    )
