"""Places inside a stateful layer that hold an array: found by walking, read and written in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.arrays import is_real, to_tensor


@dataclass(frozen=True)
class Slot:
    """One place that holds an array: an attribute, or an entry of a dict or list."""

    owner: Any
    key: str | int
    label: str
    code: str = ""
    """How a script reaches it from `layer`, such as `.fc1.W` or `['W']`."""

    def get(self) -> Any:
        """What stands there now; None where nothing does."""
        if isinstance(self.owner, Mapping):
            return self.owner.get(self.key)
        if isinstance(self.owner, (list, tuple)):
            return self.owner[int(self.key)] if int(self.key) < len(self.owner) else None
        return getattr(self.owner, str(self.key), None)

    def put(self, value: Any) -> None:
        """Replace what stands there."""
        if isinstance(self.owner, (MutableMapping, list)):
            self.owner[self.key] = value  # type: ignore[index]
        else:
            setattr(self.owner, str(self.key), value)

    def read(self) -> Tensor | None:
        """The array as a tensor that shares its memory; None where there is none."""
        value = self.get()
        return None if value is None else to_tensor(value, self.label).detach()

    def write(self, value: Tensor) -> None:
        """Set the values: in place where shape and dtype allow, since the layer may hold the same array elsewhere."""
        there = self.get()
        if isinstance(there, Tensor):
            if there.shape == value.shape and there.dtype == value.dtype:
                with torch.no_grad():
                    there.copy_(value)
            else:
                self.put(value.clone())
        elif isinstance(there, np.ndarray):
            array = value.detach().numpy()
            if there.shape == array.shape and there.dtype == array.dtype and there.flags.writeable:
                there[...] = array
            else:
                self.put(array.copy())
        else:  # a Python or NumPy scalar
            self.put(type(there)(value.item()))


def walk(thing: Any, scalars: bool = False, above: Slot | None = None, seen: set[int] | None = None) -> Iterator[Slot]:
    """Every real array reachable from a layer, with a label such as `fc1.W` or `params.gamma`; real scalars on request."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for key, value in _entries(thing):
        step = f"[{key!r}]" if isinstance(thing, (Mapping, list, tuple)) else f".{key}"
        slot = Slot(thing, key, f"{above.label}.{key}" if above else str(key), (above.code if above else "") + step)
        if is_real(value) or (scalars and isinstance(value, (float, np.floating))):
            yield slot
        elif _has_parts(value):
            yield from walk(value, scalars, slot, seen)


def _entries(thing: Any) -> list[tuple[str | int, Any]]:
    if isinstance(thing, Mapping):
        return [(k, v) for k, v in thing.items() if isinstance(k, (str, int))]
    if isinstance(thing, (list, tuple)):
        return list(enumerate(thing))
    return list(vars(thing).items())


def _has_parts(value: Any) -> bool:
    if isinstance(value, (Mapping, list, tuple)):
        return True
    return (hasattr(value, "__dict__") and not callable(value)) or (
        hasattr(value, "backward") and not isinstance(value, type)
    )


def convert(layer: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Bring every real array inside the layer to a dtype and device, keeping each tensor's identity."""
    for slot in list(walk(layer)):
        value = slot.get()
        if isinstance(value, Tensor):
            # through .data: whoever else holds this tensor sees the change too
            value.data = value.data.to(device=device, dtype=dtype)
            if value.is_leaf:
                value.requires_grad_(False)
        elif isinstance(value, np.ndarray) and not isinstance(slot.owner, tuple):
            wanted = torch.empty(0, dtype=dtype).numpy().dtype
            if value.dtype != wanted:
                slot.put(value.astype(wanted))
