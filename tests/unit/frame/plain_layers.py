"""Layers without a spec, written as people write them; what harness.targets.probe has to find out about each."""

import numpy as np
import torch


class Layer:
    def forward(self, x):
        raise NotImplementedError

    def backward(self, v): ...


class Linear(Layer):
    def __init__(self, n_in, n_out):
        self.W = np.linspace(-1, 1, n_in * n_out).reshape(n_in, n_out)
        self.b = np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW = self.x.T @ d
        self.db = d.sum(0)
        return d @ self.W.T


class ReLU(Layer):
    def forward(self, x):
        self.m = x > 0
        return x * self.m

    def backward(self, d):
        return d * self.m


class Sigmoid:
    """Twice its gradient, on purpose."""

    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def backward(self, d):
        return d * self.y * (1 - self.y) * 2


class Embedding:
    def __init__(self, vocab, dim):
        self.W = np.linspace(-1, 1, vocab * dim).reshape(vocab, dim)

    def forward(self, ids):
        self.ids = ids
        return self.W[ids]

    def backward(self, d):
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.ids, d)
        return


class CE:
    def forward(self, z, y):
        e = np.exp(z - z.max(1, keepdims=True))
        self.p = e / e.sum(1, keepdims=True)
        self.y = y
        return -np.log(self.p[np.arange(len(y)), y]).mean()

    def backward(self):
        d = self.p.copy()
        d[np.arange(len(self.y)), self.y] -= 1
        return d / len(self.y)


class CEHot:
    def forward(self, z, y):
        e = np.exp(z - z.max(1, keepdims=True))
        self.p = e / e.sum(1, keepdims=True)
        self.y = y
        return -(y * np.log(self.p)).sum(1).mean()

    def backward(self):
        return (self.p - self.y) / len(self.y)


class MSE:
    def forward(self, p, y):
        self.p, self.y = p, y
        return ((p - y) ** 2).mean()

    def backward(self):
        return 2 * (self.p - self.y) / self.p.size


class BCE:
    def forward(self, p, y):
        self.p, self.y = p, y
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()

    def backward(self):
        return -(self.y / self.p - (1 - self.y) / (1 - self.p)) / self.p.size


class Halved:
    """Pools by 2, in methods of arrays that tensors have otherwise: no name of it tells the library."""

    def forward(self, x):
        N, C, H, W = x.shape
        r = x.reshape(N, C, H // 2, 2, W // 2, 2)
        y = r.max(axis=(3, 5), keepdims=True)
        self.shape, self.mask = x.shape, r == y
        return y[:, :, :, 0, :, 0]

    def backward(self, d):
        return (self.mask * d[:, :, :, None, :, None]).reshape(self.shape)


class Cell:
    def __init__(self, input_size, hidden_size):
        self.Wx = np.linspace(-1, 1, input_size * hidden_size).reshape(input_size, hidden_size)
        self.Wh = np.linspace(-1, 1, hidden_size**2).reshape(hidden_size, hidden_size)

    def forward(self, x, h):
        self.x, self.h = x, h
        self.y = np.tanh(x @ self.Wx + h @ self.Wh)
        return self.y

    def backward(self, d):
        d = d * (1 - self.y**2)
        self.dWx, self.dWh = self.x.T @ d, self.h.T @ d
        return d @ self.Wx.T, d @ self.Wh.T


class MaxPool:
    def __init__(self, k):
        self.k = k

    def forward(self, x):
        k = self.k
        B, C, H, W = x.shape
        h, w = H // k, W // k
        self.s = x.shape
        p = x[:, :, : h * k, : w * k].reshape(B, C, h, k, w, k)
        self.y = p.max((3, 5))
        self.m = p == self.y[:, :, :, None, :, None]
        return self.y

    def backward(self, d):
        k = self.k
        B, C, H, W = self.s
        h, w = H // k, W // k
        g = np.zeros(self.s)
        g[:, :, : h * k, : w * k] = (self.m * d[:, :, :, None, :, None]).reshape(B, C, h * k, w * k)
        return g


class Conv1d:
    def __init__(self, in_channels, out_channels, kernel_size):
        self.k = kernel_size
        shape = (out_channels, in_channels, kernel_size)
        self.W = np.linspace(-1, 1, np.prod(shape)).reshape(shape)

    def forward(self, x):
        self.x = x
        T = x.shape[2] - self.k + 1
        return sum(np.einsum("bct,oc->bot", x[:, :, i : i + T], self.W[:, :, i]) for i in range(self.k))

    def backward(self, d):
        T = d.shape[2]
        self.dW = np.zeros_like(self.W)
        g = np.zeros_like(self.x)
        for i in range(self.k):
            self.dW[:, :, i] = np.einsum("bot,bct->oc", d, self.x[:, :, i : i + T])
            g[:, :, i : i + T] += np.einsum("bot,oc->bct", d, self.W[:, :, i])
        return g


class Sequential:
    def __init__(self, layers):
        self.layers = layers

    def forward(self, x):
        for part in self.layers:
            x = part.forward(x)
        return x

    def backward(self, d):
        for part in self.layers[::-1]:
            d = part.backward(d)
        return d


def affine_forward(x, w, b):
    return x.reshape(len(x), -1) @ w + b, (x, w, b)


def affine_backward(d, cache):
    x, w, _ = cache
    return (d @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ d, d.sum(0)


def batchnorm_forward(x, gamma, beta, bn_param):
    return gamma * x / bn_param["std"] + beta, (x, gamma, bn_param)


def batchnorm_backward(d, cache):
    x, gamma, bn_param = cache
    return d * gamma / bn_param["std"], (d * x / bn_param["std"]).sum(0), d.sum(0)


def told_forward(x, gamma, beta, bn_param):
    mean, std = x.mean(0), np.sqrt(x.var(0) + bn_param.get("eps", 1e-5))
    if bn_param["mode"] == "train":
        bn_param["running_mean"] = 0.9 * bn_param.get("running_mean", 0) + 0.1 * mean
    xhat = (x - mean) / std
    return gamma * xhat + beta, (xhat, gamma, std)


def told_backward(d, cache):
    xhat, gamma, std = cache
    h = d * gamma
    return (h - h.mean(0) - xhat * (h * xhat).mean(0)) / std, (d * xhat).sum(0), d.sum(0)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


class Log:
    def forward(self, x):
        self.x = x
        return np.log(x)

    def backward(self, d):
        return d / self.x


def squares(Y, T):
    return ((Y - T) ** 2).sum()


def squares_gradient(Y, T):
    return 2 * (Y - T)


class Softmax32:
    def forward(self, x):
        out = np.zeros((32, 10))
        out[...] = np.exp(x) / np.exp(x).sum(1, keepdims=True) if x.dtype == float else 0.1
        self.y = out
        return out

    def backward(self, d):
        return self.y * (d - (d * self.y).sum(1, keepdims=True))


class Norm2d:
    def __init__(self, C):
        self.g = np.ones((1, C, 1, 1))

    def forward(self, x):
        assert x.ndim == 4
        self.x = x
        return x * self.g

    def backward(self, d):
        self.dg = (d * self.x).sum((0, 2, 3), keepdims=True)
        return d * self.g


class Attention:
    def forward(self, q, k, v):
        s = q @ k.transpose(0, 2, 1)
        e = np.exp(s - s.max(-1, keepdims=True))
        self.a = e / e.sum(-1, keepdims=True)
        self.q, self.k, self.v = q, k, v
        return self.a @ v

    def backward(self, d):
        da = d @ self.v.transpose(0, 2, 1)
        ds = self.a * (da - (da * self.a).sum(-1, keepdims=True))
        return ds @ self.k, ds.transpose(0, 2, 1) @ self.q, self.a.transpose(0, 2, 1) @ d


class Column:
    """W x + b of one column x; its backward takes the step."""

    def __init__(self, input_size, output_size):
        self.weights = np.linspace(-1, 1, output_size * input_size).reshape(output_size, input_size)
        self.bias = np.zeros((output_size, 1))

    def forward(self, input):
        self.input = input
        return self.weights @ input + self.bias

    def backward(self, output_gradient, learning_rate):
        input_gradient = self.weights.T @ output_gradient
        self.weights -= learning_rate * output_gradient @ self.input.T
        self.bias -= learning_rate * output_gradient
        return input_gradient


class ColumnSoftmax:
    """Of one column; of a plain vector its backward would be wrong."""

    def forward(self, input):
        e = np.exp(input - np.max(input))
        self.output = e / np.sum(e)
        return self.output

    def backward(self, output_gradient):
        n = np.size(self.output)
        return np.dot((np.identity(n) - self.output.T) * self.output, output_gradient)


def columns_forward(A, W, b):
    return W.dot(A) + b, (A, W)


def columns_backward(dZ, cache):
    A, W = cache
    return np.dot(W.T, dZ), np.dot(dZ, A.T), np.sum(dZ, axis=1, keepdims=True)


class Tutorial(Linear):
    """Its backward is called backprop."""

    backward = None

    def backprop(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class TargetFirst:
    """A loss whose target stands first."""

    def forward(self, y, y_pred):
        self.c = y_pred - y
        return np.mean(np.square(self.c))

    def backward(self):
        return 2 * self.c / self.c.size


class ActualFirst:
    """The same in other words, as caspian-ml has it."""

    def forward(self, actual, prediction):
        return 0.5 * np.mean((actual - prediction) ** 2)

    def backward(self, actual, prediction):
        return (prediction - actual) / actual.size


class LogitsCrossEntropy:
    """Of logits; its gradient is right of targets that add up to one."""

    def forward(self, A, Y):
        e = np.exp(A - A.max(1, keepdims=True))
        self.p, self.Y = e / e.sum(1, keepdims=True), Y
        return -(Y * np.log(self.p)).sum() / len(Y)

    def backward(self):
        return (self.p - self.Y) / len(self.Y)


class Scaled3d:
    """What takes nothing but volumes."""

    def forward(self, x):
        if x.ndim != 5:
            raise ValueError("five axes")
        return 2 * x

    def backward(self, d):
        return 2 * d


def svm_loss(x, y):
    """CS231n's: the multiclass hinge loss and its gradient."""
    rows = np.arange(len(x))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    d = (margins > 0) * 1.0
    d[rows, y] -= d.sum(1)
    return margins.sum() / len(x), d / len(x)


def loss_of_nothing(x):
    """A loss by its name that gives no gradient, and no layer."""
    return (x * x).sum()


class VectorCell:
    """One step of one example: its state is a vector."""

    def __init__(self, input_dim, hidden_dim):
        self.W = np.linspace(-1, 1, input_dim * hidden_dim).reshape(hidden_dim, input_dim)
        self.b = np.zeros(hidden_dim)

    def forward(self, x, h):
        self.x, self.y = x, np.tanh(self.W @ x + self.b + h)
        return self.y

    def backward(self, d):
        dz = d * (1 - self.y**2)
        self.dW, self.db = np.outer(dz, self.x), dz.copy()
        return self.W.T @ dz, dz


class Scores:
    """Of one state with each step."""

    def forward(self, hs, h):
        self.hs, self.h = hs, h
        return (hs * h[:, None]).sum(2)

    def backward(self, d):
        return d[:, :, None] * self.h[:, None], (d[:, :, None] * self.hs).sum(1)
