"""Functions: CS231n's pairs, closures that return loss and gradients, objects that are chained."""

from __future__ import annotations

from typing import Any

import numpy as np

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)


def affine_forward(x: Any, w: Any, b: Any) -> Any:
    return x @ w + b, (x, w, b)


def affine_backward(dout: Any, cache: Any) -> Any:
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)


def wrong_affine_backward(dout: Any, cache: Any) -> Any:
    dx, dw, db = affine_backward(dout, cache)
    return dx, 2 * dw, db


def relu_forward(x: Any) -> Any:
    return np.maximum(0, x), x


def relu_backward(dout: Any, cache: Any) -> Any:
    return dout * (cache > 0)


def wrong_relu_backward(dout: Any, cache: Any) -> Any:
    return dout * (cache > 0.5)


def batchnorm_forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
    """Writes its running statistics into bn_param."""
    mode, eps, momentum = bn_param["mode"], bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean = bn_param.get("running_mean", np.zeros(x.shape[1]))
    var = bn_param.get("running_var", np.ones(x.shape[1]))
    if mode == "train":
        mu, s2 = x.mean(0), x.var(0)
        bn_param["running_mean"] = momentum * mean + (1 - momentum) * mu
        bn_param["running_var"] = momentum * var + (1 - momentum) * s2
        bn_param["calls"] = bn_param.get("calls", 0) + 1
        x = x * (1 if bn_param["calls"] == 1 else np.nan)  # a second forward on the same dict shows
    else:
        mu, s2 = mean, var
    s = np.sqrt(s2 + eps)
    xhat = (x - mu) / s
    return gamma * xhat + beta, (xhat, gamma, s, mode)


def batchnorm_backward(dout: Any, cache: Any) -> Any:
    xhat, gamma, s, mode = cache
    dh = dout * gamma
    if mode == "train":
        dh = dh - dh.mean(0) - xhat * (dh * xhat).mean(0)
    return dh / s, (dout * xhat).sum(0), dout.sum(0)


def wrong_batchnorm_backward(dout: Any, cache: Any) -> Any:
    dx, dgamma, dbeta = batchnorm_backward(dout, cache)
    return dx, dgamma, dbeta / len(dout)


def dropout_forward(x: Any, dropout_param: Any) -> Any:
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])  # noqa: NPY002
    mask = (np.random.rand(*x.shape) < p) / p if mode == "train" else None  # noqa: NPY002
    return (x * mask if mode == "train" else x), (dropout_param, mask)


def dropout_backward(dout: Any, cache: Any) -> Any:
    param, mask = cache
    return dout * mask if param["mode"] == "train" else dout


def wrong_dropout_backward(dout: Any, cache: Any) -> Any:
    return dout


def softmax_loss(x: Any, y: Any) -> Any:
    """(loss, dx), as CS231n's."""
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    p[np.arange(len(y)), y] -= 1
    return loss, p / len(y)


def wrong_softmax_loss(x: Any, y: Any) -> Any:
    loss, dx = softmax_loss(x, y)
    return loss, dx * len(y)


def svm_loss_all(x: Any, w: Any) -> Any:
    """(loss, (dx, dw))"""
    y = np.tanh(x @ w)
    dz = 2 * y * (1 - y**2)
    return (y**2).sum(), (dz @ w.T, x.T @ dz)


def wrong_svm_loss_all(x: Any, w: Any) -> Any:
    loss, (dx, dw) = svm_loss_all(x, w)
    return loss, (dx, dw + 0.1)


class Model:
    """CS231n's TwoLayerNet: `loss(X, y) -> (loss, grads)` by `params`."""

    factor = 1.0

    def __init__(self) -> None:
        self.params = {"W1": W0.copy(), "b1": np.zeros(2), "W2": W0.T.copy()}

    def loss(self, X: Any, y: Any = None) -> Any:
        h = np.tanh(X @ self.params["W1"] + self.params["b1"])
        scores = h @ self.params["W2"]
        if y is None:
            return scores
        loss, ds = softmax_loss(scores, y)
        dz = (ds @ self.params["W2"].T) * (1 - h**2)
        return loss, {"W1": X.T @ dz, "b1": dz.sum(0), "W2": self.factor * (h.T @ ds)}


class WrongModel(Model):
    factor = 2.0


class Net:
    """For `chain`."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = W0.copy()

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.tanh(x @ self.W)

    def backward(self, dy: Any) -> Any:
        dz = dy * (1 - np.tanh(self.x @ self.W) ** 2)
        self.dW = self.factor * (self.x.T @ dz)
        return dz @ self.W.T


class WrongNet(Net):
    factor = 2.0


class CrossEntropy:
    """backward takes no argument."""

    def forward(self, scores: Any, labels: Any) -> Any:
        loss, self.d = softmax_loss(scores, labels)
        return loss

    def backward(self) -> Any:
        return self.d


class Squares:
    """backward takes a cotangent."""

    def forward(self, y: Any) -> Any:
        self.y = y
        return (y**2).sum()

    def backward(self, dl: Any = 1.0) -> Any:
        return 2 * self.y * dl


def dense_forward(A_prev: Any, W: Any, b: Any, activation: str) -> Any:
    """deeplearning.ai: backward asks for what is no array again."""
    Z = W @ A_prev + b
    return (np.tanh(Z) if activation == "tanh" else Z), (A_prev, W, np.tanh(Z))


def dense_backward(dA: Any, cache: Any, activation: str, factor: float = 1.0) -> Any:
    A_prev, W, A = cache
    dZ = dA * (1 - A**2) if activation == "tanh" else dA
    return W.T @ dZ, factor * dZ @ A_prev.T, dZ.sum(1, keepdims=True)


def wrong_dense_backward(dA: Any, cache: Any, activation: str) -> Any:
    return dense_backward(dA, cache, activation, 2.0)


def product_forward(x: Any, w: Any) -> Any:
    """JAX: what is kept comes first on the way back."""
    return x @ w, (x, w)


def product_backward(res: Any, g: Any, factor: float = 1.0) -> Any:
    x, w = res
    return g @ w.T, factor * x.T @ g


def wrong_product_backward(res: Any, g: Any) -> Any:
    return product_backward(res, g, 2.0)


def rectified_forward(x: Any) -> Any:
    """No cache: backward is handed the input again, under another name."""
    return np.maximum(0, x)


def rectified_backward(dA: Any, Z: Any) -> Any:
    return dA * (Z > 0)


def wrong_rectified_backward(dA: Any, Z: Any) -> Any:
    return dA * (Z > 0.5)


def step_forward(x: Any, w: Any) -> Any:
    """Two outputs, and inputs again instead of a cache."""
    return np.tanh(x @ w), x.sum(1)


def step_backward(dh: Any, ds: Any, x: Any, w: Any, factor: float = 1.0) -> Any:
    da = dh * (1 - np.tanh(x @ w) ** 2)
    return da @ w.T + ds[:, None], factor * x.T @ da


def wrong_step_backward(dh: Any, ds: Any, x: Any, w: Any) -> Any:
    return step_backward(dh, ds, x, w, 2.0)


def cell_forward(x: Any, h: Any, p: Any) -> Any:
    """deeplearning.ai: a state, a prediction that has a backward of its own, and the cache, side by side."""
    h_next = np.tanh(x @ p["Wx"] + h @ p["Wh"] + p["b"])
    return h_next, h_next @ W0.T, (x, h, h_next, p)


def cell_backward(dh_next: Any, cache: Any, factor: float = 1.0) -> Any:
    x, h, h_next, p = cache
    da = (1 - h_next**2) * dh_next
    grads = {"dx": da @ p["Wx"].T, "dh": da @ p["Wh"].T, "db": da.sum(0)}
    return {**grads, "dWx": x.T @ da, "dWh": factor * h.T @ da}


def wrong_cell_backward(dh_next: Any, cache: Any) -> Any:
    return cell_backward(dh_next, cache, 2.0)


def sine_forward(x: Any) -> Any:
    """HIPS autograd: a vjp."""
    return np.sin(x)


def sine_backward(ans: Any, x: Any) -> Any:
    return lambda g: g * np.cos(x)


def wrong_sine_backward(ans: Any, x: Any) -> Any:
    return lambda g: g * np.cos(ans)


def rrule(factor: float) -> Any:
    """Julia: the gradient of the function itself comes first, and is none."""
    return lambda x, w: (x @ w, lambda dy: (None, dy @ w.T, factor * x.T @ dy))


def both_forward(x: Any) -> Any:
    return 2 * x, x**2, x


def both_backward(dout: Any, cache: Any, factor: float = 1.0) -> Any:
    """All cotangents in one tuple."""
    first, second = dout
    return 2 * first + factor * 2 * second * cache
