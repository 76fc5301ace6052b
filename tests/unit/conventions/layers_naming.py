"""y = x W + b with its parameters and gradients under every name and in every container that people use.

`factor` multiplies the gradient of W.
"""

from __future__ import annotations

from typing import Any

import numpy as np

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)
B0 = np.array([0.5, -0.25])


class Linear:
    """Attributes W and b."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.b = W0.copy(), B0.copy()

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def pull(self, dy: Any) -> tuple[Any, Any, Any]:
        return dy @ self.W.T, self.factor * (self.x.T @ dy), dy.sum(0)


def named(gradient_of_W: str, gradient_of_b: str, W: str = "W", b: str = "b") -> type:
    """A linear layer whose attributes have these names."""

    class Named:
        factor = 1.0

        def __init__(self) -> None:
            setattr(self, W, W0.copy())
            setattr(self, b, B0.copy())

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ getattr(self, W) + getattr(self, b)

        def backward(self, dy: Any) -> Any:
            setattr(self, gradient_of_W, self.factor * (self.x.T @ dy))
            setattr(self, gradient_of_b, dy.sum(0))
            return dy @ getattr(self, W).T

    return Named


class CapitalD:
    """`DX`, `DW` and `Db`, which stand as zeros before: softmax regression that begins at zero, where all classes are alike and a
    cotangent of ones has no gradient."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.b = np.zeros((3, 2)), np.zeros(2)
        self.DW, self.Db = np.zeros((3, 2)), np.zeros(2)

    def forward(self, X: Any) -> Any:
        self.X, e = X, np.exp(X @ self.W + self.b)
        return e / e.sum(1, keepdims=True)

    def backward(self, Y: Any, DY: Any) -> None:
        DZ = Y * (DY - (DY * Y).sum(1, keepdims=True))
        self.DW[:], self.Db[:], self.DX = self.factor * (self.X.T @ DZ), DZ.sum(0), DZ @ self.W.T


class NoGradients(CapitalD):
    def backward(self, Y: Any, DY: Any) -> None:
        self.DX = (Y * (DY - (DY * Y).sum(1, keepdims=True))) @ self.W.T


class Tuples:
    """A list of (W, b), a new list of their gradients."""

    factor = 1.0

    def __init__(self) -> None:
        self.layers = [(W0.copy(), B0.copy())]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.layers[0][0] + self.layers[0][1]

    def backward(self, dy: Any) -> Any:
        self.grads = [(self.factor * (self.x.T @ dy), dy.sum(0))]
        return dy @ self.layers[0][0].T


class PrivateGradients(Linear):
    """Attributes W and b; gradients that Python names after the class."""

    def backward(self, dy: Any) -> Any:
        dx, self.__dW, self.__db = self.pull(dy)
        return dx


class PrivateAll:
    """Parameters and gradients that Python names after the class."""

    factor = 1.0

    def __init__(self) -> None:
        self.__weights, self.__bias = W0.copy(), B0.copy()

    def forward(self, x: Any) -> Any:
        self.__x = x
        return x @ self.__weights + self.__bias

    def backward(self, dy: Any) -> Any:
        self.__grad_weights, self.__grad_bias = self.factor * (self.__x.T @ dy), dy.sum(0)
        return dy @ self.__weights.T


class InOneDict(Linear):
    """Attributes W and b; gradients in a dict."""

    key = "{}"

    def __init__(self) -> None:
        super().__init__()
        self.grads: dict[str, Any] = {}

    def backward(self, dy: Any) -> Any:
        dx, self.grads[self.key.format("W")], self.grads[self.key.format("b")] = self.pull(dy)
        return dx


class InOneDictByD(InOneDict):
    """The keys are dW and db."""

    key = "d{}"


class NumpyML:
    """numpy-ml: dicts `parameters` and `gradients`, accumulated, reset by `flush_gradients`."""

    factor = 1.0

    def __init__(self) -> None:
        self.X: list[Any] = []
        self.trainable = True
        self.parameters = {"W": W0.copy(), "b": B0.copy()}
        self.gradients = {n: np.zeros_like(p) for n, p in self.parameters.items()}
        self.derived_variables: dict[str, list[Any]] = {"Z": []}

    def flush_gradients(self) -> None:
        self.X = []
        self.derived_variables["Z"] = []
        for n, g in self.gradients.items():
            self.gradients[n] = np.zeros_like(g)

    def forward(self, X: Any, retain_derived: bool = True) -> Any:
        Z = X @ self.parameters["W"] + self.parameters["b"]
        if retain_derived:
            self.X.append(X)
            self.derived_variables["Z"].append(Z)
        return np.tanh(Z)

    def backward(self, dLdy: Any, retain_grads: bool = True) -> Any:
        if not isinstance(dLdy, list):
            dLdy = [dLdy]
        dX = []
        for dy, X, Z in zip(dLdy, self.X, self.derived_variables["Z"], strict=False):
            dZ = dy * (1 - np.tanh(Z) ** 2)
            dX.append(dZ @ self.parameters["W"].T)
            if retain_grads:
                self.gradients["W"] += self.factor * (X.T @ dZ)
                self.gradients["b"] += dZ.sum(0)
        return dX[0] if len(self.X) == 1 else dX


class FromScratch(Linear):
    """Deep Learning from Scratch: lists `params` and `grads`, changed in place."""

    def __init__(self) -> None:
        self.params = [W0.copy(), B0.copy()]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, x: Any) -> Any:
        W, b = self.params
        self.x = x
        return x @ W + b

    def backward(self, dout: Any) -> Any:
        W, _ = self.params
        self.grads[0][...] = self.factor * (self.x.T @ dout)
        self.grads[1][...] = dout.sum(0)
        return dout @ W.T


class ListOfGradients(Linear):
    """Attributes, and a list of gradients beside a list of parameters that is a property."""

    @property
    def params(self) -> list[Any]:
        return [self.W, self.b]

    def backward(self, dy: Any) -> Any:
        dx, dW, db = self.pull(dy)
        self.grads = [dW, db]
        return dx


class OtherOrder(ListOfGradients):
    """The gradients stand in another order than the parameters; their shapes tell."""

    def backward(self, dy: Any) -> Any:
        dx, dW, db = self.pull(dy)
        self.grads = [db, dW]
        return dx


class Methods(Linear):
    """`parameters()` and `gradients()`."""

    def parameters(self) -> list[Any]:
        return [self.W, self.b]

    def gradients(self) -> list[Any]:
        return [self.cotangent_of_W, self.cotangent_of_b]

    def backward(self, dy: Any) -> Any:
        dx, self.cotangent_of_W, self.cotangent_of_b = self.pull(dy)
        return dx


class PairsMethod(Linear):
    """`parameters()` gives pairs (parameter, gradient)."""

    def parameters(self) -> list[Any]:
        return [(self.W, self.first), (self.b, self.second)]

    def backward(self, dy: Any) -> Any:
        dx, self.first, self.second = self.pull(dy)
        return dx


class TwoCandidates(Linear):
    """dW and W_grad differ."""

    def backward(self, dy: Any) -> Any:
        dx, self.dW, self.db = self.pull(dy)
        self.W_grad = self.dW + 1
        return dx


class Stray(InOneDict):
    """A gradient whose owner does not exist."""

    def backward(self, dy: Any) -> Any:
        self.grads["c"] = 3 * dy.sum(0)
        return super().backward(dy)


class Swapped(FromScratch):
    """Two parameters of one shape, whose gradients stand in the other's place."""

    def __init__(self) -> None:
        self.params = [np.array([1.0, 1.5, 0.5]), np.array([0.0, 0.5, 1.0])]
        self.grads = [np.zeros(3), np.zeros(3)]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.params[0] + self.params[1]

    def backward(self, dout: Any) -> Any:
        self.grads[1][...], self.grads[0][...] = (dout * self.x).sum(0), dout.sum(0)
        return dout * self.params[0]


def contained(parameters: str, gradients: str, mark: str = "{}") -> type:
    """A linear layer with its parameters in one dict and their gradients in another."""

    class Contained:
        factor = 1.0

        def __init__(self) -> None:
            setattr(self, parameters, {"W": W0.copy(), "b": B0.copy()})
            setattr(self, gradients, {})

        def forward(self, x: Any) -> Any:
            self.x = x
            held = getattr(self, parameters)
            return x @ held["W"] + held["b"]

        def backward(self, dy: Any) -> Any:
            found = {mark.format("W"): self.factor * (self.x.T @ dy), mark.format("b"): dy.sum(0)}
            setattr(self, gradients, found)
            return dy @ getattr(self, parameters)["W"].T

    return Contained


class Kept:
    """A parameter of a course's own."""

    def __init__(self, value: Any, names: tuple[str, str]) -> None:
        setattr(self, names[0], value)
        setattr(self, names[1], np.zeros_like(value))


def kept(value: str, gradient: str) -> type:
    """A linear layer of such parameters."""

    class OfObjects:
        factor = 1.0

        def __init__(self) -> None:
            self.W, self.b = (Kept(v.copy(), (value, gradient)) for v in (W0, B0))

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ getattr(self.W, value) + getattr(self.b, value)

        def backward(self, dy: Any) -> Any:
            setattr(self.W, gradient, self.factor * (self.x.T @ dy))
            setattr(self.b, gradient, dy.sum(0))
            return dy @ getattr(self.W, value).T

    return OfObjects


class InMethod(kept("value", "grad")):  # type: ignore[misc]
    """Shown by a method too, in a dict (dlcourse.ai)."""

    def params(self) -> Any:
        return {"W": self.W, "b": self.b}


def shown(*methods: str, of: Any) -> type:
    """A linear layer whose gradients have names that say nothing, and are shown by a method."""

    class Shown(Linear):
        def backward(self, dy: Any) -> Any:
            dx, self.first, self.second = self.pull(dy)
            return dx

    for name, method in zip(methods, of, strict=True):
        setattr(Shown, name, method)
    return Shown


class Averaged(Linear):
    """`W_bar` is an average of W that forward keeps, and no gradient; W has none."""

    def __init__(self) -> None:
        super().__init__()
        self.W_bar = W0.copy()

    def backward(self, dy: Any) -> Any:
        dx, _, self.db = self.pull(dy)
        return dx


class Doubled(Linear):
    """Both names that are sure and those that may be anything."""

    def backward(self, dy: Any) -> Any:
        dx, self.dW, self.db = self.pull(dy)
        self.W_bar, self.b_bar = 0.1 * self.dW, 0.1 * self.db
        return dx


class Pairs(Linear):
    """A list of pairs, which says nothing of what its members are."""

    def __init__(self) -> None:
        self.theta = [[W0.copy(), np.zeros_like(W0)], [B0.copy(), np.zeros_like(B0)]]

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.theta[0][0] + self.theta[1][0]

    def backward(self, dy: Any) -> Any:
        self.theta[0][1], self.theta[1][1] = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.theta[0][0].T
