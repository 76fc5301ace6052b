"""How a standalone script calls a layer, for each kind of convention."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType, MethodType
from typing import Any

from harness.scripts.written import constructed, imported, operator
from harness.subject import Recipe
from harness.tensors.arrays import Library
from harness.tensors.nested import Arrangement, bracketed, flat, parts_in

_GIVE = {"torch": "t.clone()", "numpy": "t.numpy().copy()[()]"}

_SEED = """
def replay(seed):
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
"""
"""Generators that the layer holds follow."""

_FLAT = """

def flat(y):
    y = list(y.values()) if isinstance(y, dict) else y
    return [t for part in y for t in flat(part)] if isinstance(y, (tuple, list)) else [y]


"""


def module(
    layer: Any,
    name: str,
    inputs: Sequence[str],
    wanted: Sequence[str],
    parameters: Sequence[str],
    made: Mapping[str, Any] | None,
    words: str = "",
    places: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Recipe:
    """A torch.nn.Module, called with its parameters and buffers put in their places, and with what stands at `places` in it."""
    imports, make = making(layer, made, called=name)
    held = f"{{**{{n: live[n] for n in {list(parameters)!r}}}, **{{n: t.clone() for n, t in buffers.items()}}}}"
    body = _graphed(
        wanted,
        ["layer.train(mode == 'train')"],
        [
            f"held = {held}",
            *(_placed(f"layer{code}", f"live[{n!r}]") for n, codes in places.items() for code in codes),
        ],
        f"torch.func.functional_call(layer, held, ({', '.join(inputs)},){words and f', dict({words})'})",
    )
    return assembled("torch", imports, [make], body)


def _graphed(wanted: Sequence[str], before: Sequence[str], placing: Sequence[str], call: str) -> list[str]:
    """Forward and backward of what autograd goes back through: `before` the leaves are `live`, `placing` them, and the `call`."""
    return [
        "def forward(leaves, buffers, mode, seed):",
        "    global live, outputs",
        "    replay(seed)",
        *(f"    {line}" for line in before),
        f"    live = {{n: t.clone().requires_grad_(n in {list(wanted)!r}) for n, t in leaves.items()}}",
        *(f"    {line}" for line in placing),
        f"    y = {call}",
        "    outputs = flat(y)",
        "    return [t.detach() for t in outputs]",
        "",
        "",
        "def backward(v):",
        f"    names = {list(wanted)!r}",
        "    return dict(zip(names, torch.autograd.grad(outputs, [live[n] for n in names], v, allow_unused=True)))",
    ]


def making(thing: Any, made: Mapping[str, Any] | None, name: str = "layer", called: str = "") -> tuple[list[str], str]:
    """The import that is needed and the line that makes an object, of what it was `made` of; the line is left to be filled in where
    its class can't be imported."""
    kind = type(thing)
    line, _ = imported(kind, kind.__name__)
    if not line:
        return [], f"{name} = ...  # fill in: a {called or kind.__name__}"
    return [line], f"{name} = {constructed(kind, made)}"


def passed(arguments: Mapping[str, Any], leaves: Container[str]) -> list[str]:
    """The arguments of a call: leaves by name, everything else as it is written."""
    return [_passed(n, value, leaves) for n, value in arguments.items()]


def _passed(name: str, value: Any, leaves: Container[str]) -> str:
    if name in leaves:
        return f"give(leaves[{name!r}])"
    if (parts := parts_in(value)) is not None and any(n in leaves for n, _ in flat(name, value)):
        return bracketed(value, [_passed(f"{name}.{k}", part, leaves) for k, part in parts])
    return repr(value)


def cotangents_of(arranged: Arrangement, bundled: bool) -> str:
    """The cotangents `v` as a backward takes them; `bundled`: in one tuple."""
    if arranged.nested:
        inside = ", ".join(arranged.code("v"))
        return f"({inside},)" if bundled else inside
    return "tuple(give(w) for w in v)" if bundled else "*[give(w) for w in v]"


def keywords_of(kwargs: Mapping[str, Any], modes: Mapping[str, Mapping[str, Any]]) -> str:
    """The keywords of forward, those of the mode among them; nothing where there are none."""
    if modes:
        return f"**{ {m: {**kwargs, **words} for m, words in modes.items()}!r}[mode]"
    return f"**{dict(kwargs)!r}" if kwargs else ""


def by_name(wanted: Sequence[str]) -> list[str]:
    """A dict of gradients, in the order of the inputs; `dx`, `grad_x` and `x_grad` are the gradient of x."""
    pick = "next(v for k, v in d.items() if n in (k, k[1:]) or n in k.split('_'))"
    last = [n.rpartition(".")[2] for n in wanted]  # of a dict among the inputs, what they are called there
    lines = ["    if isinstance(d, dict):", f"        d = [{pick} for n in {last!r}]"]
    if within := [k for n, k in zip(wanted, last, strict=True) if n != k and not k.isdecimal()]:
        entries = f"[p.get(k, p.get('d' + k)) for k in {within!r} if k in p or 'd' + k in p]"
        lines += ["    if isinstance(d, tuple):", f"        d = [{entries} if isinstance(p, dict) else p for p in d]"]
    return lines


@dataclass(frozen=True)
class Pulling:
    """How a script calls a backward which asks for more than cotangents and a cache."""

    call: str
    kept: str = ""
    """What forward keeps for it, where that is not what it returns beside its outputs."""
    outputs: int = 0
    """How many outputs are judged of a forward that returns them side by side, before what it keeps."""


def functions(
    parts: Mapping[str, Any],
    library: Library,
    inputs: Sequence[str],
    wanted: Sequence[str],
    keywords: str = "",
    cotangents: str = "*[give(w) for w in v]",
    pulling: Pulling | None = None,
) -> Recipe:
    """A pair (forward, backward) under those names, or a closure under the name `run`; `pulling`: a backward that asks for more
    than the cotangents and the cache, or for none."""
    lines = {n: imported(f, n) for n, f in parts.items()}
    named = {
        n: (f"{n}_ = {f.__qualname__}" if lines[n][0] else lines[n][1].replace(n, f"{n}_", 1)) for n, f in parts.items()
    }
    call = "run_" if "run" in parts else "forward_"
    pull = f"kept({cotangents})" if "run" in parts else f"backward_({cotangents}, kept)"
    several = pulling.outputs if pulling else 0
    handed = pulling is not None and "handed" in (pulling.call + pulling.kept)
    body = [
        "def forward(leaves, buffers, mode, seed):",
        f"    global kept{', handed' if handed else ''}",
        "    replay(seed)",
        *(["    handed = leaves"] if handed else []),
        f"    {'*' if several else ''}y{', kept' if not pulling or not pulling.kept else ''} = "
        f"{call}({', '.join([*inputs, *([keywords] if keywords else [])])})",
        *([f"    kept = {pulling.kept}"] if pulling and pulling.kept else []),
        *([f"    y = y[:{several}]"] if several else []),
        "    return [torch.as_tensor(t) for t in flat(y)]",
        "",
        "",
        "def backward(v):",
        f"    d = {pulling.call if pulling else pull}",
        *by_name(wanted),
        "    d = flat(d)",
        f"    return {{n: torch.as_tensor(t) for n, t in zip({list(wanted)!r}, d)}}",
    ]
    return assembled(library, [line for line, _ in lines.values() if line], list(named.values()), body)


def traced(
    call: Any,
    name: str,
    apply: str,
    inputs: Sequence[str],
    wanted: Sequence[str],
    keywords: str = "",
    held: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Recipe:
    """A function whose backward autograd runs; `apply` is ".apply" for an autograd.Function, `held` where the tensors stand that it
    computes with beside its arguments."""
    line, called = operator(call)
    if not called:
        line, missing = ("", _METHOD.format(name)) if isinstance(call, MethodType) else imported(call, name)
        called = f"{call.__qualname__}{apply}" if line else missing.removeprefix(f"{name} = ")
    setup = f"function = {called}"
    placing = [_placed(code, f"live[{n!r}]") for n, codes in held.items() for code in codes]
    body = _graphed(wanted, [], placing, f"function({', '.join([*inputs, *([keywords] if keywords else [])])})")
    return assembled("torch", [line] if line else [], [setup], body)


_METHOD = "...  # fill in: the method {} of an object"


def _placed(code: str, value: str) -> str:
    """The line that puts a value where it is written `code`; of an entry of a tuple, the whole tuple anew."""
    for name in ("__defaults__", "args"):
        whole, found, entry = code.rpartition(f".{name}[")
        if found and entry[:-1].isdecimal():
            code, k = f"{whole}.{name}", int(entry[:-1])
            value = f"(*{code}[:{k}], {value}, *{code}[{k + 1}:])"
            if name == "args":
                return f"{whole}.__setstate__(({whole}.func, {value}, {whole}.keywords, {whole}.__dict__))"
    return f"{code} = {value}"


def adapted(
    plain: Recipe, wrapped: Any, made: Mapping[str, Any] | None, forward: Sequence[str], back: Sequence[str]
) -> Recipe:
    """The script of an object that stands around `wrapped`, which is not the user's: written out with these lines as its
    `__call__(self, *inputs, **words)` and `backward(self, *v)`."""
    own, make = making(wrapped, made, "wrapped")
    lines = [
        "",
        "",
        "class Adapter:",
        "    def __call__(self, *inputs, **words):",
        "        self.inputs = inputs",
        *(f"        {code}" for code in forward),
        "        return self.outputs",
        "",
        "    def backward(self, *v):",
        *(f"        {code}" for code in back),
        "",
        "",
        "layer = Adapter()",
        "layer.wrapped = wrapped",
    ]
    imports = [i for i in plain.imports if not i.startswith("from harness")]
    more = ["from types import SimpleNamespace"] if any("SimpleNamespace" in code for code in (*forward, *back)) else []
    # what follows the layer's own line stays
    return Recipe((*more, *imports, *own), (make, *lines, *plain.setup[1:]), plain.functions)


def seeded(recipe: Recipe, lines: Sequence[str]) -> Recipe:
    """The script with these lines too where generators are seeded."""
    more = "".join(f"    {line}\n" for line in lines)
    return replace(recipe, functions=recipe.functions.replace(_SEED, _SEED + more, 1))


def assembled(library: Library, imports: Sequence[str], setup: Sequence[str], body: Sequence[str]) -> Recipe:
    """The recipe of these lines: imports, what makes the layer, and the functions `forward` and `backward`."""
    give = f"\n\ndef give(t):\n    return {_GIVE[library]}\n"
    return Recipe(
        ("import numpy as np", "import torch", *imports), tuple(setup), _SEED + give + _FLAT + "\n".join(body)
    )
