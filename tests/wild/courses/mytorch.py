"""In the style of CMU 11-785's mytorch: `dLdW` on the layer, `forward(A, Y)` and `backward()` of losses; each wrong in one place."""

from __future__ import annotations

from typing import Any

import numpy as np


class Linear:
    def __init__(self, in_features: int, out_features: int) -> None:
        rng = np.random.default_rng(1)
        self.W, self.b = rng.normal(size=(out_features, in_features)), np.zeros((out_features, 1))

    def forward(self, A: Any) -> Any:
        self.A = A
        self.N = A.shape[0]
        self.Ones = np.ones((self.N, 1))
        return A @ self.W.T + self.Ones @ self.b.T

    def backward(self, dLdZ: Any) -> Any:
        self.dLdA = dLdZ @ self.W
        self.dLdW = dLdZ.T @ self.A
        self.dLdb = dLdZ.T @ self.Ones
        return self.dLdA


class WrongLinear(Linear):
    def backward(self, dLdZ: Any) -> Any:
        dLdA = super().backward(dLdZ)
        self.dLdb = dLdZ.T @ self.Ones / self.N
        return dLdA


class GELU:
    def forward(self, Z: Any) -> Any:
        self.Z = Z
        self.t = np.tanh(np.sqrt(2 / np.pi) * (Z + 0.044715 * Z**3))
        self.A = 0.5 * Z * (1 + self.t)
        return self.A

    def backward(self, dLdA: Any) -> Any:
        inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * self.Z**2)
        return dLdA * (0.5 * (1 + self.t) + 0.5 * self.Z * (1 - self.t**2) * inner)


class WrongGELU(GELU):
    def backward(self, dLdA: Any) -> Any:
        inner = np.sqrt(2 / np.pi) * (1 + 0.044715 * self.Z**2)
        return dLdA * (0.5 * (1 + self.t) + 0.5 * self.Z * (1 - self.t**2) * inner)


class BatchNorm1d:
    def __init__(self, num_features: int, alpha: float = 0.9) -> None:
        self.alpha, self.eps = alpha, 1e-8
        self.gamma, self.beta = np.ones((1, num_features)), np.zeros((1, num_features))
        self.running_M, self.running_V = np.zeros((1, num_features)), np.ones((1, num_features))
        self.dLdgamma, self.dLdbeta = np.zeros_like(self.gamma), np.zeros_like(self.beta)

    def forward(self, Z: Any, eval: bool = False) -> Any:
        self.Z, self.N = Z, Z.shape[0]
        if eval:
            self.M, self.V = self.running_M, self.running_V
        else:
            self.M, self.V = Z.mean(0, keepdims=True), Z.var(0, keepdims=True)
            self.running_M = self.alpha * self.running_M + (1 - self.alpha) * self.M
            self.running_V = self.alpha * self.running_V + (1 - self.alpha) * self.V
        self.eval = eval
        self.NZ = (Z - self.M) / np.sqrt(self.V + self.eps)
        return self.gamma * self.NZ + self.beta

    def backward(self, dLdBZ: Any) -> Any:
        self.dLdbeta = dLdBZ.sum(0, keepdims=True)
        self.dLdgamma = (dLdBZ * self.NZ).sum(0, keepdims=True)
        dLdNZ = dLdBZ * self.gamma
        s = np.sqrt(self.V + self.eps)
        if self.eval:
            return dLdNZ / s
        dLdV = -0.5 * (dLdNZ * (self.Z - self.M)).sum(0) / s**3
        dLdM = -(dLdNZ / s).sum(0)
        return dLdNZ / s + dLdV * 2 / self.N * (self.Z - self.M) + dLdM / self.N


class WrongBatchNorm1d(BatchNorm1d):
    def backward(self, dLdBZ: Any) -> Any:
        dLdZ = super().backward(dLdBZ)
        self.dLdgamma = (dLdBZ * self.Z).sum(0, keepdims=True)
        return dLdZ


class Dropout:
    def __init__(self, p: float = 0.5) -> None:
        self.p, self.train = p, True

    def __call__(self, x: Any) -> Any:
        if not self.train:
            return x
        self.mask = np.random.binomial(1, 1 - self.p, x.shape)  # noqa: NPY002
        return x * self.mask / (1 - self.p)

    def backward(self, delta: Any) -> Any:
        return delta * self.mask / (1 - self.p) if self.train else delta


class WrongDropout(Dropout):
    def backward(self, delta: Any) -> Any:
        return delta * self.mask if self.train else delta


class MSELoss:
    def forward(self, A: Any, Y: Any) -> Any:
        self.A, self.Y = A, Y
        self.N, self.C = A.shape
        se = (A - Y) * (A - Y)
        return (np.ones((1, self.N)) @ se @ np.ones((self.C, 1)))[0, 0] / (self.N * self.C)

    def backward(self) -> Any:
        return 2 * (self.A - self.Y) / (self.N * self.C)


class WrongMSELoss(MSELoss):
    def backward(self) -> Any:
        return 2 * (self.A - self.Y) / self.N


class CrossEntropyLoss:
    """Y is one-hot."""

    def forward(self, A: Any, Y: Any) -> Any:
        self.A, self.Y, self.N = A, Y, A.shape[0]
        e = np.exp(A - A.max(1, keepdims=True))
        self.softmax = e / e.sum(1, keepdims=True)
        return -(Y * np.log(self.softmax)).sum() / self.N

    def backward(self) -> Any:
        return (self.softmax - self.Y) / self.N


class WrongCrossEntropyLoss(CrossEntropyLoss):
    def backward(self) -> Any:
        return self.softmax - self.Y


class MLP1:
    def __init__(self, linear: type = Linear) -> None:
        self.layers = [linear(3, 4), GELU(), Linear(4, 2)]

    def forward(self, A0: Any) -> Any:
        A = A0
        for layer in self.layers:
            A = layer.forward(A)
        return A

    def backward(self, dLdA: Any) -> Any:
        for layer in self.layers[::-1]:
            dLdA = layer.backward(dLdA)
        return dLdA
