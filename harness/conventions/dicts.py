"""A class with `forward` and `backward` whose `params` and `grads` are dicts with the same keys, or `W` and `dW`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from harness.draws import parameter_like, rng_of
from harness.outcome import SpecError
from harness.reading.holders import has_parts
from harness.reading.naming import gradient_rank
from harness.reading.scopes import own_classes
from harness.request import Request
from harness.state.dependence import matters, overlooked, unknown
from harness.state.discovery import discovered
from harness.state.slots import Slot
from harness.state.stateful import Stateful, has_backward
from harness.state.views import Shown
from harness.subject import Subject
from harness.tensors.arrays import is_array, is_real

ORDER = 30

DICTS = ("params", "grads", "buffers")


def recognises(layer: Any) -> bool:
    """Whether it has forward, backward, and the dicts `params` and `grads`."""
    return has_backward(layer) and all(isinstance(getattr(layer, n, None), Mapping) for n in ("params", "grads"))


def subject(request: Request) -> Subject:
    """The layer as a subject; where it holds more than the dicts, as any other that keeps arrays on itself.

    Raises:
        SpecError: a parameter without an entry in `grads`, or the reverse.
    """
    state = Stateful.of(request)
    layer = state.layer
    state.parameters = _slots(layer, "params")
    state.buffers = _slots(layer, "buffers") if isinstance(getattr(layer, "buffers", None), Mapping) else {}
    state.probe(lambda: unknown(state, DICTS))
    nested = any(has_parts(value) for value in layer.params.values())  # a dict for each layer inside
    if request.grads or nested or overlooked(state, DICTS):
        return discovered(Stateful.of(request))
    own = _slots(layer, "params")
    others = _of_others(state, own)
    state.parameters = {n: s for n, s in own.items() if n not in others}
    keys = {name: _gradient_key(layer.grads, name) for name in state.parameters}
    state.gradients = dict(zip(keys, _entries(layer, "grads", keys.values()), strict=True))
    if strangers := [n for n in layer.grads if n not in (*keys.values(), *others)]:
        raise SpecError(
            f"{state.name}.grads has {strangers[0]!r}, which is no key of params ({', '.join(layer.params) or 'empty'})"
        )
    said = f"params holds {', '.join(others)} too, which the outputs do not depend on: of another layer, and not judged"
    return state.subject(notes=(said,) if others else ())


def _of_others(state: Stateful, own: Mapping[str, Slot]) -> list[str]:
    """The parameters of another layer: the outputs depend on them neither as they begin nor drawn anew. A last layer or a gate that
    begins at 0 hides all others."""
    still = [n for n in _unwritten(state, own) if not matters(state, own[n])]
    if not still:
        return []
    kept = state.read(own)
    state.restore(own, {n: parameter_like(t, rng_of(0, 4, k)) for k, (n, t) in enumerate(kept.items())})
    try:
        return [n for n in still if not matters(state, own[n])]
    finally:
        state.restore(own, kept)


def _unwritten(state: Stateful, own: Iterable[str]) -> list[str]:
    """The parameters that may be those of another layer, with which this one shares its dict: no method names them, and there is no
    gradient of them yet, or the dict is the class's."""
    kinds = own_classes(type(state.layer))
    written = [c for k in kinds for f in vars(k).values() if inspect.isfunction(f) for c in f.__code__.co_consts]
    named = {n for c in written for n in (c if isinstance(c, tuple) else (c,))}
    grads = state.layer.grads
    shared = any(isinstance(vars(kind).get("params"), Mapping) for kind in type(state.layer).__mro__)
    return [n for n in own if n not in named and (shared or _gradient_key(grads, n) not in grads)]


def _slots(layer: Any, name: str) -> dict[str, Slot]:
    keys = [key for key, value in getattr(layer, name).items() if is_real(value)]
    return dict(zip(keys, _entries(layer, name, keys), strict=True))


def _entries(layer: Any, name: str, keys: Iterable[str]) -> list[Slot]:
    owner = (layer, name, ())
    return [Shown(owner, key, f"{name}.{key}", f".{name}[{key!r}]") for key in keys]


def _gradient_key(grads: Mapping[str, Any], name: str) -> str:
    """The key of a parameter's gradient: its own name, or one such as `dW`."""
    ranked = {k: r for k in grads if is_array(grads[k]) and (r := gradient_rank(f"grads.{k}", name)) is not None}
    return name if name in grads or not ranked else min(ranked, key=lambda k: ranked[k])
