"""Places inside a stateful layer that hold an array: found by walking, read and written in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.arrays import is_real, to_tensor


@dataclass(eq=False, slots=True)
class Slot:
    """One place that holds an array: an attribute, or an entry of a dict or list."""

    owner: Any
    key: str | int
    label: str
    code: str = ""
    """How a script reaches it from `layer`, such as `.fc1.W` or `['W']`."""

    def home(self) -> Any:
        """The object, dict or list that it is in, as it is now."""
        return self.owner

    def get(self) -> Any:
        """What stands there now; None where nothing does."""
        return _held(self.home(), self.key)

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
        self.replace(self.get(), value)

    def replace(self, there: Any, value: Tensor) -> None:
        """The same where it is known already what stands there."""
        if isinstance(there, Tensor):
            if there.shape == value.shape and there.dtype == value.dtype:
                there.detach().copy_(value.detach())
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


def _held(home: Any, key: str | int) -> Any:
    if isinstance(home, Mapping):
        return home.get(key)
    if isinstance(home, (list, tuple)):
        return home[int(key)] if int(key) < len(home) else None
    return getattr(home, str(key), None)


def standing(slots: Mapping[str, Slot]) -> dict[str, Any]:
    """What stands in each of several places; a dict that a property puts together is asked for once, not once an entry."""
    homes: dict[int, Any] = {}
    found = {}
    for name, slot in slots.items():
        if (key := id(slot.owner)) not in homes:
            homes[key] = slot.home()
        found[name] = _held(homes[key], slot.key)
    return found


def walk(thing: Any, scalars: bool = False, above: Slot | None = None, seen: set[int] | None = None) -> Iterator[Slot]:
    """Every real array reachable from a layer, with a label such as `fc1.W` or `params.gamma`; real scalars on request."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for key, value in entries(thing):
        if is_real(value) or (scalars and isinstance(value, (float, np.floating))):
            yield inside(thing, key, above)
        elif has_parts(value):
            yield from walk(value, scalars, inside(thing, key, above), seen)


def inside(thing: Any, key: str | int, above: Slot | None) -> Slot:
    """The place of an entry of a thing, itself in a place or the layer."""
    step = f"[{key!r}]" if isinstance(thing, (dict, list, tuple, Mapping)) else f".{key}"
    return Slot(thing, key, f"{above.label}.{key}" if above else str(key), (above.code if above else "") + step)


def entries(thing: Any) -> list[tuple[str | int, Any]]:
    """What an object, dict or list holds, by name, key or position."""
    if isinstance(thing, Mapping):
        return [(k, v) for k, v in thing.items() if isinstance(k, (str, int, tuple))]  # type: ignore[misc]
    if isinstance(thing, (list, tuple)):
        return list(enumerate(thing))
    own = dict(vars(thing)) if hasattr(thing, "__dict__") else {}
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                own.setdefault(name, getattr(thing, name))
        if kind.__module__ not in ("builtins", "torch.nn.modules.module"):
            own |= {n: v for n, v in vars(kind).items() if is_real(v) and n not in own}
    return list(own.items())


def has_parts(value: Any) -> bool:
    """Whether there may be arrays inside."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return False
    if isinstance(value, (dict, list, tuple, Mapping)):
        return True
    if isinstance(value, (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)):
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays have an entry in common."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr() or not a.numel() or not b.numel():
            return False
        if a.device.type != "cpu":
            return True
        a, b = a.detach().numpy(), b.detach().numpy()
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def convert(layer: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Bring every real array inside the layer to a dtype and device.

    Each tensor keeps its identity, and arrays that share memory (views, one array under two names) share it afterwards.
    """
    roots: dict[int, Any] = {}
    for slot in list(walk(layer)):
        value = slot.get()
        if isinstance(value, Tensor):
            if value.is_leaf:
                value.requires_grad_(False)
            if (value.dtype, value.device) != (dtype, device):
                # through .data: whoever else holds this tensor sees the change too
                value.data = _converted_tensor(value, dtype, device, roots)
        elif isinstance(value, np.ndarray) and not isinstance(slot.owner, tuple):
            wanted = torch.empty(0, dtype=dtype).numpy().dtype
            if value.dtype != wanted:
                slot.put(_converted_array(value, wanted, roots))


def _converted_tensor(t: Tensor, dtype: torch.dtype, device: torch.device, roots: dict[int, Any]) -> Tensor:
    storage = t.untyped_storage()
    if storage.data_ptr() not in roots:
        flat = torch.empty(0, dtype=t.dtype, device=t.device).set_(storage)
        roots[storage.data_ptr()] = flat.to(device=device, dtype=dtype)
    whole: Tensor = roots[storage.data_ptr()]
    return whole.as_strided(t.shape, t.stride(), t.storage_offset())


def _converted_array(a: np.ndarray, dtype: np.dtype[Any], roots: dict[int, Any]) -> np.ndarray:
    root = a
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.dtype != a.dtype or not (root.flags.c_contiguous or root.flags.f_contiguous):
        return a.astype(dtype)
    new = roots.setdefault(id(root), root.astype(dtype))
    if a is root:
        return np.asarray(new)
    old, size = a.dtype.itemsize, dtype.itemsize
    offset = (a.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // old * size
    return np.ndarray(a.shape, dtype, buffer=new, offset=offset, strides=tuple(n // old * size for n in a.strides))


def copies(slots: Sequence[Slot], dtype: torch.dtype, device: torch.device) -> dict[int, Any]:
    """For deepcopy's memo: what it would copy slowly or wrongly, {identity of the original: copy}.

    Plain tensors that share memory with no other are converted at once. NumPy arrays that are views are copied so that the
    copies share memory as they do.
    """
    found = [v for slot in slots if isinstance(v := slot.get(), (Tensor, np.ndarray))]
    tensors = [t for t in found if type(t) is Tensor and t.is_leaf]
    # those of no entries have no memory to share
    storages = [t.untyped_storage().data_ptr() for t in tensors if t.numel()]
    memo: dict[int, Any] = {}
    if len(set(storages)) == len(storages) and len(tensors) == len(found):
        memo |= {id(t): t.detach().to(device, dtype, copy=True) for t in tensors}
    arrays = [a for a in found if isinstance(a, np.ndarray)]
    roots: dict[int, Any] = {}
    memo |= {id(a): _converted_array(a, a.dtype, roots) for a in arrays if isinstance(a.base, np.ndarray)}
    return memo | {id(a): roots[id(a)] for a in arrays if id(a) in roots}
