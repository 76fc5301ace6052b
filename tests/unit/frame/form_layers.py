"""Layers in other forms than forward and backward, without a spec; FACTOR is 1, or 2 in a wrong copy of this file."""

import numpy as np
import torch

FACTOR = 1


class Loss:
    def loss(self, y, p):
        return NotImplementedError()

    def gradient(self, y, p):
        raise NotImplementedError()


class Sigmoid:
    def __call__(self, x):
        return 1 / (1 + np.exp(-x))

    def gradient(self, x):
        return FACTOR * self(x) * (1 - self(x))


class CrossEntropy(Loss):
    def loss(self, y, p):
        return -y * np.log(p) - (1 - y) * np.log(1 - p)

    def gradient(self, y, p):
        return FACTOR * ((1 - y) / (1 - p) - y / p)


class MatMul:
    def compute(self, a, b):
        return a @ b

    def gradient(self, out_grad, node):
        a, b = node.inputs
        return out_grad @ b.T, FACTOR * (a.T @ out_grad)


class Multiply:
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_values
        return grad_output * b, FACTOR * grad_output * a


class Chained:
    def forward(self, inputs):
        (x,) = inputs
        self.y = np.exp(x)
        return (self.y,)

    def backward(self, indexes, gys):
        return (FACTOR * self.y * gys[0],)


class Both:
    def forward(self, inputs):
        self.retained = inputs
        a, b = inputs
        return (a * b,)

    def backward(self, indexes, grad_outputs):
        a, b = self.retained
        return grad_outputs[0] * b, FACTOR * grad_outputs[0] * a


class ByIndex:
    def __call__(self, a, b):
        self.variables = (a, b)
        return a * b

    def backward_var(self, grad, index):
        return grad * self.variables[1] if index == 0 else FACTOR * grad * self.variables[0]


class Called:
    def __call__(self, x):
        self.x = x
        return x**2

    def backward(self, g):
        return FACTOR * g * 2 * self.x


def relu(Z):
    return np.maximum(0, Z), Z


def relu_backward(dA, cache):
    return FACTOR * dA * (cache > 0)


def forward_cube(x):
    return x**3, x


def backward_cube(dout, cache):
    return FACTOR * dout * 3 * cache**2


@torch.library.custom_op("form_layers::sine", mutates_args=())
def sine(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _sine_grad(ctx, g):
    return FACTOR * g * ctx.saved_tensors[0].cos()


sine.register_autograd(_sine_grad, setup_context=_setup)


@torch.library.custom_op("form_layers::bare", mutates_args=())
def bare(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x)


def unpaired(x):
    return x, x


class Optimizer:
    def __call__(self, x):
        return x

    def step(self, gradient):
        return gradient


class Heads:
    """Its width is a multiple of another size."""

    def __init__(self, d_model, num_heads, bias):
        assert d_model % num_heads == 0
        assert bias is True
        self.heads, self.scale = num_heads, np.linspace(0.5, 1.5, num_heads)

    def forward(self, x):
        self.shape, self.x = x.shape, x.reshape(*x.shape[:2], self.heads, -1)
        return (self.x * self.scale[:, None]).reshape(self.shape)

    def backward(self, d):
        d = d.reshape(self.x.shape)
        self.dscale = (d * self.x).sum((0, 1, 3))
        return (FACTOR * d * self.scale[:, None]).reshape(self.shape)


class Pool:
    """Its stride is no size of its input."""

    def __init__(self, kernel_size, stride):
        self.k, self.s = kernel_size, stride

    def forward(self, x):
        _, _, t = self.shape = x.shape
        self.starts = range(0, t - self.k + 1, self.s)
        return np.stack([x[:, :, a : a + self.k].mean(2) for a in self.starts], 2)

    def backward(self, d):
        dx = np.zeros(self.shape)
        for j, a in enumerate(self.starts):
            dx[:, :, a : a + self.k] += FACTOR * d[:, :, j : j + 1] / self.k
        return dx


class Operation:
    """Leaves its parts to subclasses."""

    def forward(self, x):
        self.x = x
        return self.output()

    def backward(self, d):
        return self.gradient(d)

    def output(self):
        raise NotImplementedError

    def gradient(self, d):
        raise NotImplementedError()


class Cubed(Operation):
    def output(self):
        return self.x**3

    def gradient(self, d):
        return FACTOR * d * 3 * self.x**2


class Weighted:
    """Is given its arrays."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW, self.db = self.x.T @ d, d.sum(0)
        return FACTOR * d @ self.W.T


class Annotated:
    """The same in torch, told by its type."""

    def __init__(self, table: torch.Tensor):
        self.table = table

    def forward(self, x):
        self.x = x
        return torch.matmul(x, self.table)

    def backward(self, d):
        self.dtable = self.x.T @ d
        return FACTOR * torch.matmul(d, self.table.T)


class Upsample:
    def __init__(self, scale_factor):
        self.k = scale_factor

    def forward(self, x):
        return x.repeat(self.k, 3).repeat(self.k, 2)

    def backward(self, d):
        n, c, h, w = d.shape
        return FACTOR * d.reshape(n, c, h // self.k, self.k, w // self.k, self.k).sum((3, 5))


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor: float):
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, g):
        return FACTOR * g * ctx.factor, None


class Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        return torch.where(x > 0, x, x * slope)

    @staticmethod
    def backward(ctx, g):
        return FACTOR * torch.where(ctx.saved_tensors[0] > 0, g, g * ctx.slope), None


class OfItsClass:
    @classmethod
    def forward(cls, x):
        cls.x = x
        return np.sin(x)

    @classmethod
    def backward(cls, g):
        return FACTOR * g * np.cos(cls.x)


def swish(x):
    return x / (1 + np.exp(-x))


def swish_prime(x):
    s = 1 / (1 + np.exp(-x))
    return FACTOR * (s + x * s * (1 - s))


def squared(p, t):
    return np.mean((p - t) ** 2)


def squared_derivative(p, t):
    return FACTOR * 2 * (p - t) / np.size(p)


def scaled(x):
    return 3 * x


def scaled_grad(x, rate, epochs):
    """Of something else, by what it asks for."""
    return x, rate, epochs


class Shaped:
    def __init__(self, shape):
        channels, height, width = shape
        self.W = np.random.randn(channels, height, width)  # noqa: NPY002

    def forward(self, x):
        self.x = x
        return x * self.W

    def backward(self, dy):
        self.dW = (dy * self.x).sum(0)
        return FACTOR * dy * self.W


class Sized:
    def __init__(self, sizes):
        self.W = np.random.randn(sizes[0], sizes[1])  # noqa: NPY002

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return FACTOR * dy @ self.W.T
