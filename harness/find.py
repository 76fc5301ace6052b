"""Specs in a file, module or package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.outcome import SpecError
from harness.spec import LayerSpec, floats, from_string, ints


def load(target: str) -> tuple[ModuleType, str | None]:
    """The module of `FILE`, `FILE:NAME`, `module` or `module:NAME`, and the name.

    Raises:
        SpecError: there is no such file or module, or importing it raises.
    """
    place, _, name = target.partition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except SpecError:
        raise
    except ModuleNotFoundError as error:
        if error.name == place:
            raise SpecError(f"{place!r} is neither a file (its name would end in .py) nor an importable module") from None
        raise SpecError(f"importing {place} failed: {error}") from error
    except Exception as error:
        raise SpecError(f"importing {place} failed: {type(error).__name__}: {error}") from error
    return module, name or None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SpecError(f"there is no file {path}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = module  # so that what is defined in it can be pickled and imported again
    sys.path.insert(0, str(path.parent))
    found.loader.exec_module(module)
    return module


def specs_in(module: ModuleType) -> list[LayerSpec]:
    """Every LayerSpec that the module holds, in lists and tuples too; of a package, those of its modules as well."""
    found = dict.fromkeys(_specs(vars(module).values()))
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        found |= dict.fromkeys(_specs(vars(importlib.import_module(info.name)).values()))
    return list(found)


def _specs(values: Iterable[Any]) -> list[LayerSpec]:
    found: list[LayerSpec] = []
    for value in values:
        if isinstance(value, LayerSpec):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(v for v in value if isinstance(v, LayerSpec))
    return found


def spec_from_words(module: ModuleType, name: str | None, build: str | None, inputs: list[str]) -> LayerSpec:
    """A spec from `--build` and `--inputs`.

    Raises:
        SpecError: one of them is missing, or no such thing is in the module.
    """
    source = build or name
    if source is None or not inputs:
        raise SpecError("to check a layer without a LayerSpec give both --build 'MyLayer(D)' and --inputs 'B D'")
    kinds = tuple(_input(word, vars(module)) for word in inputs)
    names = {n for k in kinds for n in (k.dims.names if hasattr(k, "dims") else ())}
    return LayerSpec(build=from_string(source, names, vars(module)), inputs=kinds, name=name)


def _input(word: str, namespace: dict[str, Any]) -> Any:
    """`B D`, or an expression such as `ints("B", below="C")`."""
    if "(" not in word:
        return floats(word)
    try:
        return eval(word, {**namespace, "floats": floats, "ints": ints})
    except Exception as error:
        raise SpecError(f"--inputs {word!r}: {type(error).__name__}: {error}; write 'B D' or 'ints(\"B\", below=\"C\")'") from None
