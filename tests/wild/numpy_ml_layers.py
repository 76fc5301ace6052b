"""The layers and wrappers of numpy-ml 0.1.2: how each is built, what it is called with, what is to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy_ml_ import neural_nets

nets = neural_nets()
layers, wrappers = nets.layers, nets.wrappers


@dataclass(frozen=True)
class Row:
    """One layer, as it is given to `gradcheck`."""

    name: str
    build: Callable[[], Any]
    inputs: tuple[Any, ...]
    fails: tuple[str, ...] = ()
    """The checks that fail; none for a right layer."""
    fault: str = ""
    grads: dict[str, None] = field(default_factory=dict)
    """What has no gradient and is not asked for one."""
    settled: bool = True
    """False where the harness can't decide; the reason stands in docs/wild.md."""


IN_INPUTS, IN_PARAMETERS, CHANGES = ("input_gradient",), ("parameter_gradient",), ("input_gradient", "unmutated")
MASK = "wrappers.Dropout.backward multiplies by 1 / (1 - p) and not by the mask, and does so to dLdy itself"
SOFTMAX = "Softmax._bwd goes over rows whatever dim is"
TWICE = "Embedding._bwd adds with dW[v_ids] +=, which counts an id once however often it is there"
PADDED = "Pool2D.backward looks for the maximum in X where forward has looked in X_pad"


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def made(row: Row) -> Any:
    """The layer, its weights the same each time: numpy-ml draws them from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002
    return row.build()


class Listed:
    """A layer that takes its inputs as one list, called with several."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def forward(self, *X: np.ndarray) -> np.ndarray:
        return self.layer.forward(list(X))

    def backward(self, dLdY: np.ndarray) -> list[np.ndarray]:
        return self.layer.backward(dLdY)


class Unrolled:
    """A cell over all time steps, as `layers.RNN` and `layers.LSTM` would be if they could be called."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def forward(self, X: np.ndarray) -> np.ndarray:
        Y = [self.cell.forward(X[:, :, t]) for t in range(X.shape[2])]
        return np.dstack([y[0] if isinstance(y, tuple) else y for y in Y])

    def backward(self, dLdA: np.ndarray) -> np.ndarray:
        return np.dstack([self.cell.backward(dLdA[:, :, t]) for t in reversed(range(dLdA.shape[2]))][::-1])


def rows() -> Iterator[Row]:
    x, image, words, ids = floats(4, 5), floats(2, 5, 6, 3), floats(2, 7, 3), np.array([[1, 2, 2], [3, 1, 0]])
    three = (floats(3, 4), floats(3, 4, seed=1), floats(3, 4, seed=2))
    for act_fn in (None, "Tanh", "ReLU"):
        yield Row(f"FullyConnected({act_fn})", partial(layers.FullyConnected, 3, act_fn), (x,))
        yield Row(f"Add({act_fn})", lambda a=act_fn: Listed(layers.Add(a)), three)
        yield Row(f"Multiply({act_fn})", lambda a=act_fn: Listed(layers.Multiply(a)), three)
    for keep in ("first", "last", -1):
        yield Row(f"Flatten({keep})", partial(layers.Flatten, keep), (image,))
    yield Row("BatchNorm1D", layers.BatchNorm1D, (x,))
    yield Row("BatchNorm2D", layers.BatchNorm2D, (image,))
    yield Row("LayerNorm1D", layers.LayerNorm1D, (x,))
    yield Row("LayerNorm2D", layers.LayerNorm2D, (image,))
    yield Row("Embedding", partial(layers.Embedding, 3, 5), (ids,))
    for pool in ("sum", "mean"):
        pooled = partial(layers.Embedding, 3, 5, pool)
        yield Row(f"Embedding({pool})", pooled, (np.array([[1, 2, 4], [3, 1, 0]]),))
        yield Row(f"Embedding({pool}), an id twice", pooled, (ids,), IN_PARAMETERS, TWICE)
    yield Row("Softmax", layers.Softmax, (x,))
    yield Row("Softmax of 3 dimensions", layers.Softmax, (words,))
    yield Row("Softmax(dim=0)", partial(layers.Softmax, 0), (x,), IN_INPUTS, SOFTMAX)
    qkv = (floats(2, 3, 4), floats(2, 3, 4, seed=1), floats(2, 3, 4, seed=2))
    for scale in (True, False):
        yield Row(f"DotProductAttention({scale})", partial(layers.DotProductAttention, scale), qkv)
    yield Row("DotProductAttention(dropout)", partial(layers.DotProductAttention, True, 0.4), qkv, IN_INPUTS, MASK)
    yield from convolutions(image, words)
    yield Row("RNNCell", partial(layers.RNNCell, 3), (x,))
    yield Row("RNNCell, 4 steps", lambda: Unrolled(layers.RNNCell(3)), (floats(2, 3, 4),))
    yield Row("LSTMCell", partial(layers.LSTMCell, 3), (x,))
    yield Row("LSTMCell, 4 steps", lambda: Unrolled(layers.LSTMCell(3)), (floats(2, 3, 4),))
    yield Row("Dropout(FullyConnected)", lambda: wrappers.Dropout(layers.FullyConnected(3), 0.4), (x,), CHANGES, MASK)
    yield Row("Dropout(p=0)", lambda: wrappers.Dropout(layers.FullyConnected(3), 0.0), (x,))


def convolutions(image: np.ndarray, words: np.ndarray) -> Iterator[Row]:
    conv1 = partial(layers.Conv1D, 2, 3)
    for name, options in {
        "": {},
        "pad=1": {"pad": 1},
        "same": {"pad": "same"},
        "causal": {"pad": "causal"},
        "stride=2": {"stride": 2},
        "dilation=1": {"dilation": 1},
        "causal, dilation=1": {"pad": "causal", "dilation": 1},
        "Tanh": {"act_fn": "Tanh"},
    }.items():
        yield Row(f"Conv1D({name})", partial(conv1, **options), (words,))
    conv2 = partial(layers.Conv2D, 2, (3, 2))
    for name, options in {
        "": {},
        "pad=1": {"pad": 1},
        "pad=(1, 2)": {"pad": (1, 2)},
        "same": {"pad": "same"},
        "stride=2": {"stride": 2},
        "dilation=1": {"dilation": 1},
        "Tanh": {"act_fn": "Tanh"},
    }.items():
        yield Row(f"Conv2D({name})", partial(conv2, **options), (image,))
    for mode in ("max", "average"):
        for name, options in {"": {}, "stride=2": {"stride": 2}, "pad=1": {"pad": 1}}.items():
            wrong = (IN_INPUTS, PADDED) if (mode, name) == ("max", "pad=1") else ()
            yield Row(f"Pool2D({mode}, {name})", partial(layers.Pool2D, (3, 2), mode=mode, **options), (image,), *wrong)
    deconv = partial(layers.Deconv2D, 2, (3, 2))
    small = image[:, :3, :4]
    for name, options in {"": {}, "pad=1": {"pad": 1}, "stride=2": {"stride": 2}, "Tanh": {"act_fn": "Tanh"}}.items():
        yield Row(f"Deconv2D({name})", partial(deconv, **options), (small,))


ROWS = tuple(rows())
