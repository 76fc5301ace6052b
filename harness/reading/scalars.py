"""Nodes of somebody's own graph, such as micrograd's `Value`: what to write for a function of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness.reading.signatures import parameters_of


def is_node(thing: Any) -> bool:
    """Whether it holds its data and its gradient, and goes back through the graph that it came from."""
    plain = not isinstance(thing, (type, Tensor)) and not hasattr(thing, "shape")
    return plain and hasattr(thing, "data") and hasattr(thing, "grad") and callable(getattr(thing, "backward", None))


def node_advice(thing: Any, function: str = "f") -> str:
    """The closure to check in its place."""
    kind = type(thing).__name__
    f = function if function.isidentifier() else "f"
    if hasattr(thing.data, "shape"):
        back = "out.backward(v)" if parameters_of(thing.backward) else f"(out * {kind}(v)).sum().backward()"
        return (
            f"{kind} is an array in a graph of its own: check a function of such arrays as a closure on plain ones,\n"
            "    def run(x):\n"
            f"        node = {kind}(x)\n"
            f"        out = {f}(node)\n"
            "        def pull(v):\n"
            f"            {back}\n"
            "            return node.grad\n"
            "        return out.data, pull\n"
            "    gradcheck(run, np.random.randn(4, 3))"
        )
    return (
        f"{kind} is a number in a graph of its own: check a function of such numbers as a closure on an array,\n"
        "    def run(x):\n"
        f"        nodes = [{kind}(t) for t in x.tolist()]\n"
        f"        out = {f}(*nodes)\n"
        "        def pull(v):\n"
        "            out.backward()\n"
        "            return v * np.array([n.grad for n in nodes])\n"
        "        return np.float64(out.data), pull\n"
        "    gradcheck(run, np.random.randn(3))"
    )
