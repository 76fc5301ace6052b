"""A layer's arrays in another dtype, in memory of their own, sharing it as they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.slots import Slot, walk


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
