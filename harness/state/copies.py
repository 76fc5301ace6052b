"""A layer's arrays in another dtype, in memory of their own, sharing it as they did."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Mapping, Sequence
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.outcome import SpecError
from harness.reading.holders import has_parts
from harness.state.slots import Slot, entries, inside, walk


def own_copy(original: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """A copy of the layer, in the working dtype, that may be changed at will.

    Raises:
        SpecError: it can't be copied.
    """
    slots = list(walk(original))
    made = copies(slots, dtype, device)
    try:
        layer = _copied(original, memo := dict(made))
    except Exception as error:
        raise SpecError(
            f"{type(original).__name__} can't be copied ({type(error).__name__}: {error}), and a check must not "
            "change the layer itself: give a LayerSpec whose build makes a new one, or define __deepcopy__"
        ) from error
    _rebind(layer, memo)
    # of NumPy's arrays those that are views, or have some, are in the copy already, and not yet in the dtype
    if not all(type(v := slot.get()) is Tensor and id(v) in made for slot in slots):
        convert(layer, dtype, device)
    return layer


def _copied(original: Any, memo: dict[int, Any]) -> Any:
    """A deep copy that shares what modules the layer keeps (`self.xp = numpy`), which deepcopy does not take; `memo` has
    afterwards what each part of the original became."""
    made = dict(memo)
    try:
        return copy.deepcopy(original, memo)
    except DeprecationWarning:  # an error under `-W error`: from Python 3.12 on of iterators, as of itertools.count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return copy.deepcopy(original, _begun(memo, made))
    except TypeError as error:
        if "'module' object" not in str(error):
            raise
        modules = {id(m): m for m in list(sys.modules.values()) if isinstance(m, ModuleType)}
        return copy.deepcopy(original, _begun(memo, made | modules))


def _begun(memo: dict[int, Any], made: Mapping[int, Any]) -> dict[int, Any]:
    """The memo with nothing in it but this."""
    memo.clear()
    memo.update(made)
    return memo


def _rebind(part: Any, became: Mapping[int, Any], seen: set[int] | None = None) -> None:
    """Functions in the copy that were made inside the original (`self.f = lambda z: self.alpha * z`, or one in a dict of
    them) are made to mean the copy: deepcopy leaves their closures alone."""
    seen = set() if seen is None else seen
    if id(part) in seen or not has_parts(part):
        return
    seen.add(id(part))
    for key, value in entries(part):
        if isinstance(value, FunctionType):
            if (meant := _meaning(value, became)) is not value:
                inside(part, key, None).put(meant)
        else:
            _rebind(value, became, seen)


def _meaning(function: FunctionType, became: Mapping[int, Any], around: tuple[FunctionType, ...] = ()) -> FunctionType:
    """A function that means the copies of what it has in its closure; itself where none of that was copied."""
    cells = tuple(_cell(cell, became, (*around, function)) for cell in function.__closure__ or ())
    if all(new is cell for new, cell in zip(cells, function.__closure__ or (), strict=True)):
        return function
    made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _cell(cell: CellType, became: Mapping[int, Any], around: tuple[FunctionType, ...]) -> CellType:
    """One with the copy in it; itself where what it holds was not copied, or is a function around this one."""
    try:
        held = cell.cell_contents
    except ValueError:  # of a variable that was never set
        return cell
    if isinstance(held, FunctionType):
        means = held if any(held is f for f in around) else _meaning(held, became, around)
    else:
        means = became.get(id(held), held)
    return cell if means is held else CellType(means)


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
