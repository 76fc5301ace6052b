"""`jax.test_util.check_grads` on a subject, by way of the host. Imported only where JAX is installed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch
from jax.test_util import check_grads
from torch import Tensor

from benchmarks.peers import Evaluate

jax.config.update("jax_enable_x64", True)
logging.getLogger("jax").setLevel(logging.CRITICAL)  # what a callback raises is an answer, not news


def jax_check(evaluate: Evaluate, leaves: Sequence[Tensor]) -> bool:
    """Reverse mode, first order, its own tolerances: forward and backward are the subject's."""
    outputs, _ = evaluate(leaves)
    answers, arguments = _shapes(outputs), _shapes(leaves)

    def forward(*values: Any) -> Any:
        return tuple(y.numpy() for y in evaluate(_tensors(values))[0])

    def backward(values: Any, cotangents: Any) -> Any:
        _, pullback = evaluate(_tensors(values))
        return tuple(_array(g) for g in pullback(_tensors(cotangents)))

    f = jax.custom_vjp(lambda *values: jax.pure_callback(forward, answers, *values))
    f.defvjp(
        lambda *values: (jax.pure_callback(forward, answers, *values), values),
        lambda values, cotangents: jax.pure_callback(backward, arguments, values, cotangents),
    )
    try:
        check_grads(f, tuple(t.numpy() for t in leaves), order=1, modes=["rev"])
    except AssertionError:
        return False
    finally:
        jax.clear_caches()  # every subject is another function: nothing of it is called again
    return True


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [torch.from_numpy(np.array(v)) for v in values]


def _array(g: Tensor | None) -> Any:
    if g is None:
        raise ValueError("backward gave no gradient")
    return g.detach().numpy()


def _shapes(tensors: Sequence[Tensor]) -> Any:
    return tuple(jax.ShapeDtypeStruct(tuple(t.shape), t.numpy().dtype) for t in tensors)
