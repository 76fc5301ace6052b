"""How a standalone script calls a layer, for each kind of convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.arrays import Library
from harness.subject import Recipe

_GIVE = {"torch": "t.clone()", "numpy": "t.numpy().copy()[()]"}

_SEED = """
def replay(seed):
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
"""


def imported(thing: Any, name: str) -> tuple[str, str]:
    """The import line of a function or class and what it is called; where it can't be imported, a line left to fill."""
    module, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<locals>")
    if module in (None, "__main__", "builtins") or "<" in qualified:
        return "", f"{name} = ...  # fill in: {name}, which can't be imported by name"
    return f"from {module} import {qualified.split('.')[0]}", ""


def stateful(
    layer: Any,
    library: Library,
    inputs: Sequence[str],
    wanted: Sequence[str],
    places: Mapping[str, str],
    gradients: Mapping[str, str],
    mode_line: str,
) -> Recipe:
    """An object with forward and backward; `places` and `gradients` are expressions such as `layer.params['W']`."""
    kind = type(layer)
    line, _ = imported(kind, kind.__name__)
    make = (
        f"layer = {kind.__qualname__}(...)  # fill in its arguments"
        if line
        else f"layer = ...  # fill in: a {kind.__name__}"
    )
    generators = (
        [n for n, v in vars(layer).items() if type(v).__name__ == "Generator"] if hasattr(layer, "__dict__") else []
    )
    body = [
        "def forward(leaves, buffers, mode, seed):",
        "    replay(seed)",
        *(f"    layer.{n}.manual_seed(seed)" for n in generators if library == "torch"),
        *([f"    {mode_line}"] if mode_line else []),
        *(f"    {place} = give({{**leaves, **buffers}}[{n!r}])" for n, place in places.items()),
        f"    y = layer.forward({', '.join(f'give(leaves[{n!r}])' for n in inputs)})",
        "    return [torch.as_tensor(t) for t in (y if isinstance(y, tuple) else (y,))]",
        "",
        "",
        "def backward(v):",
        *(["    layer.zero_grad()"] if callable(getattr(layer, "zero_grad", None)) else []),
        f"    d = layer.backward({'' if _takes_nothing(layer) else '*[give(w) for w in v]'})",
        "    d = d if isinstance(d, (tuple, list)) else (d,)",
        f"    found = {{n: torch.as_tensor(t) for n, t in zip({list(wanted)!r}, d)}}",
        f"    parameters = {{{', '.join(f'{n!r}: torch.as_tensor({code})' for n, code in gradients.items())}}}",
        "    return {**found, **parameters}",
    ]
    return _recipe(library, [line] if line else [], [make], body)


def _takes_nothing(layer: Any) -> bool:
    code = getattr(getattr(layer.backward, "__func__", layer.backward), "__code__", None)
    return code is not None and code.co_argcount <= 1 and not code.co_flags & 0x04


def functions(parts: Mapping[str, Any], library: Library, inputs: Sequence[str], wanted: Sequence[str]) -> Recipe:
    """A pair (forward, backward) under those names, or a closure under the name `run`."""
    lines = {n: imported(f, n) for n, f in parts.items()}
    named = {
        n: (f"{n}_ = {f.__qualname__}" if lines[n][0] else lines[n][1].replace(n, f"{n}_", 1)) for n, f in parts.items()
    }
    call = "run_" if "run" in parts else "forward_"
    pull = "kept(*[give(w) for w in v])" if "run" in parts else "backward_(*[give(w) for w in v], kept)"
    body = [
        "def forward(leaves, buffers, mode, seed):",
        "    global kept",
        "    replay(seed)",
        f"    y, kept = {call}({', '.join(f'give(leaves[{n!r}])' for n in inputs)})",
        "    return [torch.as_tensor(t) for t in (y if isinstance(y, tuple) else (y,))]",
        "",
        "",
        "def backward(v):",
        f"    d = {pull}",
        "    d = d if isinstance(d, (tuple, list)) else (d,)",
        f"    return {{n: torch.as_tensor(t) for n, t in zip({list(wanted)!r}, d)}}",
    ]
    return _recipe(library, [line for line, _ in lines.values() if line], list(named.values()), body)


def traced(call: Any, name: str, apply: str, inputs: Sequence[str], wanted: Sequence[str]) -> Recipe:
    """A function whose backward autograd runs; `apply` is ".apply" for an autograd.Function."""
    line, missing = imported(call, name)
    setup = f"function = {call.__qualname__}{apply}" if line else missing.replace(f"{name} =", "function =", 1)
    body = [
        "def forward(leaves, buffers, mode, seed):",
        "    global live, outputs",
        "    replay(seed)",
        f"    live = {{n: t.clone().requires_grad_(n in {list(wanted)!r}) for n, t in leaves.items()}}",
        f"    y = function({', '.join(f'live[{n!r}]' for n in inputs)})",
        "    outputs = y if isinstance(y, tuple) else (y,)",
        "    return [t.detach() for t in outputs]",
        "",
        "",
        "def backward(v):",
        f"    names = {list(wanted)!r}",
        "    return dict(zip(names, torch.autograd.grad(outputs, [live[n] for n in names], v, allow_unused=True)))",
    ]
    return _recipe("torch", [line] if line else [], [setup], body)


def _recipe(library: Library, imports: Sequence[str], setup: Sequence[str], body: Sequence[str]) -> Recipe:
    give = f"\n\ndef give(t):\n    return {_GIVE[library]}\n\n\n"
    return Recipe(("import numpy as np", "import torch", *imports), tuple(setup), _SEED + give + "\n".join(body))
