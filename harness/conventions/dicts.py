"""A class with `forward` and `backward` whose `params` and `grads` are dicts with the same keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    state.gradients = _entries(layer, "grads", state.parameters)
    if strangers := [n for n in layer.grads if n not in state.parameters]:
        raise SpecError(
            f"{state.name}.grads has {strangers[0]!r}, which is no key of params ({', '.join(layer.params) or 'empty'})"
        )
    return state.subject()


class _Entry(Slot):
    """An entry of a dict that is looked up anew each time: `grads` may be a property that builds it.

    Its owner is (layer, name of the dict), one for all entries of a dict.
    """

    def home(self) -> Any:
        layer, name = self.owner
        return getattr(layer, name)

    def put(self, value: Any) -> None:
        self.home()[self.key] = value


def _slots(layer: Any, name: str) -> dict[str, Slot]:
    return _entries(layer, name, [key for key, value in getattr(layer, name).items() if is_real(value)])


def _entries(layer: Any, name: str, keys: Iterable[str]) -> dict[str, Slot]:
    owner = (layer, name)
    return {key: _Entry(owner, key, key, f".{name}[{key!r}]") for key in keys}
