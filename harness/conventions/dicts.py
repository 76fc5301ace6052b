"""A class with `forward` and `backward` whose `params` and `grads` are dicts with the same keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.arrays import is_real
from harness.outcome import SpecError
from harness.request import Request
from harness.slots import Slot
from harness.stateful import Stateful
from harness.subject import Subject

ORDER = 30


def recognises(layer: Any) -> bool:
    """Whether it has forward, backward, and the dicts `params` and `grads`."""
    return (
        not isinstance(layer, type)
        and all(callable(getattr(layer, n, None)) for n in ("forward", "backward"))
        and all(isinstance(getattr(layer, n, None), Mapping) for n in ("params", "grads"))
    )


def subject(request: Request) -> Subject:
    """The layer as a subject.

    Raises:
        SpecError: a parameter without an entry in `grads`, or the reverse.
    """
    state = Stateful.of(request)
    layer = state.layer
    state.parameters = _slots(layer, "params")
    state.buffers = _slots(layer, "buffers") if isinstance(getattr(layer, "buffers", None), Mapping) else {}
    state.probe()
    state.parameters = _slots(layer, "params")
    state.gradients = {n: _Entry(layer, "grads", n) for n in state.parameters}
    if strangers := [n for n in layer.grads if n not in state.parameters]:
        raise SpecError(
            f"{state.name}.grads has {strangers[0]!r}, which is no key of params ({', '.join(layer.params) or 'empty'})"
        )
    return state.subject()


class _Entry(Slot):
    """An entry of a dict that is looked up anew each time: `grads` may be a property that builds it."""

    def __init__(self, layer: Any, name: str, key: str) -> None:
        super().__init__((layer, name), key, key, f".{name}[{key!r}]")

    def get(self) -> Any:
        layer, name = self.owner
        return getattr(layer, name).get(self.key)

    def put(self, value: Any) -> None:
        layer, name = self.owner
        getattr(layer, name)[self.key] = value


def _slots(layer: Any, name: str) -> dict[str, Slot]:
    return {key: _Entry(layer, name, key) for key, value in getattr(layer, name).items() if is_real(value)}
