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
from harness.spec import RESERVED, LayerSpec


def called(spec: LayerSpec, index: int) -> str:
    """What the spec is called, whatever any file holds."""
    if spec.name:
        return spec.name
    names = _looked_up(spec)
    layers = [n for n in names if n not in _scope(spec.build)] or names
    return layers[0].removesuffix("_forward") if layers else f"spec {index + 1}"


def rebound(spec: LayerSpec, module: ModuleType, name: str) -> LayerSpec:
    """The spec under this name, with the names in its `build` looked up in the module first.

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
    if len(missing) == len(names) or (missing and not isinstance(build, FunctionType)):
        has = [n for n, v in own.items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
        nowhere = [n for n in missing if n not in _scope(build)] or missing
        raise SpecError(f"there is no {' and no '.join(nowhere)}; it has {', '.join(has) or 'nothing'}")
    return replace(spec, build=_build(build, own, spec), name=name)


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
