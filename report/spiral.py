"""The spiral of Q5: K arms, one class each, and the accuracy that no classifier can exceed on it.

The assignment names the signature; this body is the usual form of it, and an assumption.
"""

import numpy as np
from numpy.typing import NDArray


def arms(t: NDArray[np.float64], n_classes: int, rotations: float) -> NDArray[np.float64]:
    """Points of the K noiseless arms at the places t of [0, 1], shape (K, len(t), 2): the radius is t itself."""
    start = 2 * np.pi * np.arange(n_classes)[:, None] / n_classes
    angle = 2 * np.pi * rotations * t + start
    points: NDArray[np.float64] = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return points


def generate_spiral(
    n_per_class: int = 150, n_classes: int = 2, noise: float = 0.05, rotations: float = 1.5, seed: int = 42
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """X of shape (n_per_class * n_classes, 2) and labels y, class after class.

    Each arm has n_per_class points at t = linspace(0, 1); both coordinates get normal noise of that deviation.
    """
    rng = np.random.default_rng(seed)
    X = arms(np.linspace(0.0, 1.0, n_per_class), n_classes, rotations).reshape(-1, 2)
    X = X + noise * rng.standard_normal(X.shape)
    return X.astype(np.float32), np.repeat(np.arange(n_classes), n_per_class)


def bayes_accuracy(
    X: NDArray[np.float32], y: NDArray[np.int64], noise: float = 0.05, rotations: float = 1.5, nodes: int = 1000
) -> float:
    """The accuracy on (X, y) of the classifier that knows the generator: argmax_c of the density of arm c.

    The density of an arm is the mean over t of N(arm(t), noise² I), taken at evenly spaced nodes.
    """
    centres = arms(np.linspace(0.0, 1.0, nodes), int(y.max()) + 1, rotations)
    density = [_density(X, centre, noise) for centre in centres]
    return float(np.mean(np.argmax(density, axis=0) == y))


def _density(X: NDArray[np.float32], centre: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Up to a factor that all arms share; |x − c|² is expanded, so that the large array is one matmul."""
    squared = (X**2).sum(1)[:, None] - 2 * X.astype(np.float64) @ centre.T + (centre**2).sum(1)
    density: NDArray[np.float64] = np.exp(-squared / (2 * noise**2)).mean(1)
    return density
