"""The activations and losses of numpy-ml 0.1.2.

They have no backward: what they call `grad` is put behind a pair (forward, backward).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy_ml_layers import IN_INPUTS, Row, floats, nets

activations, losses = nets.activations, nets.losses


def elementwise(act: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An activation: `grad` is the derivative at each entry."""

    def forward(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return act.fn(z), z

    def backward(dy: np.ndarray, z: np.ndarray) -> np.ndarray:
        return dy * act.grad(z)

    return forward, backward


def second(act: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Its derivative as a function: `grad2` is the derivative of that."""

    def forward(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1.0 * act.grad(z), z

    def backward(dy: np.ndarray, z: np.ndarray) -> np.ndarray:
        return dy * act.grad2(z)

    return forward, backward


def objective(loss: Callable[..., float], grad: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A loss of the inputs: `grad` is its gradient by each."""

    def forward(*inputs: np.ndarray) -> tuple[float, Any]:
        return loss(*inputs), inputs

    def backward(dout: float, inputs: Any) -> Any:
        found = grad(*inputs)
        return tuple(dout * g for g in found) if isinstance(found, tuple) else dout * found

    return forward, backward


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rows() -> Iterator[Row]:
    z = floats(4, 5)
    names = ["Sigmoid", "ReLU", "LeakyReLU", "Tanh", "Affine", "Identity", "ELU", "Exponential", "SELU", "HardSigmoid"]
    for name in [*names, "SoftPlus"]:
        yield Row(name, lambda n=name: elementwise(getattr(activations, n)()), (3 * z,))
        decided = name != "HardSigmoid"
        yield Row(f"{name}, grad2", lambda n=name: second(getattr(activations, n)()), (3 * z,), settled=decided)
    yield Row("Affine(2, 3)", lambda: elementwise(activations.Affine(2, 3)), (z,))
    yield Row("ELU(0.5)", lambda: elementwise(activations.ELU(0.5)), (z,))
    yield Row("ELU(0.5), grad2", lambda: second(activations.ELU(0.5)), (z,))
    yield from objectives()


def objectives() -> Iterator[Row]:
    z, y, squared = floats(4, 3), np.eye(3)[[0, 2, 1, 1]], losses.SquaredError
    for act in (activations.Identity(), activations.Tanh()):
        pair = partial(
            objective,
            lambda z, a=act, y=y: squared.loss(y, a.fn(z)),
            lambda z, a=act, y=y: squared.grad(y, a.fn(z), z, a),
        )
        yield Row(f"SquaredError after {act}", pair, (z,))
    entropy = losses.CrossEntropy
    after = partial(objective, lambda z: entropy.loss(y, softmax(z)), lambda z: entropy.grad(y, softmax(z)))
    yield Row("CrossEntropy of logits", after, (z,))
    given = (1 / (1 + np.exp(-z)), floats(4, 2, seed=1), floats(4, 2, seed=2))
    yield Row("VAELoss", partial(objective, partial(losses.VAELoss.loss, BITS), vae), given)
    gan = losses.WGAN_GPLoss()
    yield Row(
        "WGAN_GPLoss(G)", partial(objective, *(partial(f, module="G") for f in (gan.loss, gan.grad))), (floats(4),)
    )
    critic = objective(lambda f, r, g: gan.loss(f, "C", r, g), lambda f, r, g: gan.grad(f, "C", r, g))
    yield Row("WGAN_GPLoss(C)", lambda: critic, (floats(4), floats(4, seed=1), z), IN_INPUTS, SIGN)


BITS = (floats(4, 3, seed=3) > 0).astype(float)
SIGN = "WGAN_GPLoss.grad of the critic has the signs of dY_fake and dY_real exchanged"


def vae(p: np.ndarray, mean: np.ndarray, log_var: np.ndarray) -> tuple[np.ndarray, ...]:
    """Its gradients in the order of the loss's arguments; `grad` has the last two the other way round."""
    d_pred, d_log_var, d_mean = losses.VAELoss.grad(BITS, p, mean, log_var)
    return d_pred, d_mean, d_log_var


ROWS = tuple(rows())
