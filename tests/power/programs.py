"""Random layers: programs of three to twelve operations that reuse their values, with the backward that reverses them.

A program is drawn from a seed, and written as the code of a class that keeps its state, of a pair with a cache or of an
`autograd.Function`, in NumPy or torch. A `Fault` changes it in one place. Nobody has seen these layers, nor chosen them.
"""

from __future__ import annotations

import linecache
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from operations import OPERATIONS, PRELUDE, Axes, Operation, same

WIDE = 3
"""How many columns a matrix makes where it does not keep them."""
OWN = re.compile(r"\b[BT]\b")
"""Sizes that parameters do not have."""
KINDS = (
    "sign", "1e-5", "1.1", "2", "zero", "mean", "batch mean", "roll", "transposed", "last column", "beyond 3", "below 0",
    "at zero", "at ties", "batch of one", "upstream ignored", "half", "overwritten", "narrowed by mean", "narrowed to first",
    "stale", "cotangent in place", "input in place", "mask again", "swapped", "output ignored", "formula",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """out = operation(args)."""

    operation: Operation
    args: tuple[str, ...]
    out: str

    def filled(self, template: str, g: str = "") -> str:
        """A template with the names of this step."""
        names = dict(zip("ab", self.args, strict=False))
        return template.format(X="X", y=self.out, g=g, s=f"s_{self.out}", **names)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the k-th contribution, counted over the steps and their arguments."""

    kind: str
    at: int = 0
    template: str = ""


@dataclass
class Program:
    """The steps, and how they are written down."""

    library: str
    style: str
    inputs: list[str]
    axes: dict[str, Axes]
    parameters: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    by_name: bool = False
    seed: int = 0
    fault: Fault | None = None

    @property
    def labelled(self) -> bool:
        return any("labels" in s.operation.forward + s.operation.saved for s in self.steps)

    @property
    def arguments(self) -> list[str]:
        """Of forward: parameters among them in a function."""
        labels = ["labels"] if self.labelled else []
        return [*self.inputs, *labels, *(self.parameters if self.style != "class" else [])]

    @property
    def leaves(self) -> list[str]:
        return [*self.inputs, *self.parameters]

    @cached_property
    def places(self) -> list[tuple[Step, int]]:
        """The contributions in the order in which backward makes them."""
        return [(s, j) for s in reversed(self.steps) for j in range(len(s.args))]

    def mask(self, of: str) -> str:
        """What drops entries of a value."""
        if self.library == "np":
            source = "self.rng" if self.style == "class" else "np.random"
            return f"(({source}.random({of}.shape) >= 0.3) / 0.7 * np.ones_like({of}))"
        source = ", generator=self.rng" if self.style == "class" else ""
        return f"((torch.rand({of}.shape{source}) >= 0.3).to({of}.dtype) / 0.7)"

    def masked(self, text: str) -> str:
        return re.sub(r"mask\((\w+)\)", lambda m: self.mask(m[1]), text)

    def forward_lines(self) -> Iterator[str]:
        for step in self.steps:
            if step.operation.saved:
                yield f"s_{step.out} = {self.masked(step.filled(step.operation.saved))}"
            yield f"{step.out} = {step.filled(step.operation.forward)}"

    def backward_lines(self) -> Iterator[str]:
        """The reverse sweep."""
        cotangents = {out: f"g{k}" for k, out in enumerate(self.outputs)}
        kind = self.fault.kind if self.fault else ""
        if kind == "output ignored":
            yield "g1 = 0 * g1"
        begun = set(cotangents)
        for out, g in cotangents.items():
            yield f"d_{out} = {g}"
        for k, (step, j) in enumerate(self.places):
            a, here = step.args[j], self.fault is not None and self.fault.at == k
            e = self.contribution(step, j, here)
            added = a in begun and not (here and kind == "overwritten")
            yield f"d_{a} = d_{a} + {e}" if added else f"d_{a} = {e}"
            begun.add(a)
        if kind == "cotangent in place":
            yield "g0 *= 0.5"
        if kind == "input in place":
            yield f"{self.inputs[0]} *= 0.5"
        if kind == "swapped":
            yield f"d_{self.inputs[0]}, d_{self.inputs[1]} = d_{self.inputs[1]}, d_{self.inputs[0]}"

    def contribution(self, step: Step, j: int, here: bool) -> str:
        """What a step gives back to its j-th argument."""
        kind = self.fault.kind if self.fault and here else ""
        template = self.fault.template if self.fault and kind == "formula" else step.operation.back[j]
        if kind == "mask again":
            template = template.replace("{s}", self.mask(step.args[0]))
        g, a = f"d_{step.out}", step.args[j]
        e = step.filled(template, f"X.ones_like({g})" if kind == "upstream ignored" else g)
        if step.operation in BROADCASTING and self.axes[a] != same(*(self.axes[b] for b in step.args)):
            how = {"narrowed by mean": "narrowed_by_mean", "narrowed to first": "narrowed_to_first"}.get(
                kind, "narrowed"
            )
            e = f"{how}({e}, {a})"
        return WRAPPED[kind].format(e=f"({e})", a=a, y=step.out) if kind in WRAPPED else e

    def source(self, name: str = "Layer") -> str:
        """The layer as code."""
        forward, backward = list(self.forward_lines()), list(self.backward_lines())
        text = "\n".join(backward)
        known = [*self.arguments, *(s for step in self.steps for s in (f"s_{step.out}", step.out))]
        if self.style == "class":
            known += self.parameters
        kept = [n for n in dict.fromkeys(known) if re.search(rf"\b{n}\b", text)]
        out = ", ".join(self.outputs)
        gs = ", ".join(f"g{k}" for k in range(len(self.outputs)))
        return WRITTEN[self.style](self, name, forward, backward, kept, out, gs)

    def made(self, name: str = "Layer") -> Any:
        """The class (built with the size D and a dtype), the pair, or the Function."""
        x = "import numpy as np, torch\nX = " + self.library + "\n"
        code = x + PRELUDE + HARMED + "\n" + self.source(name)
        path = f"<program {self.seed} {self.fault}>"
        linecache.cache[path] = (len(code), None, code.splitlines(keepends=True), path)
        scope: dict[str, Any] = {"__name__": "programs_drawn"}
        exec(compile(code, path, "exec"), scope)
        return scope[name] if self.style != "pair" else (scope["forward"], scope["backward"])

    def with_fault(self, fault: Fault) -> Program:
        return replace(self, fault=fault)


HARMED = """
def narrowed_by_mean(g, like):
    n = narrowed(X.ones_like(g), like)
    return narrowed(g, like) / n

def narrowed_to_first(g, like):
    while len(g.shape) > len(like.shape):
        g = g[0]
    for axis, n in enumerate(like.shape):
        if n == 1 and g.shape[axis] != 1:
            g = g.swapaxes(0, axis)[:1].swapaxes(0, axis)
    return g

def halved(e):
    return e.astype(np.float16).astype(e.dtype) if X is np else e.half().to(e.dtype)
"""
WRAPPED = {
    "sign": "-{e}", "1e-5": "{e} * (1 + 1e-5)", "1.1": "{e} * 1.1", "2": "{e} * 2", "zero": "{e} * 0",
    "mean": "{e} / {a}.shape[-1]", "batch mean": "{e} / {a}.shape[0]", "roll": "X.roll({e}, 1, -1)",
    "transposed": "{e}.swapaxes(-1, -2)", "last column": "{e} * (1 + 0.1 * at({a}, -1))",
    "beyond 3": "{e} * (1 + 0.1 * ({a} > 3))", "below 0": "{e} * (1 + 0.1 * ({a} < 0))",
    "at zero": "{e} * (1 + 0.5 * ({a} == 0))", "at ties": "{e} * (1 + 0.5 * ({a} == X.roll({a}, 1, -1)))",
    "batch of one": "{e} * (1.1 if {a}.shape[0] == 1 else 1)", "half": "halved({e})",
}  # fmt: skip
BROADCASTING = [o for o in OPERATIONS if o.name in (
    "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "gate", "sigmoid gate", "hypot", "logaddexp",
    "squared distance", "mean squared error",
) and len(o.back) == 2]  # fmt: skip


def _indented(lines: list[str], by: int) -> str:
    return "".join(" " * by + line + "\n" for line in lines)


def _class(p: Program, name: str, forward: list[str], backward: list[str], kept: list[str], out: str, gs: str) -> str:
    """Keeps what backward needs, and its gradients."""
    made = ["self.rng = " + ("np.random.default_rng(0)" if p.library == "np" else "torch.Generator().manual_seed(0)")]
    for k, w in enumerate(p.parameters):
        made.append(f"self.{w} = drawn({k}, {p.axes[w]!r}, D, dtype)")
    read = [f"{w} = self.{w}" for w in p.parameters]
    put = [f"self.{w}_grad = d_{w}" for w in p.parameters]
    if p.by_name:
        stale = p.fault is not None and p.fault.kind == "stale"
        stays = kept[p.fault.at % len(kept)] if stale and p.fault else ""
        keep = [
            f"if not hasattr(self, 'kept_{n}'): self.kept_{n} = {n}" if n == stays else f"self.kept_{n} = {n}"
            for n in kept
        ]
        recall = [f"{n} = self.kept_{n}" for n in kept]
    else:
        keep = [f"self.kept = [{', '.join(kept)}]"]
        recall = [f"[{', '.join(kept)}] = self.kept"]
    back = ", ".join(f"d_{x}" for x in p.inputs)
    return (
        DRAWN + f"class {name}:\n    def __init__(self, D, dtype='float64'):\n" + _indented(made, 8)
        + f"    def forward(self, {', '.join(p.arguments)}):\n" + _indented([*read, *forward, *keep, f"return {out}"], 8)
        + f"    def backward(self, {gs}):\n" + _indented([*recall, *backward, *put, f"return {back}"], 8)
    )  # fmt: skip


def _pair(p: Program, name: str, forward: list[str], backward: list[str], kept: list[str], out: str, gs: str) -> str:
    """A cache goes from one to the other."""
    back = ", ".join(f"d_{x}" for x in p.leaves)
    return (
        f"def forward({', '.join(p.arguments)}):\n" + _indented([*forward, f"return {out}, [{', '.join(kept)}]"], 4)
        + f"def backward({gs}, cache):\n" + _indented([f"[{', '.join(kept)}] = cache", *backward, f"return {back}"], 4)
    )  # fmt: skip


def _function(
    p: Program, name: str, forward: list[str], backward: list[str], kept: list[str], out: str, gs: str
) -> str:
    """An autograd.Function."""
    back = ", ".join("None" if x == "labels" else f"d_{x}" for x in p.arguments)
    return (
        f"class {name}(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, {', '.join(p.arguments)}):\n"
        + _indented([*forward, f"ctx.kept = [{', '.join(kept)}]", f"return {out}"], 8)
        + f"    @staticmethod\n    def backward(ctx, {gs}):\n"
        + _indented([f"[{', '.join(kept)}] = ctx.kept", *backward, f"return {back}"], 8)
    )  # fmt: skip


DRAWN = """
def drawn(k, axes, D, dtype):
    shape = tuple(eval(n, {"D": D}) for n in axes)
    rng = np.random.default_rng(k)
    w = rng.standard_normal(shape)
    w = w / shape[0] ** 0.5 if len(shape) == 2 else 1 + 0.3 * w if k % 2 else 0.5 * w
    w = np.asarray(w).astype(dtype)
    return w if X is np else torch.tensor(w)

"""
WRITTEN: dict[str, Callable[..., str]] = {"class": _class, "pair": _pair, "function": _function}


def program(seed: int) -> Program:
    """A program drawn from a seed."""
    rng = random.Random(seed)
    library = rng.choice(["np", "torch"])
    style = rng.choice(["class", "class", "pair"] if library == "np" else ["class", "class", "pair", "function"])
    main: Axes = rng.choice([("B", "D"), ("B", "D"), ("B", "T", "D")])
    inputs = [f"x{k}" for k in range(rng.choice([1, 1, 1, 2, 2, 3]))]
    p = Program(library, style, inputs, dict.fromkeys(inputs, main), by_name=rng.random() < 0.5, seed=seed)
    wanted, positive, tries = rng.randint(3, 12), set[str](), 0
    while len(p.steps) < wanted and tries < 400:
        tries += 1
        step = _step(p, rng, positive)
        if step is not None:
            p.steps.append(step)
    _joined(p)
    ends = [p.steps[-1].out]
    if style != "pair" and rng.random() < 0.2 and len(p.steps) > 3:
        ends.append(rng.choice(p.steps[:-1]).out)
    return _pruned(replace(p, outputs=ends))


def _joined(p: Program) -> None:
    """Adds what is not used so far, where shapes allow."""
    add = next(o for o in OPERATIONS if o.name == "add")
    while True:
        used = {a for s in p.steps for a in s.args}
        last = p.steps[-1].out
        loose = [
            n
            for n in p.axes
            if n not in used and n != last and (made := add.shape(p.axes[n], p.axes[last])) is not None
        ]
        if not loose:
            return
        made, out = add.shape(p.axes[loose[0]], p.axes[last]), f"v{len(p.steps)}"
        assert made is not None
        p.axes[out] = made
        p.steps.append(Step(add, (last, loose[0]), out))


def _step(p: Program, rng: random.Random, positive: set[str]) -> Step | None:
    """One operation on values that are there, new ones preferred, or on a new parameter."""
    operation = rng.choices(OPERATIONS, [o.weight for o in OPERATIONS])[0]
    used = {a for s in p.steps for a in s.args}
    values = [n for n in p.axes if n not in p.parameters]
    likely = [8.0 if n not in used else 1.0 for n in values]
    args = [rng.choices(values, likely)[0] for _ in operation.back]
    if operation.positive and positive:
        args[-1] = rng.choice(sorted(positive))
    axes = [p.axes[a] for a in args]
    if operation.name == "matrix product" or (
        operation in BROADCASTING
        and not operation.positive
        and operation.name != "mean squared error"
        and rng.random() < 0.4
    ):
        w = _parameter(p, operation, axes[0], rng)
        if w is None:
            return None
        args[1], axes[1] = w
    if operation.positive and args[-1] not in positive:
        return None
    shape = operation.shape(*axes)
    if shape is None or (
        len(set(args)) < len(args) and operation.name in ("subtract", "squared distance", "mean squared error")
    ):
        return None
    out = f"v{len(p.steps)}"
    if len(args) == 2 and args[1].startswith("w") and args[1] not in p.parameters:
        p.parameters.append(args[1])
        p.axes[args[1]] = axes[1]
    p.axes[out] = shape
    if operation.gives_positive or (
        operation.name in ("mean", "sum", "max", "divide", "sum over the batch", "turn") and set(args) <= positive
    ):
        positive.add(out)
    return Step(operation, tuple(args), out)


def _parameter(p: Program, operation: Operation, a: Axes, rng: random.Random) -> tuple[str, Axes] | None:
    """A parameter beside a value, one that is there or a new one."""
    if operation.name != "matrix product" and rng.random() < 0.15:
        fit: Axes = ()
    elif not a or a[-1] == "1" or OWN.search(a[-1]):
        return None
    elif operation.name == "matrix product":
        fit = (a[-1], rng.choice([a[-1], str(WIDE)]))
    else:
        fit = (a[-1],)
    there = [w for w in p.parameters if p.axes[w] == fit]
    if there and (rng.random() < 0.3 or len(p.parameters) == 3):
        return there[0], fit
    return (f"w{len(p.parameters)}", fit) if len(p.parameters) < 3 else None


def _pruned(p: Program) -> Program:
    """Without what no output depends on."""
    live = set(p.outputs)
    for step in reversed(p.steps):
        if step.out in live:
            live.update(step.args)
    steps = [s for s in p.steps if s.out in live]
    return replace(
        p, steps=steps, inputs=[x for x in p.inputs if x in live], parameters=[w for w in p.parameters if w in live]
    )


def faults(p: Program, rng: random.Random) -> Fault | None:
    """One way in which it may be wrong; None where the kind drawn does not go with the program."""
    kind, at = rng.choice([*KINDS, *["formula"] * 6]), rng.randrange(len(p.places))
    step, j = p.places[at]
    a = p.axes[step.args[j]]
    narrow = step.operation in BROADCASTING and a != same(*(p.axes[b] for b in step.args))
    begun = {*p.outputs, *(s.args[i] for s, i in p.places[:at])}
    formulas = [t for k, t in step.operation.wrong if k == j]
    fits = {
        "mean": bool(a), "batch mean": bool(a), "roll": bool(a), "transposed": len(a) > 1 and a[-1] == a[-2],
        "last column": bool(a), "at ties": bool(a), "batch of one": bool(a), "overwritten": step.args[j] in begun,
        "narrowed by mean": narrow, "narrowed to first": narrow, "stale": p.style == "class" and p.by_name,
        "mask again": step.operation.random, "swapped": len(p.inputs) > 1, "output ignored": len(p.outputs) > 1,
        "formula": bool(formulas),
    }  # fmt: skip
    if not fits.get(kind, True):
        return None
    return Fault(kind, at, rng.choice(formulas) if kind == "formula" else "")


def sizes(rng: random.Random) -> dict[str, int]:
    """Of the axes, those of one and equal ones among them."""
    return {"B": rng.choice([1, 2, 3, 4, 5, 7]), "T": rng.choice([1, 2, 3, 4]), "D": rng.choice([1, 2, 3, 4, 5, 8])}


def shape_of(axes: Axes, at: dict[str, int]) -> tuple[int, ...]:
    return tuple(eval(n, dict(at)) for n in axes)


def values(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Numbers at a scale, perhaps shifted, with ties, zeros or constant rows."""
    scale = 1.0 if rng.random() < 0.5 else 10 ** rng.uniform(-3, 3)
    x = scale * rng.standard_normal(shape)
    match rng.integers(12):
        case 0:
            x = np.round(2 * x / scale) * scale / 2
        case 1:
            x = x * (rng.random(shape) < 0.6)
        case 2:
            x = x + 5 * scale
        case 3:
            x = np.broadcast_to(x[..., :1], shape).copy() if shape else x
        case 4:
            x = np.abs(x)
    return x


def leaves(p: Program, seed: int, at: dict[str, int] | None = None) -> tuple[list[Any], dict[str, int], str]:
    """What forward is called with at a drawn point, the sizes, and the dtype."""
    rng = np.random.default_rng([p.seed, seed])
    at = at or sizes(random.Random(1000 * p.seed + seed))
    dtype = "float32" if rng.random() < 0.1 else "float64"
    given = []
    for n in p.arguments:
        if n == "labels":
            x = rng.integers(0, at["D"], at["B"])
        elif n in p.parameters:
            shape = shape_of(p.axes[n], at)
            x = rng.standard_normal(shape) / (shape[0] ** 0.5 if len(shape) == 2 else 1)
            x = np.asarray(x).astype(dtype)
        else:
            x = values(shape_of(p.axes[n], at), rng).astype(dtype)
        given.append(x if p.library == "np" else torch.tensor(x))
    return given, at, dtype


def layer(p: Program, at: dict[str, int], dtype: str) -> Any:
    """The layer for these sizes."""
    made = p.made()
    return made(at["D"], dtype) if p.style == "class" else made


def evaluated(
    p: Program, made: Any, given: list[Any], seed: int = 0, cotangents: list[Any] | None = None
) -> tuple[list[Any], list[Any]]:
    """Outputs, and the gradients of inputs and parameters, as NumPy arrays, without the harness."""
    np.random.seed(seed)  # noqa: NPY002  (the pairs draw from it)
    torch.manual_seed(seed)
    given = [x.copy() if isinstance(x, np.ndarray) else x.clone() for x in given]
    if p.style == "function":
        tensors = [x.requires_grad_() if x.is_floating_point() else x for x in given]
        outs = _many(made.apply(*tensors))
        v = _cotangents(p, outs, cotangents)
        found = torch.autograd.grad(outs, [t for t in tensors if t.requires_grad], v, allow_unused=True)
        return [_array(o) for o in outs], [_array(g) for g in found]
    if p.style == "pair":
        out, cache = made[0](*given)
        v = _cotangents(p, [out], cotangents)
        return [_array(out)], [_array(g) for g in _many(made[1](*v, cache))]
    outs = _many(made.forward(*given))
    v = _cotangents(p, outs, cotangents)
    found = _many(made.backward(*v))
    return [_array(o) for o in outs], [_array(g) for g in [*found, *(getattr(made, f"{w}_grad") for w in p.parameters)]]


def _cotangents(p: Program, outs: list[Any], given: list[Any] | None) -> list[Any]:
    rng = np.random.default_rng(7)
    drawn = given or [rng.choice([-1, 1], np.shape(o)) * rng.uniform(0.5, 1.5, np.shape(o)) for o in map(_array, outs)]
    if p.library == "np":
        return [np.asarray(v).astype(_array(o).dtype) for v, o in zip(drawn, outs, strict=True)]
    return [torch.tensor(v).to(o.dtype) for v, o in zip(drawn, outs, strict=True)]


def _many(x: Any) -> list[Any]:
    return list(x) if isinstance(x, tuple | list) else [x]


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
