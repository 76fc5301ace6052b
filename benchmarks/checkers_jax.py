"""The layers' formulas in jax.numpy, as one custom_vjp of z and the parameters. Imported only where JAX is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.test_util import check_grads

from benchmarks.checkers_trials import Trial
from benchmarks.peers import of_subject
from layers import BatchNorm, Dropout, InstanceNorm, Linear, Sequential, SoftmaxCrossEntropy, Tanh

jax.config.update("jax_enable_x64", True)

Array = Any
Forward = Callable[..., tuple[Array, tuple[Array, ...]]]
"""(z, *parameters) → (a, what backward needs)."""
Backward = Callable[..., tuple[Array, ...]]
"""(δa, *what forward kept) → (δz, *δparameters)."""
Pair = tuple[Forward, Backward]


def linear() -> Pair:
    def forward(z: Array, W: Array, b: Array) -> Any:
        return z @ W + b, (z, W)

    def backward(δa: Array, z: Array, W: Array) -> Any:
        return δa @ W.T, z.T @ δa, δa.sum(0)

    return forward, backward


def instance_norm(eps: float) -> Pair:
    def forward(z: Array, γ: Array, β: Array) -> Any:
        c = z - z.mean(-1, keepdims=True)
        invstd = jax.lax.rsqrt((c * c).mean(-1, keepdims=True) + eps)
        ẑ = c * invstd
        return β + γ * ẑ, (ẑ, invstd, γ)

    def backward(δa: Array, ẑ: Array, invstd: Array, γ: Array) -> Any:
        δẑ = δa * γ
        δz = invstd * (δẑ - δẑ.mean(-1, keepdims=True) - ẑ * (δẑ * ẑ).mean(-1, keepdims=True))
        return δz, (δa * ẑ).sum(0), δa.sum(0)

    return forward, backward


def batch_norm(eps: float) -> Pair:
    def forward(z: Array, γ: Array, β: Array) -> Any:
        c = z - z.mean(0)
        invstd = jax.lax.rsqrt((c * c).mean(0) + eps)
        return β + γ * invstd * c, (c, invstd, γ)

    def backward(δa: Array, c: Array, invstd: Array, γ: Array) -> Any:
        δβ, δγ = δa.sum(0), invstd * (δa * c).sum(0)
        return γ * invstd * (δa - δβ / len(δa) - c * invstd * δγ / len(δa)), δγ, δβ

    return forward, backward


def tanh() -> Pair:
    def forward(z: Array) -> Any:
        a = jnp.tanh(z)
        return a, (a,)

    return forward, lambda δa, a: (δa * (1 - a * a),)


def dropout(m: Array) -> Pair:
    """m: the mask over 1 − p, drawn beforehand."""
    return lambda z: (m * z, ()), lambda δa: (m * δa,)


def cross_entropy(y: Array) -> Pair:
    rows = jnp.arange(len(y))

    def forward(z: Array) -> Any:
        z = z - z.max(-1, keepdims=True)
        e = jnp.exp(z)
        Σe = e.sum(-1, keepdims=True)
        return (jnp.log(Σe[:, 0]) - z[rows, y]).mean(), (e, Σe)

    def backward(δL: Array, e: Array, Σe: Array) -> Any:
        w = δL / len(y)
        return ((e * (w / Σe)).at[rows, y].add(-w),)

    return forward, backward


def chain(pairs: Sequence[tuple[Pair, int]]) -> Pair:
    """Pairs one after the other, each with its number of parameters."""

    def forward(z: Array, *parameters: Array) -> Any:
        kept = []
        for (f, _), count in pairs:
            z, mine = f(z, *parameters[:count])
            parameters = parameters[count:]
            kept.append(mine)
        return z, tuple(kept)

    def backward(δa: Array, *kept: Any) -> Any:
        found: tuple[Array, ...] = ()
        for ((_, b), _), mine in zip(reversed(pairs), reversed(kept), strict=True):
            δa, *gradients = b(δa, *mine)
            found = (*gradients, *found)
        return δa, *found

    return forward, backward


def pair_of(layer: Any, trial: Trial) -> Pair:
    """The formulas of one of layers/."""
    if isinstance(layer, Sequential):
        return chain([(pair_of(part, trial), len(part.params)) for part in layer.layers])
    made: dict[type, Callable[[], Pair]] = {
        Linear: linear,
        InstanceNorm: lambda: instance_norm(layer.eps),
        BatchNorm: lambda: batch_norm(layer.eps),
        Tanh: tanh,
        Dropout: lambda: dropout(_mask(trial)),
        SoftmaxCrossEntropy: lambda: cross_entropy(jnp.asarray(trial.inputs[1].numpy())),
    }
    return made[type(layer)]()


def _mask(trial: Trial) -> Array:
    z = trial.inputs[0]
    (a,), _ = of_subject(trial.right, trial.mode)([z])
    return jnp.asarray((a / z).numpy())


def differentiable(pair: Pair, backward: Backward | None = None) -> Callable[..., Array]:
    """The forward with the hand-written derivative, or with another: (δa, *leaves) → gradients."""
    forward, own = pair
    f = jax.custom_vjp(lambda *leaves: forward(*leaves)[0])
    if backward is None:
        f.defvjp(forward, lambda kept, δa: tuple(own(δa, *kept)))
    else:
        f.defvjp(lambda *leaves: (forward(*leaves)[0], leaves), lambda leaves, δa: tuple(backward(δa, *leaves)))
    return f


def with_fault(trial: Trial) -> Backward:
    """The faulty backward by way of the host: any fault that is one of the gradient or of the cotangent."""
    evaluate = of_subject(trial.subject, trial.mode)

    def host(δa: Any, *leaves: Any) -> Any:
        tensors = [torch.from_numpy(np.array(t)) for t in (δa, *leaves)]
        _, pullback = evaluate(tensors[1:])
        return tuple(np.asarray(g) for g in pullback(tensors[:1]) if g is not None)

    def backward(δa: Array, *leaves: Array) -> Any:
        shapes = tuple(jax.ShapeDtypeStruct(t.shape, t.dtype) for t in leaves)
        return jax.pure_callback(host, shapes, δa, *leaves)

    return backward


def jax_check(trial: Trial, jit: bool = True) -> Callable[[], bool]:
    """`check_grads` of the trial, reverse mode, first order, compiled unless `jit=False`."""
    leaves = tuple(jnp.asarray(trial.right.leaves[n].value.numpy()) for n in trial.right.wanted())
    f = differentiable(pair_of(trial.layer, trial), None if trial.fault is None else with_fault(trial))
    f = jax.jit(f) if jit else f

    def check() -> bool:
        try:
            check_grads(f, leaves, order=1, modes=["rev"])
        except AssertionError:
            return False
        return True

    return check
