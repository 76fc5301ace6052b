"""What a layer shows of itself before it is judged, by forwards on other inputs than those: what it draws from, what it gathers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from harness.state.calls import Calls
from harness.state.history import History, lengths
from harness.state.slots import Slot, standing
from harness.tensors.arrays import to_tensor


@dataclass(frozen=True)
class Glimpse:
    """A forward on the inputs given, and what stood before it in places that are not known yet."""

    mode: str | None
    before: Mapping[str, tuple[Slot, Tensor]]
    outputs: Sequence[Tensor]


@dataclass
class Watched(Calls):
    """A working copy of a layer with the places where its parameters and buffers stand."""

    parameters: dict[str, Slot] = field(default_factory=dict)
    buffers: dict[str, Slot] = field(default_factory=dict)
    watched: set[str | None] = field(default_factory=set, init=False)
    """The modes in which a forward has shown what it draws from."""
    glimpsed: Glimpse | None = field(default=None, init=False)
    """A forward after which nothing but parameters and buffers has been written to."""

    def read(self, slots: Mapping[str, Slot]) -> dict[str, Tensor]:
        """Copies of what stands in these places."""
        if not slots:
            return {}
        return {n: to_tensor(v, n).detach().clone() for n, v in standing(slots).items() if v is not None}

    @staticmethod
    def restore(slots: Mapping[str, Slot], values: Mapping[str, Tensor]) -> None:
        """Write these values back into their places."""
        for name, there in standing(slots).items():
            if name in values:
                slots[name].replace(there, values[name])

    def probe(self, unknown: Callable[[], Iterable[Slot]] = tuple) -> None:
        """One forward in each mode that will be used, to see which global generators it draws from.

        Its inputs are a decoy, other than those that will be judged: whatever a layer keeps of its first forward shows.
        What is `unknown` after it is remembered before one on the inputs given, where something is or lists may grow.
        """
        known = {**self.parameters, **self.buffers}
        saved = self.read(known)
        first, *others = self.entered or self.modes[:1]
        for mode in (first, *others):
            self.watch(mode)
        self.restore(known, saved)
        lists, slots = lengths(self.layer), list(unknown())
        if not lists and not slots:
            return
        with suppress(Exception, SystemExit):
            self.glimpsed = self._glimpse(first, slots)
            if lengths(self.layer) != lists:
                self.history = History.of(self.layer, lambda: self._decoyed(first))
        if self.history.lists:
            self.glimpsed = None
        self.restore(known, saved)

    def watch(self, mode: str | None) -> None:
        """Which global generators a forward in this mode draws from, if none has shown it yet: others are not replayed."""
        if mode in self.watched:
            return
        self.watched.add(mode)
        # a mode that refuses these inputs shows nothing; the case will say so
        with self.sources.watched(mode), suppress(Exception, SystemExit):
            self._decoyed(mode)

    def _decoyed(self, mode: str | None) -> None:
        self.forward(self.decoys, mode)

    @cached_property
    def decoys(self) -> dict[str, Tensor]:
        """Other inputs than those given."""
        return {n: decoy(leaf.value) for n, leaf in self.leaves.items()}

    def _glimpse(self, mode: str | None, slots: Iterable[Slot]) -> Glimpse:
        before = {s.label: (s, t.clone()) for s in slots if (t := s.read()) is not None}
        self.sources.seed(0)
        outputs = self.forward({n: leaf.value.clone() for n, leaf in self.leaves.items()}, mode)
        return Glimpse(mode, before, [y.clone() for y in outputs])


def decoy(value: Tensor) -> Tensor:
    """Other values of the same kind: the same ones in other places, which few domains object to. Of four or more one from the middle
    stands for the largest and the smallest, so that what goes by all of them, a mean or a maximum, is another too."""
    if value.numel() == 1 and value.is_floating_point():
        return 0.75 * value
    other = value.flatten().roll(1)
    if value.is_floating_point() and value.numel() > 3:
        order = other.argsort()
        other[order[[0, -1]]] = other[order[len(order) // 2]].clone()
    return other.reshape(value.shape)
