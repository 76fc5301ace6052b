"""What backward returns, and what it takes; how forward is called and what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np

W0 = np.linspace(-1.0, 1.5, 6).reshape(3, 2)
B0 = np.array([0.5, -0.25])


class Linear:
    """y = x W + b; `answer` is what backward makes of the three gradients."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.b = W0.copy(), B0.copy()

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        return self.answer(dy @ self.W.T, self.factor * (self.x.T @ dy), dy.sum(0))

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        raise NotImplementedError


class Keeps(Linear):
    """Keeps the gradients of its parameters; `form` is what becomes of dx."""

    form = staticmethod(lambda dx: dx)

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        self.dW, self.db = dW, db
        return self.form(dx)


class InTuple(Keeps):
    form = staticmethod(lambda dx: (dx,))


class InList(Keeps):
    form = staticmethod(lambda dx: [dx])


class InDictByX:
    """The gradient of `input` is returned under another name."""

    factor = 1.0

    def forward(self, input: Any) -> Any:
        self.x = input
        return np.tanh(input)

    def backward(self, dout: Any) -> Any:
        return {"x": self.factor * dout * (1 - np.tanh(self.x) ** 2)}


class InDict(Keeps):
    form = staticmethod(lambda dx: {"dx": dx})


class AllInTuple(Linear):
    """(dx, dW, db)"""

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return dx, dW, db


class AllInDict(Linear):
    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return {"x": dx, "W": dW, "b": db}


class AllInDictByD(Linear):
    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return {"dx": dx, "dW": dW, "db": db}


class InputAndGradients(Linear):
    """dx, and a dict or list of the parameters' gradients."""

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return dx, {"dW": dW, "db": db}


class DictInDict(Linear):
    """Those of the parameters in a dict of their own beside dx."""

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return {"dx": dx, "params": {"W": dW, "b": db}}


class InputAndNamed(Linear):
    """dx, and pairs of a name and a gradient, as an optimiser's."""

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return dx, [("b", db), ("W", dW)]


class InputAndList(Linear):
    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return dx, [dW, db]


class PairsReturned(Linear):
    """Of two square matrices: nothing but the pairs says which gradient is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.U, self.V = W0[:, :3] @ W0[:, :3].T, W0 @ W0.T + 1.0

    def forward(self, x: Any) -> Any:
        self.given, self.h = x, x @ self.U
        return super().forward(self.h @ self.V)

    def backward(self, dy: Any) -> Any:
        dz, dW, db = super().backward(dy)
        dh = dz @ self.V.T
        pairs = [(self.b, db), (self.V, self.h.T @ dz), (self.W, dW), [self.U, self.given.T @ dh]]
        return dh @ self.U.T, pairs

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        return dx, dW, db


class AttributesOnly(Linear):
    """Neural Networks from Scratch: backward returns nothing and leaves dinputs, dweights, dbiases; forward leaves output."""

    def __init__(self) -> None:
        self.weights, self.biases = W0.copy(), B0.copy()

    def forward(self, inputs: Any) -> None:
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues: Any) -> None:
        self.dweights = self.factor * (self.inputs.T @ dvalues)
        self.dbiases = dvalues.sum(0)
        self.dinputs = dvalues @ self.weights.T


class ParametersOnly(Linear):
    """A first layer: no gradient of its input."""

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        self.dW, self.db = dW, db


class Called(Linear):
    """`__call__` instead of forward."""

    forward: Any = None

    def __call__(self, x: Any) -> Any:
        return Linear.forward(self, x)

    def answer(self, dx: Any, dW: Any, db: Any) -> Any:
        self.dW, self.db = dW, db
        return dx


class Lazy:
    """Its parameters are made at the first forward."""

    factor = 1.0
    W: Any = None

    def forward(self, x: Any) -> Any:
        if self.W is None:
            self.W, self.b = np.random.default_rng(0).normal(size=(x.shape[1], 2)), np.zeros(2)
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.W.T


class MSE:
    """mytorch: backward takes no argument, the target has no gradient."""

    factor = 1.0

    def forward(self, A: Any, Y: Any) -> Any:
        self.difference = A - Y
        return (self.difference**2).mean()

    def backward(self) -> Any:
        return self.factor * 2 * self.difference / self.difference.size


class CrossEntropy:
    """Integer labels; backward takes dout=1."""

    factor = 1.0

    def forward(self, x: Any, t: Any) -> Any:
        e = np.exp(x - x.max(1, keepdims=True))
        self.p, self.t = e / e.sum(1, keepdims=True), t
        return -np.log(self.p[np.arange(len(t)), t]).mean()

    def backward(self, dout: Any = 1) -> Any:
        d = self.p.copy()
        d[np.arange(len(self.t)), self.t] -= 1
        return self.factor * dout * d / len(self.t)


class Embedding:
    """Token ids; backward returns nothing."""

    factor = 1.0

    def __init__(self) -> None:
        self.W = np.linspace(-1, 1, 10).reshape(5, 2)

    def forward(self, ids: Any) -> Any:
        self.ids = ids
        return self.W[ids]

    def backward(self, dy: Any) -> None:
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.ids, self.factor * dy)


class EmbeddingNone(Embedding):
    """The same; the gradient of the ids is None in a tuple."""

    def backward(self, dy: Any) -> Any:
        super().backward(dy)
        return (None,)


class Rnn:
    """One step: two inputs, two outputs."""

    factor = 1.0

    def __init__(self) -> None:
        self.Wx, self.Wh = W0.copy(), np.array([[0.5, -0.5], [0.25, 1.0]])

    def forward(self, x: Any, h: Any) -> Any:
        self.x, self.h = x, h
        self.new = np.tanh(x @ self.Wx + h @ self.Wh)
        return self.new, self.new.sum(1)

    def backward(self, dnew: Any, dsum: Any) -> Any:
        da = (dnew + dsum[:, None]) * (1 - self.new**2)
        self.dWx, self.dWh = self.x.T @ da, self.factor * (self.h.T @ da)
        return da @ self.Wx.T, da @ self.Wh.T


class Sum:
    """A list of inputs; a list of gradients."""

    factor = 1.0

    def forward(self, X: Any) -> Any:
        self.X = X
        return X[0] * X[1]

    def backward(self, dy: Any) -> Any:
        return [dy * self.X[1], self.factor * dy * self.X[0]]


class Cell(Rnn):
    """Two outputs, and a backward that takes the cotangent of the first alone."""

    def backward(self, dnew: Any, retain: bool = True) -> Any:  # type: ignore[override]
        return super().backward(dnew, np.zeros(len(dnew)))


class Inner(Linear):
    """Keeps every input until it is flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flush_gradients()

    def flush_gradients(self) -> None:
        self.kept: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.kept.append(x)
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        found = [dy @ self.W.T for _ in self.kept]
        self.dW, self.db = self.factor * (self.kept[0].T @ dy), dy.sum(0)
        return found[0] if len(found) == 1 else found


class Outer:
    """Flushes itself alone."""

    factor = 1.0

    def __init__(self) -> None:
        self.inner = Inner()
        self.inner.factor = self.factor

    def flush_gradients(self) -> None: ...

    def forward(self, x: Any) -> Any:
        return np.tanh(self.inner.forward(x))

    def backward(self, dy: Any) -> Any:
        return self.inner.backward(dy * (1 - np.tanh(self.inner.kept[0] @ self.inner.W + self.inner.b) ** 2))


class Bundle(Linear):
    """Two outputs, and a backward that takes their cotangents as one tuple."""

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        return y, y**2

    def backward(self, grads: Any) -> Any:
        dy, dsquare = grads
        dy = dy + 2 * (self.x @ self.W + self.b) * dsquare
        self.dW, self.db = self.factor * (self.x.T @ dy), dy.sum(0)
        return dy @ self.W.T


class Indexed(Bundle):
    """The same by position: it would take the rows of a single cotangent too."""

    def backward(self, grads: Any) -> Any:
        return super().backward((grads[0], grads[1]))


class First(Linear):
    """Two outputs of one shape, and a backward of the first that also goes through, in another shape, with a tuple."""

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        return y, 1.0 * y

    def backward(self, dy: Any) -> Any:
        self.dW = self.factor * np.einsum("bi,...bo->...io", self.x, dy)
        self.db = np.sum(dy, axis=-2)
        return dy @ self.W.T if isinstance(dy, np.ndarray) else np.asarray(dy) @ self.W.T


class Updates(Linear):
    """Takes a step by itself, as in tutorials; keeps the gradients too."""

    def backward(self, dy: Any, learning_rate: Any) -> Any:
        dx = dy @ self.W.T
        self.dW, self.db = self.factor * (self.x.T @ dy), dy.sum(0)
        self.W -= learning_rate * self.dW
        self.b -= learning_rate * self.db
        return dx


class UpdatesByDefault(Updates):
    def backward(self, dy: Any, lr: float = 0.1) -> Any:  # type: ignore[override]
        return super().backward(dy, lr)


class KeepsNothing(Linear):
    """The same without a gradient to look at."""

    def backward(self, output_error: Any, learning_rate: Any) -> Any:
        dx = output_error @ self.W.T
        self.W -= learning_rate * self.factor * (self.x.T @ output_error)
        self.b -= learning_rate * output_error.sum(0)
        return dx


class KeepsItsRate(Linear):
    """The learning rate stands on the layer; the bias is another array after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.lr = 0.01

    def backward(self, dy: Any) -> Any:
        dx = dy @ self.W.T
        self.W -= self.lr * self.factor * (self.x.T @ dy)
        self.b = self.b - self.lr * dy.sum(0)
        return dx


class Column:
    """W x + b of a column x, as the tutorials write it."""

    factor = 1.0

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        self.weights, self.bias = rng.standard_normal((2, 3)), rng.standard_normal((2, 1))

    def forward(self, input: Any) -> Any:
        self.input = input
        return np.dot(self.weights, self.input) + self.bias

    def backward(self, output_gradient: Any, learning_rate: Any) -> Any:
        weights_gradient = self.factor * np.dot(output_gradient, self.input.T)
        input_gradient = np.dot(self.weights.T, output_gradient)
        self.weights -= learning_rate * weights_gradient
        self.bias -= learning_rate * output_gradient
        return input_gradient


class MovesFirst(Column):
    """Its input's gradient is that of weights which it has moved already."""

    def backward(self, output_gradient: Any, learning_rate: Any) -> Any:
        self.weights -= learning_rate * np.dot(output_gradient, self.input.T)
        self.bias -= learning_rate * output_gradient
        return np.dot(self.weights.T, output_gradient)


class Decays(KeepsNothing):
    """Its step has more in it than the gradient."""

    def backward(self, output_error: Any, learning_rate: Any) -> Any:
        self.W, self.b = (1 - 0.1 * learning_rate) * self.W, (1 - 0.1 * learning_rate) * self.b
        return super().backward(output_error, learning_rate)


class Remembers(KeepsNothing):
    """Its step goes on along the last one."""

    def __init__(self, begun: float = 0.0) -> None:
        super().__init__()
        self.velocity = begun * self.W

    def backward(self, output_error: Any, learning_rate: Any) -> Any:
        dx = output_error @ self.W.T
        self.velocity = 0.9 * self.velocity - learning_rate * self.factor * (self.x.T @ output_error)
        self.W += self.velocity
        self.b -= learning_rate * output_error.sum(0)
        return dx


class Descent:
    """What moves an array along a gradient."""

    def __init__(self) -> None:
        self.learning_rate, self.memory = 0.01, None

    def update(self, w: Any, grad: Any) -> Any:
        return w - self.learning_rate * grad


class Momentum(Descent):
    """A tenth of each gradient, and nine tenths of the step before."""

    def update(self, w: Any, grad: Any) -> Any:
        self.memory = 0.1 * grad + (0.0 if self.memory is None else 0.9 * self.memory)
        return w - self.learning_rate * self.memory


class Optimized(Linear):
    """Its optimizers have the learning rate."""

    optimizer: type[Descent] = Descent

    def __init__(self) -> None:
        super().__init__()
        self.W_opt, self.b_opt = self.optimizer(), self.optimizer()

    def backward(self, dy: Any) -> Any:
        W = self.W
        self.W = self.W_opt.update(W, self.factor * self.x.T.dot(dy))
        self.b = self.b_opt.update(self.b, dy.sum(0))
        return dy.dot(W.T)


class WithMomentum(Optimized):
    optimizer = Momentum


class Euler:
    """One step of y' = −y²; its step size is no learning rate."""

    def __init__(self) -> None:
        self.step_size = 0.25

    def forward(self, x: Any) -> Any:
        self.x = x
        return x - self.step_size * x**2

    def backward(self, dy: Any) -> Any:
        return dy * (1 - 2 * self.step_size * self.x)


class Again:
    """A loss whose backward is handed its inputs again, and no cotangent."""

    factor = 1.0

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return ((y_pred - y_true) ** 2).mean()

    def backward(self, y_pred: Any, y_true: Any) -> Any:
        return self.factor * 2 * (y_pred - y_true) / y_pred.size


class ActualFirst:
    """caspian-ml: the target stands first and is called `actual`; the gradient is the prediction's."""

    factor = 1.0

    def forward(self, actual: Any, prediction: Any) -> Any:
        return 0.5 * ((actual - prediction) ** 2).mean()

    def backward(self, actual: Any, prediction: Any) -> Any:
        return self.factor * (prediction - actual) / actual.size


class InputAndGradient:
    """A layer that keeps nothing: its backward is handed the input again beside the cotangent."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        return np.tanh(x)

    def backward(self, x: Any, grad_output: Any) -> Any:
        return self.factor * grad_output * (1 - np.tanh(x) ** 2)


class TanhOfItsOutput:
    """The derivative alone; what may be handed to it is its output, and no cotangent."""

    factor = 1.0

    def forward(self, x: Any) -> Any:
        self.state = np.tanh(x)
        return self.state

    def backward(self, state: Any = None) -> Any:
        state = self.state if state is None else state
        return self.factor * (1 - state**2)


class TwiceInFloat16(TanhOfItsOutput):
    def backward(self, state: Any = None) -> Any:
        g = super().backward(state)
        return 2 * g if g.dtype == np.float16 else g


class OtherwiseCalled:
    """An unrolled network hands its cell the values of each step again, by the network's names for them (CMU 11-785)."""

    factor = 1.0

    def __init__(self) -> None:
        self.Wx, self.Wh = W0.copy(), np.array([[0.5, -1.0], [0.25, 0.75]])
        self.dWx, self.dWh = np.zeros_like(self.Wx), np.zeros_like(self.Wh)

    def forward(self, x: Any, h_prev_t: Any) -> Any:
        return np.tanh(x @ self.Wx + h_prev_t @ self.Wh)

    def backward(self, delta: Any, h_t: Any, h_prev_l: Any, h_prev_t: Any) -> Any:
        dz = delta * (1 - h_t**2)
        self.dWx += self.factor * h_prev_l.T @ dz
        self.dWh += h_prev_t.T @ dz
        return dz @ self.Wx.T, dz @ self.Wh.T


class OfEqualShapes(OtherwiseCalled):
    """Nothing but the numbers tells which of the two is the output: the earlier value stands first."""

    def __init__(self) -> None:
        self.Wx, self.Wh = np.array([[1.0, -0.5], [0.75, 0.25]]), np.array([[0.5, -1.0], [0.25, 0.75]])
        self.dWx, self.dWh = np.zeros_like(self.Wx), np.zeros_like(self.Wh)

    def backward(self, delta: Any, before: Any, after: Any, h_prev_t: Any) -> Any:
        return super().backward(delta, after, before, h_prev_t)


class OfEqualShapesInFloat32(OtherwiseCalled):
    """The same computed in float32, whose rounding no fine step survives."""

    def __init__(self) -> None:
        OfEqualShapes.__init__(self)

    def forward(self, x: Any, h_prev_t: Any) -> Any:
        single = [a.astype(np.float32) for a in (x, self.Wx, h_prev_t, self.Wh)]
        return np.tanh(single[0] @ single[1] + single[2] @ single[3]).astype(float)

    def backward(self, delta: Any, prev_l: Any, prev_t: Any, out: Any) -> Any:
        return super().backward(delta, out, prev_l, prev_t)


class DrawnByOtherNames:
    """A mask from the layer's own generator: the other forwards draw another."""

    factor = 1.0

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)

    def drawn(self, shape: Any) -> Any:
        return self.rng.random(shape)

    def forward(self, x: Any, scale: Any) -> Any:
        self.mask = 2.0 * (self.drawn(x.shape) < 0.5)
        return self.mask * x * scale**2

    def backward(self, delta: Any, first: Any, second: Any) -> Any:
        d = delta * self.mask
        return d * second**2, self.factor * 2 * d * first * second


class DrawnFromTheGlobal(DrawnByOtherNames):
    """The same from the generator that all share."""

    def drawn(self, shape: Any) -> Any:
        return np.random.random(shape)  # noqa: NPY002  as people write it


class OfAListByAnotherName:
    """The list of inputs goes by another name in backward."""

    factor = 1.0

    def forward(self, xs: Any, h: Any) -> Any:
        return xs[0] * xs[1] + h

    def backward(self, delta: Any, out: Any, prev: Any) -> Any:
        return [self.factor * delta * prev[1], delta * prev[0]], delta


class Predictions:
    """What `dvalues` is nobody can tell from its name: here the predictions themselves."""

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return -np.log(y_pred[np.arange(len(y_true)), y_true])

    def backward(self, dvalues: Any, y_true: Any) -> None:
        self.dinputs = -np.eye(dvalues.shape[1])[y_true] / dvalues


class CategoricalCrossentropy:
    """Neural Networks from Scratch: a loss for each example, `dvalues` the predictions, the gradient that of the mean."""

    factor = 1.0

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        clipped = np.clip(y_pred, 1e-7, 1 - 1e-7)
        return -np.log(clipped[range(len(y_pred)), y_true] if y_true.ndim == 1 else (clipped * y_true).sum(1))

    def backward(self, dvalues: Any, y_true: Any) -> None:
        if y_true.ndim == 1:
            y_true = np.eye(dvalues.shape[1])[y_true]
        self.dinputs = -self.factor * y_true / dvalues / len(dvalues)


class BinaryCrossentropy:
    """A loss for each entry, whose gradient is that of the mean of them all."""

    factor = 1.0

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return -(y_true * np.log(y_pred) + (1 - y_true) * np.log(1 - y_pred))

    def backward(self, dvalues: Any, y_true: Any) -> None:
        self.dinputs = self.factor * (dvalues - y_true) / (dvalues * (1 - dvalues)) / dvalues.size


class OverRowsAlone(BinaryCrossentropy):
    def backward(self, dvalues: Any, y_true: Any) -> None:
        super().backward(dvalues, y_true)
        self.dinputs = self.dinputs * dvalues.shape[1]


class CrossentropyOfInputs(CategoricalCrossentropy):
    """A loss for each example again; backward asks for the inputs under their own names, and for no cotangent."""

    def backward(self, y_pred: Any, y_true: Any) -> None:
        super().backward(y_pred, y_true)


class CrossentropyOfNothing(CategoricalCrossentropy):
    def forward(self, y_pred: Any, y_true: Any) -> Any:
        self.given = y_pred, y_true
        return super().forward(y_pred, y_true)

    def backward(self) -> Any:
        super().backward(*self.given)
        return self.dinputs


class ColumnOfInputs(CrossentropyOfInputs):
    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return super().forward(y_pred, y_true)[:, None]


class ColumnOfPredictions(CategoricalCrossentropy):
    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return super().forward(y_pred, y_true)[:, None]


class SumOfNothing(CrossentropyOfNothing):
    def backward(self) -> Any:
        return super().backward() * len(self.given[0])


class MeanSquaredError:
    factor = 1.0

    def forward(self, y_pred: Any, y_true: Any) -> Any:
        return np.mean((y_true - y_pred) ** 2, axis=-1)

    def backward(self, dvalues: Any, y_true: Any) -> None:
        self.dinputs = -2 * self.factor * (y_true - dvalues) / dvalues.size


class SoftmaxCategoricalCrossentropy:
    """`dvalues` is what the softmax inside gave, kept as `output`."""

    factor = 1.0

    def forward(self, inputs: Any, y_true: Any) -> Any:
        e = np.exp(inputs - inputs.max(1, keepdims=True))
        self.output = e / e.sum(1, keepdims=True)
        return np.mean(-np.log(self.output[range(len(inputs)), y_true]))

    def backward(self, dvalues: Any, y_true: Any) -> None:
        self.dinputs = dvalues.copy()
        self.dinputs[range(len(dvalues)), y_true] -= 1
        self.dinputs = self.factor * self.dinputs / len(dvalues)


class Weighted:
    """A layer whose `dvalues` is the cotangent, beside an input that backward asks for again."""

    factor = 1.0

    def forward(self, x: Any, w: Any) -> Any:
        self.x = x
        return x**2 * w

    def backward(self, dvalues: Any, w: Any) -> Any:
        return self.factor * 2 * self.x * w * dvalues, dvalues * self.x**2


class LabelsAgain(CrossEntropy):
    """The labels again, and no cotangent."""

    def forward(self, x: Any, labels: Any) -> Any:
        return super().forward(x, labels)

    def backward(self, labels: Any) -> Any:
        assert labels.dtype.kind == "i"
        return super().backward(1)


class Probabilities(SoftmaxCategoricalCrossentropy):
    """Gives the softmax and goes back through a loss that is not its own: nothing that can be checked."""

    def forward(self, inputs: Any, y_true: Any) -> Any:
        super().forward(inputs, y_true)
        return self.output


class Caching(Keeps):
    """Returns what backward needs beside its output: arrays, which are no outputs."""

    def forward(self, x: Any) -> Any:
        return x @ self.W + self.b, (x, self.W)

    def backward(self, dy: Any, cache: Any) -> Any:  # type: ignore[override]
        x, W = cache
        return self.answer(dy @ W.T, self.factor * (x.T @ dy), dy.sum(0))


class CachingDict(Keeps):
    def forward(self, x: Any) -> Any:
        return x @ self.W + self.b, {"x": x}

    def backward(self, dy: Any, ctx: Any) -> Any:  # type: ignore[override]
        return self.answer(dy @ self.W.T, self.factor * (ctx["x"].T @ dy), dy.sum(0))


class TargetFirst:
    """The mean square of y_pred − y; backward returns the gradient of y_pred alone."""

    factor = 1.0

    def forward(self, y: Any, y_pred: Any) -> Any:
        self.c = y_pred - y
        return (self.c**2).mean()

    def backward(self) -> Any:
        return self.factor * 2 * self.c / self.c.size


class Yields(Linear):
    def backward(self, dy: Any) -> Any:
        yield dy @ self.W.T


class OfObjects(Linear):
    def backward(self, dy: Any) -> Any:
        return (dy @ self.W.T).astype(object)
