"""Random generators: watched for use, replayed, and given back as they were."""

from __future__ import annotations

import copy
import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from harness.replay.generators import generators_around, generators_in
from harness.replay.onward import went_on

T = TypeVar("T")
Seeder = Callable[[int], None]


def seeder(generator: Any) -> Seeder:
    """The function that puts a generator into the state that belongs to a seed."""
    if isinstance(generator, torch.Generator):
        return lambda seed: void(generator.manual_seed(seed))
    if isinstance(generator, np.random.Generator):
        kind = type(generator.bit_generator)
        return lambda seed: setattr(generator.bit_generator, "state", kind(seed).state)
    return lambda seed: void(generator.seed(seed % 2**32))


def fresh(generator: Any, seed: int) -> Any:
    """A generator like this one in the state that `seeder` puts it into."""
    if isinstance(generator, torch.Generator):
        made: Any = torch.Generator(generator.device)
    elif isinstance(generator, np.random.Generator):
        made = np.random.Generator(type(generator.bit_generator)(seed))
    else:
        made = type(generator)()
    seeder(made)(seed)
    return made


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


_QUICK = {name: _GLOBALS[name][0] for name in ("torch", "numpy.random")}
"""Those whose state is read in no time: that of Python's own takes as long as a backward of a small layer."""


def _states() -> dict[str, Any]:
    return {name: state() for name, (state, _) in _GLOBALS.items()}


_DRAWS: dict[str, Callable[[], object]] = {
    "torch": lambda: torch.rand(1, generator=torch.default_generator, device="cpu"),
    "numpy.random": np.random.random_sample,
    "random": random.random,
}

_begun: list[dict[str, Any]] = []
"""For each such block that is open, the states from which the layer draws."""

_to_restore: list[list[Callable[[], None]]] = []
"""For each `globals_preserved` that is open, how to give back the generators that were found since it was entered."""


def preserving() -> bool:
    """Whether something is given back later at all."""
    return bool(_to_restore)


def restored_later(restore: Callable[[], None]) -> None:
    """Have something given back when the innermost `globals_preserved` ends."""
    if _to_restore:
        _to_restore[-1].append(restore)


_seen: list[dict[int, Any]] = []
"""For each of them, what `first_seen` was asked of, kept so that no other thing gets its id."""


def first_seen(thing: Any) -> bool:
    """Whether this is asked of a thing for the first time since the innermost `globals_preserved` began: what was copied then
    need not be copied again for every subject."""
    seen = _seen[-1] if _seen else {}
    is_new = id(thing) not in seen
    seen[id(thing)] = thing
    return is_new


_anew: list[dict[int, tuple[Any, Callable[[], None]]]] = []
"""{id: (a thing that keeps something from call to call, what gives it back what it began with)}."""


def begins_anew(thing: Any, restore: Callable[[], None]) -> None:
    """Have a thing begin anew whenever its generators are seeded, until the innermost `globals_preserved` ends."""
    if _anew:
        _anew[-1][id(thing)] = thing, restore


def beginning(thing: Any) -> Callable[[], None] | None:
    """What has a thing begin anew; None where it keeps nothing from call to call that matters."""
    _, restore = _anew[-1].get(id(thing), (None, None)) if _anew else (None, None)
    return restore


def module_state(module: torch.nn.Module) -> Callable[[], None]:
    """A function that puts a module's parameters, buffers and mode back as they are now."""
    kept = [(t, t.detach().clone()) for t in (*module.parameters(), *module.buffers())]
    modes = [(part, part.training) for part in module.modules()]  # one of them may be frozen in another mode

    def restore() -> None:
        for part, training in modes:
            part.training = training
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
        self.drawn = list(found)
        """The generators that `seed` puts into a state, the one after the other."""
        self._anew = [restore for r in roots if (restore := beginning(r)) is not None]
        self._seeders = [seeder(g) for g in found]
        self._globals: dict[str, Seeder] = {}
        self.reseeds: dict[str, set[str | None]] = {}
        """{global generator that it was seen to seed: the modes in which it did, None where it was in any}."""
        self.reseeds_backward: dict[str | None, list[str]] = {}
        """{mode: the global generators that backward was seen to seed in it}, of those in which one was looked at."""

    def begin_with(self, restore: Callable[[], None]) -> None:
        """Have this done whenever the generators are seeded."""
        self._anew.append(restore)

    @contextmanager
    def watched(self, mode: str | None = None) -> Iterator[None]:
        """Note which generators move inside the block, of forwards in one mode."""
        self._nudge()
        own = [_state(g) for g in self._own]
        around = [(g, _state(g)) for g in self._around]
        before = _states()
        _begun.append(begun := dict(before))
        try:
            yield
        finally:
            _begun.pop()
        after = _states()
        for name, now in after.items():
            if not went_on(name, begun[name], now):
                self.reseeds.setdefault(name, set()).add(mode)
        moved = [g for g, was in around if _state(g) != was]  # others may serve other layers
        self._around = [g for g in self._around if all(g is not m for m in moved)]
        self.drawn += moved
        self._seeders += [seeder(g) for g in moved]
        self._own_moved = self._own_moved or own != [_state(g) for g in self._own]
        self._globals |= {name: seed for name, (_, seed) in _GLOBALS.items() if after[name] != before[name]}

    def _nudge(self) -> None:
        """Have the global generators that it does not draw from elsewhere than where a call before may have put them: the next
        one would put them there again."""
        for n in _GLOBALS.keys() - self._globals:
            _DRAWS[n]()

    def pulled(self, mode: str | None, pull: Callable[[], T]) -> T:
        """What a backward gives; which global generators it seeds is noted at the first in each mode."""
        if mode in self.reseeds_backward:
            return pull()
        self._nudge()
        before = [(n, state, state()) for n, state in _QUICK.items()]
        found = pull()
        self.reseeds_backward[mode] = [n for n, state, was in before if not went_on(n, was, state())]
        return found

    def seed(self, seed: int) -> None:
        """Put every generator into a state of its own that depends on `seed` alone, and what is kept where it began."""
        for restore in self._anew:
            restore()
        for k, reseed in enumerate(self._seeders):
            reseed(seed + k)
        for reseed in self._globals.values():
            reseed(seed)
        for before in _begun:
            before.update(_states())  # a layer may hold one of them

    def replayed(self, seed: int) -> tuple[Any, ...]:
        """Generators in the states that `seed` puts those into that are drawn from, in the order in which they are held."""
        around = len(self.drawn) > len(self._own)
        if self._own_moved or around or not self._globals:
            found = [fresh(g, seed + k) for k, g in enumerate(self.drawn)]
            return tuple(found[::-1])  # `generators_in` finds the last first
        like = {"torch": torch.default_generator, "numpy.random": np.random.RandomState(0), "random": random.Random()}
        return tuple(fresh(like[name], seed) for name in self._globals)

    @property
    def strays(self) -> str:
        """The global generator that is drawn from in the place of those that the layer holds; empty where none is."""
        return next(iter(self._globals), "") if self._own and not self._own_moved else ""

    def told(self) -> dict[str, Any]:
        """What a subject says of them, by its own names."""
        names = ("replayed", "strays", "reseeds", "reseeds_backward", "pulled")
        return {"draws": bool(self), **{n: getattr(self, n) for n in names}}

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
    _seen.append({})
    _anew.append({})
    try:
        yield
    finally:
        _seen.pop()
        _anew.pop()
        for restore in reversed(_to_restore.pop()):
            restore()
        torch.set_rng_state(torch_state)
        if _numpy_state() != numpy_words:  # else nothing was drawn from it: giving it back takes a while
            np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
