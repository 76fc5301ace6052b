"""The spec of one file on the layer of another: `build` is looked up there."""

from __future__ import annotations

import builtins
import dis
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import CodeType, FunctionType, ModuleType
from typing import Any

from harness.builds import from_string, namespace_of
from harness.outcome import SpecError
from harness.report import RENAMED
from harness.spec import RESERVED, LayerSpec
from harness.spelling import near


def called(spec: LayerSpec, index: int) -> str:
    """What the spec is called, whatever any file holds."""
    if spec.name:
        return spec.name
    names = _looked_up(spec)
    layers = [n for n in names if n not in _scope(spec.build)] or names
    return layers[0].removesuffix("_forward") if layers else f"spec {index + 1}"


def rebound(spec: LayerSpec, module: ModuleType, name: str) -> tuple[LayerSpec, str]:
    """The spec under this name, with the names in its `build` looked up in the module first, and what is to be told of that: the
    names that are written there in another case, or with other underscores.

    Raises:
        SpecError: the module has nothing that `build` names, or `build` is a layer already.
    """
    build = spec.build
    names = _looked_up(spec)
    if not names:
        raise SpecError(
            f"the spec {name} is made from a {type(build).__name__}, which no other file has: write "
            f'build="{type(build).__name__}(...)" for a class that each file defines'
        )
    own = {n: v for n, v in vars(module).items() if not n.startswith("__")}
    missing = [n for n in names if n not in own or isinstance(own[n], ModuleType)]
    alike = {n: found for n in missing if (found := _alike(n, own, module))}
    missing = [n for n in missing if n not in alike]
    if len(missing) == len(names) or (missing and not isinstance(build, FunctionType)):
        nowhere = [n for n in missing if n not in _scope(build)] or missing
        raise SpecError(_absent(nowhere, _defined(own, module)))
    note = f"{RENAMED} {', '.join(alike.values())} there" if alike else ""
    return replace(spec, build=_build(build, own | {n: own[a] for n, a in alike.items()}, spec), name=name), note


def _defined(own: Mapping[str, Any], module: ModuleType) -> list[str]:
    """The classes and functions that a module defines itself."""
    return [n for n, v in own.items() if callable(v) and getattr(v, "__module__", None) == module.__name__]


def _alike(name: str, own: Mapping[str, Any], module: ModuleType) -> str:
    """The one class or function of the module whose name differs in case and underscores alone; empty where there is none, or
    more. A function is none for a class, `linear` none for `Linear`: what it takes is something else."""

    def plain(n: str) -> str:
        return n.replace("_", "").lower()

    close = [n for n in _defined(own, module) if plain(n) == plain(name) and isinstance(own[n], type) != name.islower()]
    return close[0] if len(close) == 1 else ""


def _absent(missing: list[str], has: list[str]) -> str:
    """That these are not there, what is, and what to write for one that may be meant."""
    said = f"there is no {' and no '.join(missing)}; it has {', '.join(has) or 'nothing'}"
    close = {n: there for n in missing if (there := near(n, has))}
    return said + "".join(f"; did you mean {there}? then add to the file: {n} = {there}" for n, there in close.items())


def _build(build: Any, own: Mapping[str, Any], spec: LayerSpec) -> Any:
    if isinstance(build, tuple):
        return tuple(own[part.__name__] for part in build)
    if isinstance(build, type):
        return own[build.__name__]
    if (namespace := namespace_of(build)) is not None:
        return from_string(build.__name__, _known(spec), {**namespace, **own})
    copy = FunctionType(
        build.__code__, {**build.__globals__, **own}, build.__name__, build.__defaults__, build.__closure__
    )
    copy.__kwdefaults__ = build.__kwdefaults__
    return copy


def _known(spec: LayerSpec) -> set[str]:
    return {*spec.sizes, *spec.starred, *spec.options, *RESERVED}


def _looked_up(spec: LayerSpec) -> list[str]:
    """The names of layers that `build` looks up: neither dimensions, nor modules, nor what Python has itself."""
    build = spec.build
    if isinstance(build, (tuple, type)):
        parts: Iterable[Any] = build if isinstance(build, tuple) else (build,)
        return [part.__name__ for part in parts if hasattr(part, "__name__")]
    if not isinstance(build, FunctionType):
        return []
    code = compile(build.__name__, "<build>", "eval") if namespace_of(build) is not None else build.__code__
    scope = _scope(build)
    own = {*_known(spec), *dir(builtins)}
    return [n for n in _globals(code) if n not in own and not isinstance(scope.get(n), ModuleType)]


def _scope(build: Any) -> Mapping[str, Any]:
    """Where the spec's own file looks its names up."""
    scope: Mapping[str, Any] = namespace_of(build) or getattr(build, "__globals__", {})
    return scope


def _globals(code: CodeType) -> list[str]:
    """The global names that code looks up, also inside its lambdas."""
    found = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    inner = [n for c in code.co_consts if isinstance(c, CodeType) for n in _globals(c)]
    return list(dict.fromkeys([*found, *inner]))
