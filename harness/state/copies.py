"""A layer's arrays in another dtype, in memory of their own, sharing it as they did."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Sequence
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.outcome import SpecError
from harness.reading.scopes import captured
from harness.state.slots import Slot, walk


def own_copy(original: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A copy of the layer, in the working dtype, that may be changed at will.

    Raises:
        SpecError: it can't be copied.
    """
    slots = list(walk(original))
    made = copies(slots, dtype, device)
    try:
        layer = _copied(original, made)
    except Exception as error:
        raise SpecError(
            f"{type(original).__name__} can't be copied ({type(error).__name__}: {error}), and a check must not "
            "change the layer itself: give a LayerSpec whose build makes a new one, or define __deepcopy__"
        ) from error
    _rebind(layer, original)
    if not all(id(slot.get()) in made for slot in slots):
        convert(layer, dtype, device)
    return layer


def _copied(original: Any, made: dict[int, Any]) -> Any:
    """A deep copy that shares what modules the layer keeps (`self.xp = numpy`), which deepcopy does not take."""
    try:
        return copy.deepcopy(original, dict(made))
    except DeprecationWarning:  # an error under `-W error`: from Python 3.12 on of iterators, as of itertools.count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return copy.deepcopy(original, dict(made))
    except TypeError as error:
        if "'module' object" not in str(error):
            raise
        modules = {id(m): m for m in list(sys.modules.values()) if isinstance(m, ModuleType)}
        return copy.deepcopy(original, made | modules)


def _rebind(layer: Any, original: Any) -> None:
    """Functions in the copy that were made inside the original (`self.f = lambda z: self.alpha * z`) are made to mean the
    copy: deepcopy leaves their closures alone."""
    for name, value in list(getattr(layer, "__dict__", {}).items()):
        if isinstance(value, FunctionType) and any(held is original for held in captured(value)):
            cells = tuple(CellType(layer) if c.cell_contents is original else c for c in value.__closure__ or ())
            made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
            made.__kwdefaults__ = value.__kwdefaults__
            setattr(layer, name, made)


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
                kept, value.grad = value.grad if value.is_leaf else None, None
                value.data = _converted_tensor(value, dtype, device, roots)
                value.grad = None if kept is None else kept.to(device, dtype)
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
        memo |= {id(t): _own_tensor(t, dtype, device) for t in tensors}
    arrays = [a for a in found if isinstance(a, np.ndarray)]
    roots: dict[int, Any] = {}
    memo |= {id(a): _converted_array(a, a.dtype, roots) for a in arrays if isinstance(a.base, np.ndarray)}
    return memo | {id(a): roots[id(a)] for a in arrays if id(a) in roots}


def _own_tensor(t: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    own = t.detach().to(device, dtype, copy=True)
    if t.grad is not None:  # a backward may add to it
        own.grad = t.grad.detach().to(device, dtype, copy=True)
    return own
