"""What stands in an object, as plain data: to see that nothing was changed."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def contents(thing: Any, seen: frozenset[int] = frozenset()) -> Any:
    """Everything inside an object as plain data: values by bytes, and which tensor is which by identity."""
    if id(thing) in seen:
        return "above"
    seen |= {id(thing)}
    if isinstance(thing, Tensor):
        grad = None if not thing.is_leaf or thing.grad is None else contents(thing.grad, seen)
        data = thing.detach().contiguous()
        return id(thing), thing.dtype, tuple(thing.shape), thing.requires_grad, data.numpy().tobytes(), grad
    if isinstance(thing, np.ndarray):
        return id(thing), thing.dtype.str, thing.shape, thing.tobytes()
    if type(thing).__module__.startswith("torch._library"):
        return id(thing)  # torch fills in its own registry when an operator is first called
    if isinstance(thing, torch.Generator):
        return thing.get_state().numpy().tobytes()
    if isinstance(thing, (np.random.Generator, np.random.RandomState, random.Random)):
        return pickle.dumps(thing)
    if isinstance(thing, dict):
        return {k: contents(v, seen) for k, v in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [contents(v, seen) for v in thing]
    return contents(vars(thing), seen) if hasattr(thing, "__dict__") else repr(thing)


def global_state() -> Any:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), repr(numpy_state), random.getstate()
