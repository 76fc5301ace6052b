"""Layers in a module for which it holds no spec: hand-written backward passes, found by their form."""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

from harness.builds import namespace_of
from harness.models import ValueAndGrad, value_and_grad
from harness.reading.handed import is_named_loss
from harness.reading.members import (
    ALL_INPUTS,
    CONTEXTS,
    asked_by,
    derivative_of,
    function_of,
    is_method,
    is_named_derivative,
    operation_of,
    updates_of,
)
from harness.reading.modes import KEYWORDS
from harness.reading.titles import renamed
from harness.spec import LayerSpec
from harness.targets.factories import gives_pullback, made_by


@dataclass(frozen=True)
class Candidate:
    """What looks like a layer: a class with forward and backward or a derivative, a torch.autograd.Function, an operator, a pair
    of functions."""

    name: str
    layer: Any
    module: ModuleType
    source: str
    """The expression that is the layer, or the class or function that makes it."""

    factory: Any = None
    """The function that makes it; `layer` is then a class of such, or functions that ask for the same."""

    @property
    def namespace(self) -> Mapping[str, Any]:
        """Where that expression is looked up."""
        return {"value_and_grad": value_and_grad, "SimpleNamespace": SimpleNamespace, **vars(self.module)}

    @property
    def makes(self) -> bool:
        """Whether the layer is made by calling a class or function."""
        return self.factory is not None or (isinstance(self.layer, type) and not _is_function(self.layer))

    @property
    def forward(self) -> Any:
        """Its forward."""
        if _is_operator(self.layer):
            return self.layer._init_fn
        if isinstance(self.layer, ValueAndGrad):
            return self.layer.f
        if inspect.isfunction(self.layer):
            return self.layer
        return self.layer[0] if isinstance(self.layer, tuple) else getattr(self.layer, self._forward)

    @property
    def _forward(self) -> str:
        return (_methods(self.layer) or ("forward",))[0]

    def scalars(self) -> dict[str, str]:
        """{parameter of forward: "float", "int" or "bool"} of those that are annotated so."""
        said = {p.name: getattr(p.annotation, "__name__", str(p.annotation)) for p in _parameters(self.forward)}
        return {n: kind for n, kind in said.items() if kind in ("float", "int", "bool")}

    @property
    def gathers(self) -> bool:
        """Whether its forward takes all inputs in one tuple, as an operation's may, so that nobody knows how many."""
        named = operation_of(self.layer) if self.makes else None
        asked = [n for n in asked_by(self.layer, named[0]) if n not in CONTEXTS] if named else []
        return len(asked) == 1 and asked[0] in ALL_INPUTS

    def construction(self) -> list[inspect.Parameter]:
        """The parameters without a default that the constructor has."""
        if not self.makes:
            return []
        parameters = _parameters(self.factory or self.layer)
        return [p for p in parameters if p.default is p.empty]

    def variadic(self) -> str:
        """What its constructor takes any number of, such as layers; empty where it takes no such thing, or passes it on."""
        parameters = _all_parameters(self.factory or self.layer) if self.makes else []
        return next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL and p.name not in ("args", "_")), "")

    def inputs(self) -> list[str]:
        """The parameters without a default that forward has, without `self` and `ctx`; where it has none, those that it takes by
        keyword, or any number as one."""
        parameters = [p for p in _parameters(self.forward) if p.kind is not p.KEYWORD_ONLY]
        if _is_function(self.layer):
            own = "setup_context" in {n for c in self.layer.__mro__[:-1] if not _is_torchs(c) for n in vars(c)}
            parameters = parameters if own else parameters[1:]
        elif isinstance(self.layer, type) and inspect.isfunction(inspect.getattr_static(self.layer, self._forward)):
            parameters = parameters[1:]
        if self.makes and parameters and parameters[0].name in CONTEXTS:
            parameters = parameters[1:]
        found = [p.name for p in parameters if p.default is p.empty]
        if self.makes:  # `forward(inputs, training)`: a mode, with a default or without
            found = [n for n in found if n not in KEYWORDS] or found
        others = [p for p in _all_parameters(self.forward) if p.default is p.empty]
        by_keyword = [p.name for p in others if p.kind is p.KEYWORD_ONLY and p.name not in KEYWORDS]
        any_number = [p.name for p in others if p.kind is p.VAR_POSITIONAL and self.makes]
        return found or by_keyword or any_number


def _all_parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a builtin
        return []


def _parameters(function: Any) -> list[inspect.Parameter]:
    return [p for p in _all_parameters(function) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def candidates(module: ModuleType, specs: Iterable[LayerSpec]) -> list[Candidate]:
    """The layers that a module defines and that no spec mentions; of a package, its modules' as well."""
    covered = {name for spec in specs for name in mentioned(spec)}
    return [c for inner in _modules(module) for c in _in(inner) if c.name not in covered]


def _modules(module: ModuleType) -> list[ModuleType]:
    """The module, and what has been imported of a package."""
    within = [m for n, m in sys.modules.items() if n.startswith(f"{module.__name__}.")] if _is_package(module) else []
    return [module, *within]


def _is_package(module: ModuleType) -> bool:
    return hasattr(module, "__path__")


def _in(module: ModuleType) -> Iterator[Candidate]:
    own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    kinds = [v for v in own.values() if isinstance(v, type)]
    for name, value in own.items():
        if any(value in kind.__mro__[1:] for kind in kinds) and _has_stub(value):
            continue  # what is left to subclasses is written there
        if isinstance(value, type) and value.__name__ == name and (_is_function(value) or _has_both(value)):
            yield Candidate(name, value, module, name)
        elif inspect.isfunction(value):
            for stem, other in _counterparts(name):
                twice = stem == name and {f"{name}_forward", f"{name}_fwd"} & {*own}
                if inspect.isfunction(back := own.get(other)) and not twice:
                    yield Candidate(stem, (value, back), module, f"({name}, {other})")
                    break
            else:
                derived = [n for n, v in own.items() if _is_derivative(v, value)]
                if len(derived) == 1:
                    yield Candidate(name, (value, own[derived[0]]), module, f"({name}, {derived[0]})")
                elif _gives_both(value):
                    yield Candidate(name, value_and_grad(value), module, f"value_and_grad({name})")
                elif (made := made_by(value, _is_layer, _is_pair)) is not None:
                    yield Candidate(name, made, module, name, value)
                elif gives_pullback(value.__code__) and not name.startswith("_"):
                    yield Candidate(name, value, module, name)
    for name, value in vars(module).items():
        if _is_operator(value) and value._init_fn.__module__ == module.__name__:
            yield Candidate(name, value, module, name)


def _is_layer(kind: type) -> bool:
    return not _is_function(kind) and _has_both(kind)


def _is_pair(forward: str, backward: str) -> bool:
    return backward in {other for _, other in _counterparts(forward)}


def _gives_both(function: FunctionType) -> bool:
    """Whether a function is a loss by its name and returns two things, as CS231n's `svm_loss(x, y) -> (loss, dx)`."""
    if function.__name__.startswith("_") or not is_named_loss(function.__name__):
        return False
    steps = [(s.opname, s.arg) for s in dis.get_instructions(function)]
    return any(a == ("BUILD_TUPLE", 2) and b[0] == "RETURN_VALUE" for a, b in pairwise(steps))


def _is_derivative(other: Any, function: FunctionType) -> bool:
    """Whether something is a function's derivative, by its name and what it asks for."""
    if not inspect.isfunction(other) or not is_named_derivative(function.__name__, other.__name__):
        return False
    asked, given = ([p for p in _parameters(f) if p.default is p.empty] for f in (other, function))
    return 0 < len(asked) == len(given)


PULLBACKS = ("vjp", "pullback", "bprop", "backprop")
"""What stands beside a function's name in that of its backward."""


def _counterparts(name: str) -> list[tuple[str, str]]:
    """What the layer and its backward may be called whose forward has this name."""
    found = []
    for forward, backward in (("forward", "backward"), ("fwd", "bwd")):
        if name.endswith(f"_{forward}"):
            stem = name.removesuffix(f"_{forward}")
            found.append((stem, f"{stem}_{backward}"))
        elif name.startswith(f"{forward}_"):
            stem = name.removeprefix(f"{forward}_")
            found.append((stem, f"{backward}_{stem}"))
        elif name == forward:
            found.append((name, backward))
        elif f"_{forward}_" in name:  # conv_forward_naive
            found.append((name.replace(f"_{forward}_", "_"), name.replace(f"_{forward}_", f"_{backward}_")))
        elif not name.startswith((backward, "_")) and not name.endswith(backward):
            found += [(name, f"{name}_{backward}"), (name, f"{backward}_{name}")]
    if not name.startswith(("_", *PULLBACKS)):
        found += [pair for back in PULLBACKS for pair in ((name, f"{name}_{back}"), (name, f"{back}_{name}"))]
    return found


def _is_operator(value: Any) -> bool:
    """Whether it is a torch.library operator that someone wrote with a backward."""
    return type(value).__name__ == "CustomOpDef" and getattr(value, "_backward_fn", None) is not None


def _methods(layer: Any) -> tuple[str, str] | None:
    """What forward and backward of a class are called, or its function and derivative."""
    if named := renamed(layer):
        return named["forward"], named["backward"]
    for pair in (("forward", "backward"), ("__call__", "backward")):
        if all(is_method(layer, n) for n in pair):
            return pair
    if updates := updates_of(layer):
        return updates[0], updates[1]
    return operation_of(layer) or derivative_of(layer) or (("loss", "loss") if is_whole(layer) else None)


def is_whole(layer: Any) -> bool:
    """Whether it is a class of whole models, whose loss, or one above it that it changes, returns their gradients too, as CS231n's
    `loss(X, y) -> (loss, grads)`."""
    found = [function_of(kind, "loss") for kind in layer.__mro__] if isinstance(layer, type) else []
    return any(inspect.isfunction(loss) and _gives_both(loss) for loss in found)


def _has_both(layer: type) -> bool:
    """Whether forward and backward are written there, and are no stubs for a subclass to fill."""
    parts = [function_of(layer, n) for n in _methods(layer) or ()]
    written = all(inspect.isfunction(p) and not _is_stub(p.__code__) for p in parts)
    return bool(parts) and written and not inspect.isabstract(layer)


def _has_stub(layer: type) -> bool:
    """Whether a method is left to subclasses by raising NotImplementedError; torch's own, such as a Function's `jvp`, are not asked for."""
    functions = (function_of(layer, n) for n in dir(layer) if n not in dir(object))
    own = (f for f in functions if inspect.isfunction(f) and not (f.__module__ or "").startswith("torch."))
    return any(f.__code__.co_names == ("NotImplementedError",) for f in own)


def _is_stub(code: CodeType) -> bool:
    """`raise NotImplementedError`, `pass` or `...`."""
    if code.co_names == ("NotImplementedError",):
        return True
    returns = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    steps = list(dis.get_instructions(code))
    return {s.opname for s in steps} <= returns and steps[-1].argval is None and steps[-2].argval is None


def _is_function(layer: Any) -> bool:
    """Whether it is a torch.autograd.Function that someone wrote."""
    if not isinstance(layer, type) or _is_torchs(layer):
        return False
    return any(_is_torchs(base) for base in layer.__mro__) and "forward" in {n for c in layer.__mro__ for n in vars(c)}


def _is_torchs(layer: type) -> bool:
    return layer.__module__ == "torch.autograd.function"


def mentioned(spec: LayerSpec) -> set[str]:
    """The names of classes and functions that a spec's build refers to, and its own."""
    build = spec.build
    parts = build if isinstance(build, tuple) else (build,)
    found = {n for part in parts for n in _named(part)}
    return {n.removesuffix("_forward") for n in found | ({spec.name} if spec.name else set())}


def _named(build: Any) -> set[str]:
    if isinstance(build, type):
        return {build.__name__}
    if not inspect.isfunction(build):
        return {type(build).__name__}
    if namespace_of(build) is not None:
        nodes = list(ast.walk(ast.parse(build.__name__, mode="eval")))
        attributes = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        return attributes | {n.id for n in nodes if isinstance(n, ast.Name)}
    return {build.__name__, *build.__code__.co_names}
