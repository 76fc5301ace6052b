"""Specs in a file, module or package."""

from __future__ import annotations
import __future__

import ast
import builtins
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from harness.builds import from_string
from harness.kinds import dimension_names, floats, ints
from harness.models import chain, value_and_grad
from harness.outcome import SpecError
from harness.spec import RESERVED, LayerSpec
from harness.spelling import beside
from harness.targets.notebook import defines, execute, needed, on_stderr, run


def load(target: str, run_all: bool = False, tell: Callable[[str], None] = on_stderr) -> tuple[ModuleType, str | None]:
    """The module of `FILE`, `FILE:NAME`, `module` or `module:NAME`, and the name; of a notebook `run_all` runs all cells, and what
    is left out is told.

    Raises:
        SpecError: there is no such file or module, or importing it raises.
    """
    place, name = parted(target)
    return _imported(place, lambda: _module(place, run_all, tell)), name or None


def salvaged(
    target: str, run_all: bool, tell: Callable[[str], None], halted: str = ""
) -> tuple[ModuleType, str | None]:
    """The same of a file that can't be imported as a whole, such as one that asks for input, mounts a drive or trains: its
    imports, definitions and the assignments that these use are run, as of a notebook, and this is told. `halted`: why the
    process of an import before this one had to be ended.

    Raises:
        SpecError: there is no such file or module, it defines nothing, or its definitions can't be run either.
    """
    place, name = parted(target)
    try:
        if halted:
            raise SpecError(halted) from RuntimeError()
        return load(target, run_all, tell)
    except SpecError as error:
        own = error.__cause__ is not None and place.endswith(".py") and not run_all
        if not own or (module := _definitions(Path(place), tell)) is None:
            raise
        begun = f"importing {place} {halted}" if halted else str(error)
        tell(f"{begun}; run were its imports, definitions and the assignments that they use")
        return module, name or None


def _definitions(path: Path, tell: Callable[[str], None]) -> ModuleType | None:
    """A module of what a file imports and defines; None where it defines no class or function, or they can't be run."""
    path = _there(path)
    try:
        body = ast.parse(path.read_bytes(), str(path)).body
        if not any(map(defines, body)):
            return None
        name = _placed(path) if any(isinstance(n, ast.ImportFrom) and n.level for n in body) else _own_name(path)
        module = ModuleType(name)
        module.__file__, module.__package__ = str(path), name.rpartition(".")[0]
        sys.modules[name] = module
        # a name that nothing but a type hint needs is missed by no layer
        execute(needed(body), path, vars(module), False, tell, __future__.annotations.compiler_flag)
    except (Exception, SystemExit):  # the import of the whole has said what is wrong
        return None
    return module


def parted(target: str) -> tuple[str, str]:
    """The place and the name in a target, empty where it has none; `FILE::NAME`, as pytest has it, too."""
    place, _, name = target.partition(":")
    return place, name.removeprefix(":")


def _module(place: str, run_all: bool, tell: Callable[[str], None]) -> ModuleType:
    if place and Path(place).is_dir() and not all(part.isidentifier() for part in place.split(".")):
        raise SpecError(f"{place} is a folder: name its files, such as {Path(place) / '*.py'}")
    if place.endswith(".ipynb"):
        return _from_notebook(Path(place), run_all, tell)
    if place.endswith(".py"):
        return _from_file(Path(place))
    if Path(place).is_file() or "/" in place or place.startswith("."):
        raise SpecError(_neither(place))
    return importlib.import_module(place)


def _neither(place: str) -> str:
    why = f"{place!r} is neither a file (its name would end in .py or .ipynb) nor an importable module"
    return f"{why}{beside(Path(place))}"


def _imported(place: str, importing: Callable[[], ModuleType]) -> ModuleType:
    """What is imported; a script that exits on import is one that can't be, not the end of this program."""
    try:
        return importing()
    except SpecError:
        raise
    except ModuleNotFoundError as error:
        if error.name and place.startswith(error.name) and not Path(error.name).is_dir():  # `hw.txt`: no package hw
            raise SpecError(_neither(place)) from None
        raise SpecError(f"importing {place} failed: {error}") from error
    except (Exception, SystemExit) as error:
        raise SpecError(f"importing {place} failed: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    path = _there(path)
    name = _own_name(path)
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # so that what is defined in it can be pickled and imported again
    try:
        found.loader.exec_module(module)
    except ImportError as error:
        if "no known parent package" not in str(error):
            raise
        del sys.modules[name]
        return importlib.import_module(_placed(path))
    return module


def _own_name(path: Path) -> str:
    """What the module of a file is called: random.py must not take the place of what others import by that name."""
    taken = path.stem in sys.stdlib_module_names or path.stem in ("harness", "torch", "numpy", "hypothesis")
    return f"{path.stem}_" if taken else path.stem


def _placed(path: Path) -> str:
    """The name of a file with relative imports, as a module of the package that its folder is and can be imported from now."""
    top = path.parent
    while (top / "__init__.py").is_file() and (top.parent / "__init__.py").is_file():
        top = top.parent
    sys.path[:] = [p for p in sys.path if p != str(path.parent)]  # its neighbours are imported as the package's alone
    sys.path.insert(0, str(top.parent))
    return ".".join(path.relative_to(top.parent).with_suffix("").parts)


def _from_notebook(path: Path, run_all: bool, tell: Callable[[str], None]) -> ModuleType:
    path = _there(path)
    module = ModuleType("__main__")  # as under Jupyter; nothing can be imported from a notebook by name
    module.__file__ = str(path)
    vars(module)["display"] = print
    sys.modules[module.__name__] = module
    run(path, vars(module), run_all, tell)
    return module


def _there(path: Path) -> Path:
    """The file, in a folder that can be imported from."""
    if not path.is_file():
        raise SpecError(f"there is no file {path}{beside(path)}")
    path = path.resolve()  # the import system remembers what "." was
    shadowing = path.stem in sys.stdlib_module_names
    sys.path.insert(len(sys.path) if shadowing else 0, str(path.parent))
    return path


def specs_in(module: ModuleType) -> list[LayerSpec]:
    """Every LayerSpec that the module holds, in lists, tuples and dicts too; of a package, its modules' as well.

    Raises:
        SpecError: a module of the package can't be imported.
    """
    found = dict.fromkeys(_specs(vars(module).values()))
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        if not info.name.endswith(".__main__"):  # a program: importing it may run it
            inner = _imported(info.name, partial(importlib.import_module, info.name))
            found |= dict.fromkeys(_specs(vars(inner).values()))
    return list(found)


def _specs(values: Iterable[Any]) -> list[LayerSpec]:
    found: list[LayerSpec] = []
    for value in values:
        if isinstance(value, LayerSpec):
            found.append(value)
        elif isinstance(value, (list, tuple, dict)):
            held = value.values() if isinstance(value, dict) else value
            found.extend(v for v in held if isinstance(v, LayerSpec))
    return found


def spec_from_words(module: ModuleType, name: str | None, build: str | None, inputs: list[str]) -> LayerSpec:
    """A spec from `--build` and `--inputs`.

    Raises:
        SpecError: one of them is missing, or names what is in neither the module nor the inputs.
    """
    source = build or name
    if source is None or not inputs:
        raise SpecError("to check a layer without a LayerSpec give both --build 'MyLayer(D)' and --inputs 'B D'")
    for option, word in (("--build", source), *(("--inputs", word) for word in inputs)):
        if "…" in word:
            raise SpecError(
                f"{option} {word!r}: put something in the place of each …: in --build a size by any name, or a value, and in "
                "--inputs a shape of such names for each input, as in --build 'Linear(n_in=n_in, n_out=5)' --inputs 'B n_in'"
            )
    if name is not None and not hasattr(module, name):
        raise SpecError(f"there is no {name!r} in {module.__name__}; it has {', '.join(_public(module)) or 'nothing'}")
    kinds = tuple(kind_of(word, vars(module)) for word in inputs)
    if build is None:  # the class itself: what it asks for beside dimensions is told
        return LayerSpec(build=getattr(module, source), inputs=kinds, name=name, dims=sizes_drawn(kinds))
    drawn = sizes_drawn(kinds)
    shape = LayerSpec(build=object, inputs=kinds, dims=drawn)
    own = [
        n for n in _sizes_of_class(source, module) if n not in {*shape.sizes, *shape.starred, *RESERVED, *vars(module)}
    ]
    known = {*shape.sizes, *shape.starred, *RESERVED, *own}
    there = {"value_and_grad": value_and_grad, "chain": chain, "SimpleNamespace": SimpleNamespace, **vars(module)}
    made = from_string(source, known, there)
    for stranger in names_in(source) - known - there.keys() - vars(builtins).keys():
        raise SpecError(
            f"--build {source!r}: {stranger!r} is neither in {module.__name__} ({', '.join(_public(module))}) nor a "
            f"dimension of --inputs ({', '.join(shape.sizes)}) nor reserved ({', '.join(RESERVED)})"
        )
    return LayerSpec(build=made, inputs=kinds, name=name, dims=drawn | {n: range(1, 7) for n in own})


def sizes_drawn(kinds: Iterable[Any]) -> dict[str, Sequence[int]]:
    """What functions among the inputs ask for that stands in no shape, as in `lambda n_in, n_out: init(n_in, n_out)`: sizes."""
    kinds = list(kinds)
    named = {n for kind in kinds if hasattr(kind, "dims") for n in dimension_names(kind)}
    asked = [n for kind in kinds if callable(kind) for n in inspect.signature(kind).parameters]
    return {n: range(1, 7) for n in asked if n not in named and n != "rng"}


def _sizes_of_class(source: str, module: ModuleType) -> list[str]:
    """The names that a class is given for its parameters of the same name, as in `Linear(n_in, n_out)`, or settings for theirs, as
    in `SimpleNamespace(dim=dim)`: sizes, where nothing else is called so."""
    try:
        nodes = list(ast.walk(ast.parse(source, mode="eval")))
    except SyntaxError:  # said where it is compiled
        return []
    called = [vars(module).get(n.func.id) for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    asked = [name for kind in called if isinstance(kind, type) for name in _asked(kind)]
    asked += [k.arg or "" for n in nodes if isinstance(n, ast.Call) for k in n.keywords if _is_name(k.value, k.arg)]
    entries = [pair for n in nodes if isinstance(n, ast.Dict) for pair in zip(n.keys, n.values, strict=True)]
    asked += [str(k.value) for k, v in entries if isinstance(k, ast.Constant) and _is_name(v, k.value)]
    return [n for n in dict.fromkeys(asked) if n in names_in(source)]


def _is_name(node: ast.expr, name: Any) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _asked(kind: type) -> list[str]:
    try:
        return [*inspect.signature(kind).parameters]
    except ValueError:  # a builtin's
        return []


def names_in(source: str) -> set[str]:
    """The names that an expression looks up from outside."""
    nodes = [n for n in ast.walk(ast.parse(source, mode="eval")) if isinstance(n, (ast.Name, ast.arg))]
    bound = {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return {n.id for n in nodes if isinstance(n, ast.Name)} - bound


def _public(module: ModuleType) -> list[str]:
    """The classes and functions that a module defines."""
    return [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]


def kind_of(word: str, namespace: Mapping[str, Any]) -> Any:
    """The input that `B D` stands for, or an expression such as `ints("B", below="C")`.

    Raises:
        SpecError: the expression raises.
    """
    if not is_expression(word):
        return floats(word)
    try:
        return eval(word, {**namespace, "floats": floats, "ints": ints})
    except Exception as error:
        raise SpecError(
            f"--inputs {word!r}: {type(error).__name__}: {error}; write 'B D' or 'ints(\"B\", below=\"C\")'"
        ) from None


def is_expression(word: str) -> bool:
    """Whether a word of `--inputs` is code and no shape."""
    return "(" in word or word.startswith("lambda ")
