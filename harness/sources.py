"""Random generators: found in a layer, watched for use, replayed, and given back as they were."""

from __future__ import annotations

import copy
import ctypes
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from harness.arrays import captured, global_names

Seeder = Callable[[int], None]


GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def generators_in(*roots: Any) -> list[Any]:
    """Every generator object reachable from these objects through attributes, containers and closures."""
    return reachable(GENERATORS, *roots)


_WITHOUT_PARTS = (bool, int, float, str, bytes, torch.Tensor, np.ndarray, ModuleType)


def reachable(kinds: tuple[type, ...], *roots: Any) -> list[Any]:
    """Every object of these types reachable through attributes, containers and closures."""
    return [thing for thing in _walked(roots, kinds) if isinstance(thing, kinds)]


def _walked(roots: Iterable[Any], ends: tuple[type, ...] = ()) -> Iterator[Any]:
    """Every object reachable from these, each once, but what is reachable through one of the types `ends` alone."""
    seen: set[int] = set()
    pending = list(roots)
    while pending:
        thing = pending.pop()
        if thing is None or id(thing) in seen or isinstance(thing, _WITHOUT_PARTS):
            continue
        seen.add(id(thing))
        yield thing
        if not isinstance(thing, ends):
            pending.extend(_parts(thing))


def generators_around(*roots: Any) -> list[Any]:
    """Every generator that stands in the class of one of these objects, or in a module whose code names it."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending = [t if isinstance(t, (type, FunctionType)) else type(t) for t in _walked(roots, GENERATORS)]
    while pending:
        thing = pending.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        for value in _beside(thing):
            kind = _kind(type(value))  # type: ignore[arg-type]
            if kind == "generator":
                found[id(value)] = value
            elif kind == "code" and (isinstance(thing, type) or _is_near(value, thing)):
                pending.append(value)  # a class has the methods of those above it, wherever they are
    return list(found.values())


@lru_cache(4096)
def _kind(kind: type) -> str:
    """What a thing of this type is to `generators_around`; asked often, and torch's own answer is slow."""
    if issubclass(kind, GENERATORS):
        return "generator"
    return "code" if issubclass(kind, (type, FunctionType)) else ""


def _is_near(thing: Any, other: Any) -> bool:
    """Whether a function or class is of the same package as another, or of no package that somebody has installed."""
    return _are_near(thing.__module__ or "", other.__module__ or "")


@cache
def _are_near(home: str, other: str) -> bool:
    return home.partition(".")[0] == other.partition(".")[0] or not _is_installed(home)


def _is_installed(module: str) -> bool:
    """Whether a module is Python's own, or stands among the packages from a registry."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return module.partition(".")[0] in sys.stdlib_module_names or "site-packages" in file


_METHODS = (staticmethod, classmethod)


def _beside(thing: type | FunctionType) -> list[Any]:
    """What stands in a class and those above it, or what the code of a function names and has captured."""
    if isinstance(thing, type):
        own = [k for k in thing.__mro__ if k.__module__.partition(".")[0] not in ("builtins", "torch", "numpy")]
        return [getattr(v, "__func__", v) if type(v) in _METHODS else v for k in own for v in vars(k).values()]
    scope, (names, attributes) = thing.__globals__, _names(thing.__code__)
    values = [scope[n] for n in names if n in scope]
    inside = [vars(v).get(n) for v in values if type(v) is ModuleType for n in attributes]  # `settings.rng`
    return [*values, *inside, *captured(thing)]


@lru_cache(4096)
def _names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals, and the attributes and globals, that code and the functions made in it name."""
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return global_names(code).union(*(n for n, _ in inner)), frozenset(code.co_names).union(*(a for _, a in inner))


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    parts = list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    parts += captured(thing)
    if isinstance(thing, partial):
        parts += [thing.func, thing.args, thing.keywords]
    parts += [
        getattr(thing, n) for kind in type(thing).__mro__ for n in getattr(kind, "__slots__", ()) if hasattr(thing, n)
    ]
    if hasattr(thing, "__self__"):
        parts += [thing.__self__, getattr(thing, "__func__", None)]
    return parts


def seeder(generator: Any) -> Seeder:
    """The function that puts a generator into the state that belongs to a seed."""
    if isinstance(generator, torch.Generator):
        return lambda seed: void(generator.manual_seed(seed))
    if isinstance(generator, np.random.Generator):
        kind = type(generator.bit_generator)
        return lambda seed: setattr(generator.bit_generator, "state", kind(seed).state)
    return lambda seed: void(generator.seed(seed % 2**32))


def void(_: object) -> None:
    """Discard a value."""


def _torch_state() -> bytes:
    return bytes(torch.default_generator.get_state().numpy().tobytes())


def _numpy_state() -> bytes:
    """The words and the position of NumPy's global generator: a read of its memory, forty times faster than `get_state`.

    A normal deviate that it keeps for the next call is not in them: `forget_kept_normal` before it may matter.
    """
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if not isinstance(generator, np.random.MT19937):  # someone has put another in its place
        return repr(generator.state).encode()
    return ctypes.string_at(generator.ctypes.state_address, MT19937_BYTES)


_without_kept_normal: dict[bytes, Any] = {}
"""{words: whole state}, of the last state that was seen and held no normal deviate for the next call."""


def _whole_numpy_state(words: bytes) -> Any:
    """NumPy's global generator to the last bit. Asking for it takes as long as five forwards of a small layer; where the
    words have not moved since a state that kept no normal deviate, it is that state."""
    if words not in _without_kept_normal:
        state = np.random.get_state(legacy=False)
        _without_kept_normal.clear()
        if state["has_gauss"]:
            return state
        _without_kept_normal[words] = state
    return _without_kept_normal[words]


def forget_kept_normal() -> None:
    """Bring NumPy's global generator to where the next draw, whatever it is of, moves its words."""
    np.random.seed(0)


MT19937_BYTES = 4 * 624 + 4
"""624 words of 32 bits and an int, as in NumPy's mt19937.h."""


def seed_torch(seed: int) -> None:
    """`torch.manual_seed` without its notes to devices that are not in use, which take twenty times as long."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


_GLOBALS: dict[str, tuple[Callable[[], Any], Seeder]] = {
    "torch": (_torch_state, seed_torch),
    "numpy.random": (_numpy_state, lambda seed: np.random.seed(seed % 2**32)),
    "random": (random.getstate, random.seed),
}


_to_restore: list[list[Callable[[], None]]] = []
"""For each `globals_preserved` that is open, how to give back the generators that were found since it was entered."""


def restored_later(restore: Callable[[], None]) -> None:
    """Have something given back when the innermost `globals_preserved` ends."""
    if _to_restore:
        _to_restore[-1].append(restore)


def module_state(module: torch.nn.Module) -> Callable[[], None]:
    """A function that puts a module's parameters, buffers and mode back as they are now."""
    kept = [(t, t.detach().clone()) for t in (*module.parameters(), *module.buffers())]
    training = module.training

    def restore() -> None:
        module.train(training)
        with torch.no_grad():
            for tensor, value in kept:
                tensor.copy_(value)

    return restore


def _restorer(generator: Any) -> Callable[[], None]:
    """A function that puts a generator back into the state it is in now."""
    if isinstance(generator, torch.Generator):
        state = generator.get_state()
        return lambda: void(generator.set_state(state))
    if isinstance(generator, np.random.Generator):
        bits = copy.deepcopy(generator.bit_generator.state)
        return lambda: setattr(generator.bit_generator, "state", bits)
    if isinstance(generator, np.random.RandomState):
        old = generator.get_state()
        return lambda: generator.set_state(old)
    kept = generator.getstate()
    return lambda: void(generator.setstate(kept))


def _state(generator: Any) -> object:
    """What tells whether a generator has moved."""
    if isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    return repr(
        generator.get_state(legacy=False) if isinstance(generator, np.random.RandomState) else generator.getstate()
    )


class Sources:
    """The generators a layer draws from: those inside it, and those around it and global ones that it was seen to move."""

    def __init__(self, *roots: Any) -> None:
        found = generators_in(*roots)
        for generator in found:  # a layer that can't be copied draws from its owner's generators
            restored_later(_restorer(generator))
        self._own = found
        self._around = [g for g in generators_around(*roots) if all(g is not h for h in found)]
        for generator in self._around:
            restored_later(_restorer(generator))
        self._own_moved = False
        self._seeders = [seeder(g) for g in found]
        self._globals: dict[str, Seeder] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note which generators move inside the block."""
        before = {name: state() for name, (state, _) in _GLOBALS.items()}
        own = [_state(g) for g in self._own]
        around = [(g, _state(g)) for g in self._around]
        yield
        moved = [g for g, was in around if _state(g) != was]  # others may serve other layers
        self._around = [g for g in self._around if all(g is not m for m in moved)]
        self._seeders += [seeder(g) for g in moved]
        self._own_moved = self._own_moved or own != [_state(g) for g in self._own]
        for name, (state, seed) in _GLOBALS.items():
            if state() != before[name]:
                self._globals[name] = seed

    def seed(self, seed: int) -> None:
        """Put every generator into a state of its own that depends on `seed` alone."""
        for k, reseed in enumerate(self._seeders):
            reseed(seed + k)
        for reseed in self._globals.values():
            reseed(seed)

    @property
    def strays(self) -> str:
        """The global generator that is drawn from in the place of those that the layer holds; empty where none is."""
        return next(iter(self._globals), "") if self._own and not self._own_moved else ""

    def __bool__(self) -> bool:
        return bool(self._seeders or self._globals)


@contextmanager
def globals_preserved() -> Iterator[None]:
    """Leave the global generators, and those found in closures, as they were."""
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_words = _numpy_state()
    numpy_state = _whole_numpy_state(numpy_words)
    if numpy_state["has_gauss"]:
        forget_kept_normal()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    _to_restore.append([])
    try:
        yield
    finally:
        for restore in reversed(_to_restore.pop()):
            restore()
        torch.set_rng_state(torch_state)
        if _numpy_state() != numpy_words:  # else nothing was drawn from it: giving it back takes a while
            np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
