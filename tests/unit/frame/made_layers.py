"""Layers that functions make, and functions that are handed all parameters in one dict, as a file without specs has them."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np


class Dense:
    def __init__(self, n_in, n_out, rng):
        self.W = rng.normal(size=(n_in, n_out))

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class Told:
    """Its forward asks for the mode, without a default."""

    def __init__(self, rate):
        self.rate, self.rng = rate, np.random.default_rng(0)

    def forward(self, x, training):
        self.mask = (self.rng.random(x.shape) > self.rate) / (1 - self.rate) if training else np.ones_like(x)
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class Model:
    """Whole: its loss returns the gradients of its parameters too."""

    factor = 1.0

    def __init__(self, input_dim=6, hidden_dim=5, num_classes=3):
        rng = np.random.default_rng(0)
        self.params = {"W1": rng.normal(size=(input_dim, hidden_dim)), "W2": rng.normal(size=(hidden_dim, num_classes))}

    def loss(self, X, y=None):
        h = X @ self.params["W1"]
        scores = h @ self.params["W2"]
        if y is None:
            return scores
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        d = (p - np.eye(p.shape[1])[y]) / len(y)
        dh = d @ self.params["W2"].T
        return loss, {"W1": self.factor * X.T @ dh, "W2": h.T @ d}


class WrongModel(Model):
    factor = 2.0


def make_dense(n_in, n_out):
    return Dense(n_in, n_out, np.random.default_rng(0))


def make_shifted(n_in, n_out):
    layer = make_dense(n_in, n_out)
    layer = Dense(n_in, n_out, np.random.default_rng(1))
    layer.W = layer.W + 1
    return layer


def make_mlp(sizes):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=pair) for pair in pairwise(sizes)]

    def forward(x):
        kept = [x]
        for W in weights:
            kept.append(np.tanh(kept[-1] @ W))
        return kept[-1], kept

    def backward(dout, kept):
        for W, h in zip(weights[::-1], kept[:0:-1], strict=True):
            dout = (dout * (1 - h**2)) @ W.T
        return dout

    return forward, backward


def make_wrong(n):
    W = np.random.default_rng(0).normal(size=(n, 3))

    def forward(x):
        return x @ W, x

    def backward(dout, _):
        return 2 * dout @ W.T

    return forward, backward


def make_closure(n_in, n_out):
    W = np.random.default_rng(0).normal(size=(n_in, n_out))

    def run(x):
        def pullback(v):
            return v @ W.T

        return x @ W, pullback

    return run


def make_relu():
    class ReLU:
        def forward(self, x):
            self.positive = x > 0
            return x * self.positive

        def backward(self, dout):
            return dout * self.positive

    return ReLU()


def make_scaled(d):
    gamma = np.random.default_rng(0).normal(size=d)

    def forward(x):
        return x * gamma

    def backward(dout):
        return dout * gamma

    return SimpleNamespace(forward=forward, backward=backward)


def make_net(layers):
    def forward(x):
        for layer in layers:
            x = layer.forward(x)
        return x

    def backward(dout):
        for layer in layers[::-1]:
            dout = layer.backward(dout)
        return dout

    return SimpleNamespace(forward=forward, backward=backward)


def from_settings(cfg):
    gamma = np.full(cfg.dim, 2.0)

    def forward(x):
        return x * gamma, None

    def backward(dout, _):
        return dout * gamma

    return forward, backward


def square(x):
    return x * x, lambda v: 2 * x * v


def train(n_in, n_out):
    return Dense(n_in, n_out, np.random.default_rng(0))  # a program by its name: it may take hours


def predicted(net, x):
    return net.forward(x)


def init_params(n_in, n_hidden, n_out, rng):
    return {"W1": rng.normal(size=(n_in, n_hidden)), "W2": rng.normal(size=(n_hidden, n_out))}


def mlp_forward(params, x):
    h = np.tanh(x @ params["W1"])
    return h @ params["W2"], (x, h)


def mlp_backward(params, cache, dy):
    x, h = cache
    da = dy @ params["W2"].T * (1 - h**2)
    return {"W1": x.T @ da, "W2": h.T @ dy}, da @ params["W1"].T


def linear_init(key):
    return {"W": np.random.default_rng(key).normal(size=(4, 3))}


def linear_forward(params, x):
    return x @ params["W"], x


def linear_backward(params, x, dy):
    return {"W": 2 * x.T @ dy}, dy @ params["W"].T


def loss_and_grads(params, x, y):
    out, cache = mlp_forward(params, x)
    return 0.5 * ((out - y) ** 2).sum(), mlp_backward(params, cache, out - y)[0]


def forward_propagation(X, parameters):
    return 1 / (1 + np.exp(-parameters["W1"].T @ X)), None


def backward_propagation(parameters, cache, X, Y):
    return {"dW1": X @ (1 / (1 + np.exp(-parameters["W1"].T @ X)) - Y).T / X.shape[1]}
