"""In the style of "Deep Learning from Scratch": `params`/`grads` lists, `train_flg`, `backward(dout=1)`; each wrong in one place."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np


class Sigmoid:
    def __init__(self) -> None:
        self.params: list[Any] = []
        self.grads: list[Any] = []
        self.out: Any = None

    def forward(self, x: Any) -> Any:
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout: Any) -> Any:
        return dout * (1.0 - self.out) * self.out


class WrongSigmoid(Sigmoid):
    def backward(self, dout: Any) -> Any:
        return dout * (1.0 - self.out)


class Affine:
    """Volume 2: two lists, the gradients overwritten in place."""

    def __init__(self, W: Any, b: Any) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.x: Any = None

    def forward(self, x: Any) -> Any:
        W, b = self.params
        self.x = x
        return np.dot(x, W) + b

    def backward(self, dout: Any) -> Any:
        W, _ = self.params
        dx = np.dot(dout, W.T)
        self.grads[0][...] = np.dot(self.x.T, dout)
        self.grads[1][...] = np.sum(dout, axis=0)
        return dx


class WrongAffine(Affine):
    def backward(self, dout: Any) -> Any:
        dx = super().backward(dout)
        self.grads[1][...] = np.mean(dout, axis=0)
        return dx


class Embedding:
    def __init__(self, W: Any) -> None:
        self.params, self.grads = [W], [np.zeros_like(W)]
        self.idx: Any = None

    def forward(self, idx: Any) -> Any:
        (W,) = self.params
        self.idx = idx
        return W[idx]

    def backward(self, dout: Any) -> None:
        (dW,) = self.grads
        dW[...] = 0
        np.add.at(dW, self.idx, dout)


class WrongEmbedding(Embedding):
    def backward(self, dout: Any) -> None:
        (dW,) = self.grads
        dW[...] = 0
        dW[self.idx] = dout  # of equal ids the last wins


class SoftmaxWithLoss:
    """Labels or one-hot."""

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: Any, t: Any) -> Any:
        self.t = t
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
        self.y = e / np.sum(e, axis=-1, keepdims=True)
        labels = t.argmax(axis=1) if t.size == self.y.size else t
        self.loss = -np.sum(np.log(self.y[np.arange(len(x)), labels])) / len(x)
        return self.loss

    def backward(self, dout: Any = 1) -> Any:
        batch_size = self.t.shape[0]
        if self.t.size == self.y.size:
            return dout * (self.y - self.t) / batch_size
        dx = self.y.copy()
        dx[np.arange(batch_size), self.t] -= 1
        return dout * dx / batch_size


class WrongSoftmaxWithLoss(SoftmaxWithLoss):
    def backward(self, dout: Any = 1) -> Any:
        return super().backward(dout) * self.t.shape[0]


class Dropout:
    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: Any, train_flg: bool = True) -> Any:
        if train_flg:
            self.mask = np.random.rand(*x.shape) > self.dropout_ratio  # noqa: NPY002
            return x * self.mask
        return x * (1.0 - self.dropout_ratio)

    def backward(self, dout: Any) -> Any:
        return dout * self.mask


class WrongDropout(Dropout):
    def backward(self, dout: Any) -> Any:
        return dout * self.mask / (1.0 - self.dropout_ratio)


class BatchNormalization:
    """Statistics are made at the first forward; backward is that of training."""

    def __init__(self, gamma: Any, beta: Any, momentum: float = 0.9) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean: Any = None
        self.running_var: Any = None
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: Any, train_flg: bool = True) -> Any:
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if not train_flg:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + 10e-7) + self.beta
        mu = x.mean(axis=0)
        self.xc = x - mu
        var = np.mean(self.xc**2, axis=0)
        self.std = np.sqrt(var + 10e-7)
        self.xn = self.xc / self.std
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return self.gamma * self.xn + self.beta

    def backward(self, dout: Any) -> Any:
        n = len(dout)
        self.dbeta, self.dgamma = dout.sum(axis=0), np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dxc = dxn / self.std + (2.0 / n) * self.xc * 0.5 * dstd / self.std
        return dxc - np.sum(dxc, axis=0) / n


class WrongBatchNormalization(BatchNormalization):
    def backward(self, dout: Any) -> Any:
        dx = super().backward(dout)
        self.dgamma = np.sum(self.xc * dout, axis=0)
        return dx


class TwoLayerNet:
    """`gradient(x, t)` gives a dict of gradients by the keys of `params`."""

    def __init__(self, affine: type = Affine) -> None:
        rng = np.random.default_rng(0)
        self.params = {
            "W1": rng.normal(size=(3, 4)),
            "b1": np.zeros(4),
            "W2": rng.normal(size=(4, 2)),
            "b2": np.zeros(2),
        }
        p = self.params
        self.layers = OrderedDict(
            Affine1=affine(p["W1"], p["b1"]), Sigmoid1=Sigmoid(), Affine2=Affine(p["W2"], p["b2"])
        )
        self.last = SoftmaxWithLoss()

    def gradient(self, x: Any, t: Any) -> Any:
        for layer in self.layers.values():
            x = layer.forward(x)
        loss, dout = self.last.forward(x, t), self.last.backward(1)
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        (W1, b1), (W2, b2) = self.layers["Affine1"].grads, self.layers["Affine2"].grads
        return loss, {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
