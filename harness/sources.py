"""Random generators: found in a layer, watched for use, replayed, and given back as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Seeder = Callable[[int], None]


def generators_in(*roots: Any) -> list[Any]:
    """Every generator object reachable from these objects through attributes, containers and closures."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending = list(roots)
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, (type(torch), str, bytes, torch.Tensor, np.ndarray)):
            continue
        seen.add(id(thing))
        if isinstance(thing, (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)):
            found[id(thing)] = thing
        else:
            pending.extend(_parts(thing))
    return list(found.values())


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    parts = list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    if getattr(thing, "__closure__", None):
        parts += [cell.cell_contents for cell in thing.__closure__ if _filled(cell)]
    if hasattr(thing, "__self__"):
        parts.append(thing.__self__)
    return parts


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


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
    return bytes(torch.get_rng_state().numpy().tobytes())


def _numpy_state() -> Any:
    state = np.random.get_state(legacy=False)
    return (state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"])


_GLOBALS: dict[str, tuple[Callable[[], Any], Seeder]] = {
    "torch": (_torch_state, lambda seed: void(torch.manual_seed(seed))),
    "numpy.random": (_numpy_state, lambda seed: np.random.seed(seed % 2**32)),
    "random": (random.getstate, random.seed),
}


class Sources:
    """The generators a layer draws from: those inside it, and the global ones that it was seen to move."""

    def __init__(self, *roots: Any) -> None:
        self._seeders = [seeder(g) for g in generators_in(*roots)]
        self._globals: dict[str, Seeder] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note which global generators move inside the block."""
        before = {name: state() for name, (state, _) in _GLOBALS.items()}
        yield
        for name, (state, seed) in _GLOBALS.items():
            if state() != before[name]:
                self._globals[name] = seed

    def seed(self, seed: int) -> None:
        """Put every generator into a state of its own that depends on `seed` alone."""
        for k, reseed in enumerate(self._seeders):
            reseed(seed + k)
        for reseed in self._globals.values():
            reseed(seed)

    def __bool__(self) -> bool:
        return bool(self._seeders or self._globals)


@contextmanager
def globals_preserved() -> Iterator[None]:
    """Leave the global generators as they were found."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
