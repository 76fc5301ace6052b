"""Layers as lessons write them: fast.ai's marks, Torch7's updates, Keras' call, steps of whatever length."""

from __future__ import annotations

from typing import Any

import numpy as np
from layers_backwards import W0, Linear
from twins import randn

RATE = 0.01
eta = 0.1


class Kept(Linear):
    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.W.T


class Steps(Linear):
    """Takes the step itself, and keeps no gradient; what follows differs in where the step's length is."""

    def moved(self, dy: Any, rate: Any) -> Any:
        dx = dy @ self.W.T
        self.W -= rate * self.factor * (self.x.T @ dy)
        self.b -= rate * dy.sum(0)
        return dx


class AlphaAsked(Steps):
    def backward(self, dy: Any, alpha: Any) -> Any:
        return self.moved(dy, alpha)


class ShortAsked(Steps):
    def backward(self, dy: Any, l_rate: Any) -> Any:
        return self.moved(dy, l_rate)


class AlphaKept(Steps):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = 0.05

    def backward(self, dy: Any) -> Any:
        return self.moved(dy, self.alpha)


class OfTheClass(Steps):
    learning_rate = 0.05

    def backward(self, dy: Any) -> Any:
        return self.moved(dy, self.learning_rate)


class OfTheModule(Steps):
    def backward(self, dy: Any) -> Any:
        return self.moved(dy, eta)


class RateAndSlope(Steps):
    """Has a learning rate, and an alpha that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.lr, self.alpha = 0.01, 0.3

    def forward(self, x: Any) -> Any:
        self.z = super().forward(x)
        return np.where(self.z > 0, self.z, self.alpha * self.z)

    def backward(self, dy: Any) -> Any:
        return self.moved(np.where(self.z > 0, dy, self.alpha * dy), self.lr)


class SlopeKept(Kept):
    """An alpha that nothing moves by."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = 0.3

    def forward(self, x: Any) -> Any:
        self.z = super().forward(x)
        return np.where(self.z > 0, self.z, self.alpha * self.z)

    def backward(self, dy: Any) -> Any:
        return super().backward(np.where(self.z > 0, dy, self.alpha * dy))


class Unwritten(Steps):
    """The step's length stands nowhere."""

    def backward(self, dy: Any) -> Any:
        return self.moved(dy, 1 / (10 + len(dy)))


class Handed(Steps):
    """The step's length is a number in its code, handed to the method that takes it; what follows writes it in other ways."""

    def backward(self, dy: Any) -> Any:
        return self.moved(dy, 0.01)


class InPlace(Steps):
    def backward(self, dy: Any) -> Any:
        dW, dx = self.factor * self.x.T @ dy, dy @ self.W.T
        self.W -= 0.01 * dW
        self.b -= 0.05 * dy.sum(0)
        return dx


class Anew(Steps):
    def backward(self, dy: Any) -> Any:
        dx = dy @ self.W.T
        self.W = self.W - self.factor * self.x.T @ dy / 100
        self.b = self.b - dy.sum(0) / 100
        return dx


class Local(Steps):
    def backward(self, dy: Any) -> Any:
        speed, dx = 0.001, dy @ self.W.T
        speed_of_b = 0.01
        self.W += -0.001 * (self.factor * self.x.T @ dy)
        self.b += -speed_of_b * dy.sum(0)
        return dx + 0 * speed


class InLoop(Steps):
    def backward(self, dy: Any) -> Any:
        dx, grads = dy @ self.W.T, (self.factor * self.x.T @ dy, dy.sum(0))
        for p, g in zip((self.W, self.b), grads, strict=True):
            p -= 0.01 * g
        return dx


class WithFactor(Steps):
    """A step of 0.02, or one of 0.01 along twice the gradient."""

    def backward(self, dy: Any) -> Any:
        dx = dy @ self.W.T
        self.W -= 0.01 * 2 * (self.x.T @ dy)
        self.b -= 0.01 * dy.sum(0)
        return dx


class Half(Steps):
    """What may be a factor of the gradient as well."""

    def backward(self, dy: Any) -> Any:
        dx = dy @ self.W.T
        self.W -= 0.5 * (self.x.T @ dy)
        self.b -= 0.5 * dy.sum(0)
        return dx


class Decays(Steps):
    """Beside the gradient's step, one that does not depend on the cotangent."""

    def backward(self, dy: Any) -> Any:
        dx = dy @ self.W.T
        self.W -= 0.01 * (self.factor * self.x.T @ dy + 0.001 * self.W)
        self.b -= 0.01 * dy.sum(0)
        return dx


class Shrinks(Steps):
    """No step: what it writes to W has nothing to do with the cotangent."""

    def backward(self, dy: Any) -> Any:
        dx, self.dW, self.db = dy @ self.W.T, self.x.T @ dy, dy.sum(0)
        self.W *= 0.999
        return dx


class InDict:
    factor = 1.0

    def __init__(self) -> None:
        self.params = {"W": W0.copy(), "b": np.zeros(2)}

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy: Any) -> Any:
        grads = {"W": self.factor * self.x.T @ dy, "b": dy.sum(0)}
        dx = dy @ self.params["W"].T
        for k, g in grads.items():
            self.params[k] -= 0.01 * g
        return dx


class Corrupts(Kept):
    """Moves its weights by what is no step along a gradient."""

    def backward(self, dy: Any) -> Any:
        dx = super().backward(dy)
        self.W += 0.01
        return dx


class IgnoresAlpha:
    factor = 1.0

    def forward(self, x: Any) -> Any:
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy: Any, alpha: Any) -> Any:
        return self.factor * dy * (1 - self.y**2)


class NeedsAlpha(IgnoresAlpha):
    """Nobody knows what it is to be given."""

    def backward(self, dy: Any, alpha: Any) -> Any:
        return alpha * super().backward(dy, alpha)


class ErrorNamed(Linear):
    """The gradients of `weights_error`, but for the step."""

    def backward(self, dy: Any) -> Any:
        self.W_error, self.b_delta = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.W.T


class Marked:
    """Gradients are an attribute of the tensors: fast.ai."""

    factor = 1.0

    def __init__(self) -> None:
        self.w, self.b = randn(3, 2, seed=5), randn(2, seed=6)

    def __call__(self, inp: Any) -> Any:
        self.inp = inp
        self.out = inp @ self.w + self.b
        return self.out

    def backward(self) -> None:
        self.inp.g = self.out.g @ self.w.t()
        self.w.g = self.factor * (self.inp.unsqueeze(-1) * self.out.g.unsqueeze(1)).sum(0)
        self.b.g = self.out.g.sum(0)


class MarkedRelu:
    factor = 1.0

    def __call__(self, inp: Any) -> Any:
        self.inp = inp
        self.out = inp.clamp_min(0.0) - 0.5
        return self.out

    def backward(self) -> None:
        self.inp.g = self.factor * (self.inp > 0).to(self.out) * self.out.g


class MarkedMse:
    factor = 1.0

    def __call__(self, inp: Any, targ: Any) -> Any:
        self.inp, self.targ = inp, targ
        self.out = (inp.squeeze(-1) - targ).pow(2).mean()
        return self.out

    def backward(self) -> None:
        self.inp.g = self.factor * 2.0 * (self.inp.squeeze(-1) - self.targ).unsqueeze(-1) / self.targ.shape[0]


class MarkedModel:
    """Layers that pass their gradients on by the tensors between them, and a loss where there is one."""

    def __init__(self, *layers: Any, loss: Any = None) -> None:
        self.layers, self.loss = layers, loss

    def __call__(self, x: Any, *targ: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.loss(x, *targ) if self.loss else x

    def backward(self) -> None:
        for layer in reversed([*self.layers, self.loss] if self.loss else self.layers):
            layer.backward()


class Module:
    def __call__(self, *args: Any) -> Any:
        self.args = args
        self.out = self.forward(*args)
        return self.out

    def backward(self) -> None:
        self.bwd(self.out, *self.args)

    def forward(self, *args: Any) -> Any:
        raise NotImplementedError

    def bwd(self, *args: Any) -> Any:
        raise NotImplementedError


class MarkedModule(Module):
    factor = 1.0

    def __init__(self) -> None:
        self.w = randn(3, 2, seed=5)

    def forward(self, inp: Any) -> Any:
        return inp @ self.w

    def bwd(self, out: Any, inp: Any) -> None:
        inp.g = out.g @ self.w.t()
        self.w.g = self.factor * inp.t() @ out.g


class Torch7:
    factor = 1.0

    def __init__(self) -> None:
        self.weight, self.bias = W0.T.copy(), np.ones(2)
        self.gradWeight, self.gradBias = np.zeros((2, 3)), np.zeros(2)

    def updateOutput(self, input: Any) -> Any:
        self.output = input @ self.weight.T + self.bias
        return self.output

    def updateGradInput(self, input: Any, gradOutput: Any) -> Any:
        self.gradInput = gradOutput @ self.weight
        return self.gradInput

    def accGradParameters(self, input: Any, gradOutput: Any) -> None:
        self.gradWeight += self.factor * gradOutput.T @ input
        self.gradBias += gradOutput.sum(0)


class Snake:
    """The same names in another case, and no parameters."""

    factor = 1.0

    def update_output(self, x: Any) -> Any:
        return np.sin(x)

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        return self.factor * np.cos(x) * grad_output


class Keras:
    """Its caller is to build it, and its forward is `call`."""

    factor = 1.0

    def build(self, input_shape: Any) -> None:
        self.kernel = np.resize(W0, (input_shape[-1], 2))

    def call(self, inputs: Any) -> Any:
        self.inputs = inputs
        return inputs @ self.kernel

    def backward(self, upstream: Any) -> Any:
        self.dkernel = self.factor * self.inputs.T @ upstream
        return upstream @ self.kernel.T
