"""What a backward returns: the gradients of the inputs, and whatever stands beside them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from harness.reading.naming import alike, gradient_names, gradient_rank
from harness.request import holds_tensors, match
from harness.state.slots import Slot
from harness.state.views import Shown, is_pair
from harness.subject import Leaf
from harness.tensors.arrays import is_array, is_real, to_tensor
from harness.tensors.nested import flat, leaves_of, parts_in


def levelled(result: Any, arguments: Mapping[str, Any]) -> Any:
    """Gradients one by one: out of a dataclass, or a tuple that those of the inputs have to themselves; where an argument of
    forward is a tuple, list or dict of arrays, without those among them, or under the names of its parts."""
    form = form_of(result, arguments)
    if form == FIELDS:
        result = vars(result)
    elif form == JOINED:
        result = (*result[0], *result[1:])
    elif other := _called_otherwise(result, arguments):
        result = {other.get(k, k): g for k, g in result.items()}
    nested = {n: v for n, v in arguments.items() if parts_in(v) is not None and holds_tensors(v)}
    if not nested:
        return result
    if isinstance(result, Mapping):
        plain = [alias for n in arguments if n not in nested for alias in (n, *gradient_names(n))]
        return dict(pair for k, part in result.items() for pair in _renamed(str(k), part, nested, plain))
    if not isinstance(result, (tuple, list)):
        return result
    found: list[Any] = []
    for k, part in enumerate(result):
        argument = list(arguments.values())[k] if k < len(arguments) else None
        if not isinstance(part, Mapping):
            found += leaves_of(part)
        elif isinstance(argument, Mapping):  # in the order of the argument, not its own
            entries = {_entry(str(key), argument): g for key, g in part.items()}
            found += [g for key in argument for g in leaves_of(entries.get(str(key)))]
        else:
            found.append(part)
    return found


FIELDS = "vars({})"
"""How a script takes a dataclass or a namespace of gradients."""

JOINED = "(lambda inputs, *rest: (*inputs, *rest))(*{})"
"""And `(dx, dy), {"W": dW}`, where the inputs' gradients have a tuple of their own."""


def form_of(result: Any, arguments: Mapping[str, Any]) -> str:
    """How a script takes what backward returned for gradients one by one; {} stands for the call."""
    if (is_dataclass(result) or isinstance(result, SimpleNamespace)) and hasattr(result, "__dict__"):
        return FIELDS
    if other := _called_otherwise(result, arguments):
        return f"{{{{dict({[*other.items()]}).get(k, k): g for k, g in {{}}.items()}}}}"
    if not isinstance(result, (tuple, list)) or not result or not isinstance(first := result[0], (tuple, list)):
        return "{}"
    given = list(arguments.values())
    real = [x for x in given if is_real(x)]
    return JOINED if any(len(c) == len(first) and all(map(_has_shape, first, c)) for c in (given, real)) else "{}"


def _called_otherwise(result: Any, arguments: Mapping[str, Any]) -> dict[Any, str]:
    """{key: input} of gradients that are returned under another name than forward has for the input, `x` or `dx` for `input`."""
    if isinstance(result, Tensor) or not isinstance(result, Mapping):
        return {}
    keys = [k for k in result if not _of_input(str(k), arguments)]
    found = {
        n: [k for k in keys if alike(str(k), n)] for n in arguments if not any(_of_input(str(k), [n]) for k in result)
    }
    return {own[0]: n for n, own in found.items() if len(own) == 1}


def _has_shape(gradient: Any, x: Any) -> bool:
    return gradient is None or (is_real(gradient) and tuple(gradient.shape) == tuple(getattr(x, "shape", ())))


def _renamed(key: str, part: Any, nested: Mapping[str, Any], plain: Container[str]) -> list[tuple[str, Any]]:
    """A gradient that was returned by name: of a whole argument, of an entry of one, or of something else."""
    if whole := next((n for n in nested if key.endswith(n) and parts_in(part) is not None), ""):
        argument = nested[whole]
        if isinstance(part, Mapping) and isinstance(argument, Mapping):
            part = {_entry(str(k), argument): g for k, g in part.items()}
        return list(flat(key, part))
    homes = [n for n, v in nested.items() if isinstance(v, Mapping) and _entry(key, v) in map(str, v)]
    if key in plain or len(homes) != 1:
        return [(key, part)]
    return list(flat(f"{homes[0]}.{_entry(key, nested[homes[0]])}", part))


def _entry(key: str, argument: Mapping[Any, Any]) -> str:
    """The entry of a dict whose gradient is called so; the name itself where there is none."""
    return next((n for n in map(str, argument) if key in (n, *gradient_names(n))), key)


def inputs_of(result: Any, leaves: Mapping[str, Leaf], inputs: Sequence[str], what: str) -> dict[str, Tensor | None]:
    """The gradients of the inputs in what a stateful layer's backward returned; those of its parameters may stand there too.

    By name from a dict; from a sequence by position, the inputs first.
    """
    if not isinstance(result, Tensor) and isinstance(result, Mapping):
        return match({k: v for k, v in result.items() if _of_input(str(k), inputs)}, leaves, inputs, what)
    if not isinstance(result, (tuple, list)):
        return match(result, leaves, inputs, what)
    return match(tuple(result[: _count(result, leaves, inputs)]), leaves, inputs, what)


def _of_input(key: str, inputs: Iterable[str]) -> bool:
    return any(key == n or gradient_rank(key, n) == 0 for n in inputs)


def _count(parts: Sequence[Any], leaves: Mapping[str, Leaf], inputs: Sequence[str]) -> int:
    """How many of the parts are gradients of inputs: one an input, one a real input, or one an input that wants it."""
    flat = next((k for k, p in enumerate(parts) if isinstance(p, (Mapping, list, tuple))), len(parts))
    real = [n for n in inputs if n in leaves and leaves[n].value.is_floating_point()]
    wanted = [n for n in real if leaves[n].wanted]
    if flat <= len(inputs):
        return flat
    fitting = (c for c in (list(inputs), real, wanted) if all(map(_fits, parts, (leaves.get(n) for n in c))))
    return len(next(fitting, inputs))


def _fits(part: Any, leaf: Leaf | None) -> bool:
    if leaf is None or not leaf.wanted or part is None:
        return part is None
    return is_array(part) and tuple(part.shape) == tuple(leaf.value.shape)


def beside(holder: Any, leaves: Mapping[str, Leaf], inputs: Sequence[str]) -> Iterator[Slot]:
    """The places in `holder.returned` that are no input's: `returned.dW`, `returned.1`, `returned.1.0`."""
    result = holder.returned
    if isinstance(result, Mapping):
        own = [k for k in result if not _of_input(str(k), inputs)]
        yield from _entries(holder, result, (), own)
        for k in own:  # `{"dx": dx, "grads": {"W": dW}}`
            if isinstance(part := result[k], Mapping):
                yield from _entries(holder, part, (k,), list(part))
    elif isinstance(result, (tuple, list)):
        for k in range(_count(result, leaves, inputs), len(result)):
            part = result[k]
            if isinstance(part, (Mapping, list, tuple)):
                yield from _entries(holder, part, (k,), list(part) if isinstance(part, Mapping) else range(len(part)))
            else:
                yield from _entries(holder, result, (), [k])


def _entries(holder: Any, home: Any, keys: tuple[Any, ...], names: Any) -> Iterator[Slot]:
    code = "returned" + "".join(f"[{k!r}]" for k in keys)
    owner = (holder, "returned", keys)
    # a dict says whose they are, wherever it stands; a position is told by all of it
    before = "returned." if isinstance(home, Mapping) else "".join(f"{k}." for k in ("returned", *keys))
    for name in names:
        if _is_named(pair := home[name]):  # `("W", dW)`
            inside = (holder, "returned", (*keys, name))
            yield Shown(inside, 1, f"returned.{pair[0]}", f"{code}[{name!r}][1]")
        elif isinstance(pair, (tuple, list)) and is_pair(tuple(pair)):
            # `(self.W, dW)`: its memory says which parameter it is
            inside, here = (holder, "returned", (*keys, name)), ".".join(map(str, ("pairs_returned", *keys, name)))
            yield Shown(inside, 0, here, f"{code}[{name!r}][0]")
            yield Shown(inside, 1, f"{here}.grad", f"{code}[{name!r}][1]")
        elif is_array(home[name]) or isinstance(home[name], float):
            yield Shown(owner, name, f"{before}{name}", f"{code}[{name!r}]")


def _is_named(pair: Any) -> bool:
    """Whether it is a name beside a gradient."""
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str) and is_array(pair[1])


def is_returned(slot: Slot) -> bool:
    """Whether the place is in what backward returned, not on the layer."""
    return slot.code.startswith("returned")


def in_order(slots: Mapping[str, Slot], places: Sequence[Slot]) -> dict[str, Slot]:
    """Unnamed gradients given to the parameters without one: in order if all shapes fit, else by shapes that are unique."""
    if len(slots) != len(places):
        return {}
    shapes = [_shape(s) for s in slots.values()]
    found = [_shape(p) for p in places]
    if shapes == found:
        return dict(zip(slots, places, strict=True))
    if sorted(shapes) == sorted(found) and len(set(shapes)) == len(shapes):
        return {n: places[found.index(shape)] for n, shape in zip(slots, shapes, strict=True)}
    return {}


def _shape(slot: Slot) -> tuple[int, ...]:
    value = slot.get()
    return tuple(to_tensor(value, slot.label).shape) if value is not None else ()
