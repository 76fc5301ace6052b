"""Operations that random programs are made of, each with its own pullback, as the lines of NumPy or torch that compute them.

In a template `{X}` is the library, `{a}` and `{b}` what goes in, `{y}` what comes out, `{g}` its cotangent, `{s}` what forward
keeps beside it, and a name of `PRELUDE` stands for itself. `wrong` has pullbacks of neighbours, as people write them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Axes = tuple[str, ...]
"""A shape, by the names of its axes; "1" is an axis of one."""


def same(*shapes: Axes) -> Axes | None:
    """Elementwise, with broadcasting; None where the shapes do not go together."""
    long, found = max(map(len, shapes)), []
    for axes in zip(*[("1",) * (long - len(s)) + s for s in shapes], strict=True):
        wide = {n for n in axes if n != "1"}
        if len(wide) > 1:
            return None
        found.append(wide.pop() if wide else "1")
    return tuple(found)


def rows(a: Axes) -> Axes | None:
    """Keeps the shape of what has rows."""
    return a if a and a[-1] != "1" else None


def batch(a: Axes) -> Axes | None:
    """Keeps the shape of what has a batch."""
    return a if len(a) > 1 and a[0] != "1" else None


def kept(a: Axes) -> Axes | None:
    """One number for each row."""
    return (*a[:-1], "1") if rows(a) else None


def first(a: Axes) -> Axes | None:
    """One row for the batch."""
    return ("1", *a[1:]) if batch(a) else None


def turned(a: Axes) -> Axes | None:
    """The last two axes the other way round."""
    return (*a[:-2], a[-1], a[-2]) if len(a) > 2 else None


def half(a: Axes) -> Axes | None:
    """The first half of each row, rounded up."""
    return (*a[:-1], f"({a[-1]}+1)//2") if rows(a) else None


def beside(a: Axes, b: Axes) -> Axes | None:
    """Two values side by side."""
    return (*a[:-1], f"{a[-1]}+{b[-1]}") if len(a) > 1 and a[:-1] == b[:-1] else None


def product(a: Axes, w: Axes) -> Axes | None:
    """Rows times a matrix."""
    return (*a[:-1], w[-1]) if len(a) > 1 and len(w) == 2 and a[-1] == w[0] != "1" else None


def gram(a: Axes, b: Axes) -> Axes | None:
    """Each row times each."""
    fit = len(a) == len(b) > 1 and a[:-2] == b[:-2] and a[-1] == b[-1]
    return (*a[:-1], b[-2]) if fit else None


def mixed(p: Axes, v: Axes) -> Axes | None:
    """Rows of weights times rows."""
    fit = len(p) == len(v) > 1 and p[:-2] == v[:-2] and p[-1] == v[-2] != "1"
    return (*p[:-1], v[-1]) if fit else None


def number(*shapes: Axes) -> Axes | None:
    """A single number."""
    return () if same(*shapes) else None


def labelled(a: Axes) -> Axes | None:
    """A loss of rows of scores, a label each."""
    return () if a == ("B", "D") else None


@dataclass(frozen=True)
class Operation:
    """y = forward(a, b) and what it gives back to each; `saved` is computed first, and kept."""

    name: str
    forward: str
    back: tuple[str, ...]
    shape: Callable[..., Axes | None] = same
    wrong: tuple[tuple[int, str], ...] = ()
    saved: str = ""
    positive: bool = False
    """Of positive numbers alone (its last argument)."""
    gives_positive: bool = False
    weight: float = 1.0
    random: bool = False


def unary(name: str, forward: str, back: str, *wrong: str, **more: object) -> Operation:
    """Of one argument."""
    return Operation(name, forward, (back,), wrong=tuple((0, w) for w in wrong), **more)  # type: ignore[arg-type]


SIGMOID = "(0.5 * {X}.tanh(0.5 * {a}) + 0.5)"
ELEMENTWISE = [
    unary("tanh", "{X}.tanh({a})", "{g} * (1 - {y} * {y})", "{g} * (1 - {y})", "{g} * (1 - {a} * {a})"),
    unary(
        "sigmoid", SIGMOID, "{g} * {y} * (1 - {y})", "{g} * {y}", "{g} * {y} * (1 + {y})", gives_positive=True
    ),
    unary("logistic", "1 / (1 + {X}.exp(-{a}))", "{g} * {y} * (1 - {y})", "{g} * {y} * {y}", gives_positive=True),
    unary("relu", "{X}.clip({a}, 0, None)", "{g} * ({a} > 0)", "{g} * ({a} > 0.1)", "{g} * ({a} < 0)", "{g}"),
    unary("relu of y", "{X}.clip({a}, 0, None)", "{X}.where({y} > 0, {g}, 0 * {g})", "{g} * {y}"),
    unary(
        "leaky relu", "{X}.where({a} > 0, {a}, 0.1 * {a})", "{X}.where({a} > 0, {g}, 0.1 * {g})",
        "{X}.where({a} > 0, {g}, 0.01 * {g})", "{g} * ({a} > 0)",
    ),
    unary(
        "elu", "{X}.where({a} > 0, {a}, {X}.expm1({X}.clip({a}, None, 0)))",
        "{g} * {X}.where({a} > 0, {X}.ones_like({a}), {y} + 1)", "{g} * {X}.where({a} > 0, {X}.ones_like({a}), {y})",
    ),
    unary(
        "gelu", "0.5 * {a} * (1 + {s})", "{g} * (0.5 * (1 + {s}) + 0.5 * {a} * (1 - {s} * {s}) * 0.8 * (1 + 0.135 * {a} ** 2))",
        "{g} * (0.5 * (1 + {s}) + 0.5 * {a} * (1 - {s} * {s}) * 0.8 * (1 + 0.045 * {a} ** 2))", "{g} * 0.5 * (1 + {s})",
        saved="{X}.tanh(0.8 * ({a} + 0.045 * {a} ** 3))",
    ),
    unary(
        "silu", "{a} * {s}", "{g} * ({s} + {y} * (1 - {s}))", "{g} * ({s} + {a} * (1 - {s}))", "{g} * {s}", saved=SIGMOID
    ),
    unary(
        "softplus", "{X}.log1p({X}.exp(-{X}.abs({a}))) + {X}.clip({a}, 0, None)", "{g} / (1 + {X}.exp(-{a}))",
        "{g} * (1 - {X}.exp({y}))", gives_positive=True,
    ),
    unary("log(1 + exp)", "{X}.log(1 + {X}.exp({a}))", "{g} / (1 + {X}.exp(-{a}))", gives_positive=True),
    unary("sin", "{X}.sin({a})", "{g} * {X}.cos({a})", "-{g} * {X}.cos({a})", "{g} * {y}"),
    unary("cos", "{X}.cos({a})", "-{g} * {X}.sin({a})", "{g} * {X}.sin({a})"),
    unary("square", "{a} * {a}", "2 * {g} * {a}", "{g} * {a}", "2 * {g}"),
    unary("cube", "{a} ** 3", "3 * {g} * {a} ** 2", "3 * {g} * {a}", "2 * {g} * {a} ** 2"),
    unary("abs", "{X}.abs({a})", "{g} * {X}.sign({a})", "{g} * {X}.sign({a} - 0.05)", "{g}"),
    unary("negate", "-{a}", "-{g}"),
    unary("cauchy", "1 / (1 + {a} * {a})", "-2 * {g} * {a} * {y} * {y}", "-2 * {g} * {a} * {y}", gives_positive=True),
    unary("sqrt(x² + c)", "{X}.sqrt({a} * {a} + 0.01)", "{g} * {a} / {y}", "0.5 * {g} / {y}", gives_positive=True),
    unary("log(1 + x²)", "{X}.log(1 + {a} * {a})", "2 * {g} * {a} / (1 + {a} * {a})", "{g} / (1 + {a} * {a})"),
    unary("arctan", "{X}.arctan({a})", "{g} / (1 + {a} * {a})", "{g} / {X}.sqrt(1 + {a} * {a})"),
    unary("arcsinh", "{X}.arcsinh({a})", "{g} / {X}.sqrt(1 + {a} * {a})", "{g} / (1 + {a} * {a})"),
    unary("gauss", "{X}.exp(-{a} * {a})", "-2 * {g} * {a} * {y}", "-{g} * {a} * {y}"),
    unary("laplace", "{X}.exp(-{X}.abs({a}))", "-{g} * {X}.sign({a}) * {y}", "{g} * {X}.sign({a}) * {y}"),
    unary("clip", "{X}.clip({a}, -1, 1)", "{g} * ({a} > -1) * ({a} < 1)", "{g} * ({a} < 1)", "{g} * ({a} > -1.2) * ({a} < 1)"),
    unary(
        "hard sigmoid", "{X}.clip({a} / 6 + 0.5, 0, 1)", "{g} / 6 * (abs({a}) < 3)",
        "{g} * (abs({a}) < 3)", "{g} / 6 * (abs({a}) < 2.5)",
    ),
    unary("relu²", "{X}.clip({a}, 0, None) ** 2", "2 * {g} * {X}.clip({a}, 0, None)", "2 * {g} * ({a} > 0)"),
    unary("softsign", "{a} / (1 + {X}.abs({a}))", "{g} / (1 + {X}.abs({a})) ** 2", "{g} / (1 + {X}.abs({a}))"),
    unary("exp", "{X}.exp({a})", "{g} * {y}", "{g}", gives_positive=True),
    unary("expm1", "{X}.expm1({a})", "{g} * ({y} + 1)", "{g} * {y}"),
    unary("scale", "0.37 * {a}", "0.37 * {g}", "{g} / 0.37"),
    unary("shift", "{a} + 1.5", "1 * {g}", "1.5 * {g}"),
    unary("x² + c", "{a} * {a} + 0.1", "2 * {g} * {a}", gives_positive=True),
    unary("|x| + c", "{X}.abs({a}) + 0.5", "{g} * {X}.sign({a})", gives_positive=True),
    unary("log", "{X}.log({a})", "{g} / {a}", "{g} / ({a} + 1e-3)", positive=True, weight=2),
    unary("sqrt", "{X}.sqrt({a})", "0.5 * {g} / {y}", "0.5 * {g} / {a}", positive=True, gives_positive=True, weight=2),
    unary("power", "{a} ** 1.7", "1.7 * {g} * {a} ** 0.7", "1.7 * {g} * {y}", positive=True, gives_positive=True, weight=2),
    unary("inverse", "1 / {a}", "-{g} * {y} * {y}", "-{g} * {y}", positive=True, gives_positive=True, weight=2),
    unary("entropy term", "-{a} * {X}.log({a})", "-{g} * ({X}.log({a}) + 1)", "-{g} * {X}.log({a})", positive=True),
    unary("dropout", "{a} * {s}", "{g} * {s}", "{g} * ({s} > 0)", "{g} * ({y} > 0) / 0.7", saved="mask({a})", weight=2, random=True),
]  # fmt: skip
PAIRS = [
    Operation("add", "{a} + {b}", ("1 * {g}", "1 * {g}"), weight=4),
    Operation("subtract", "{a} - {b}", ("1 * {g}", "-{g}"), wrong=((1, "1 * {g}"),), weight=2),
    Operation(
        "multiply", "{a} * {b}", ("{g} * {b}", "{g} * {a}"), wrong=((0, "{g} * {a}"), (1, "{g} * {b}"), (0, "{g} * {y}")), weight=4
    ),
    Operation(
        "divide", "{a} / {b}", ("{g} / {b}", "-{g} * {y} / {b}"), positive=True, weight=3,
        wrong=((1, "{g} * {y} / {b}"), (1, "-{g} * {a} / {b}"), (0, "{g} * {b}")),
    ),
    Operation(
        "maximum", "{X}.maximum({a}, {b})", ("{g} * ({a} >= {b})", "{g} * ({a} < {b})"),
        wrong=((0, "{g} * ({a} < {b})"), (1, "{g} * ({a} <= {b})"), (1, "1 * {g}")),
    ),
    Operation("minimum", "{X}.minimum({a}, {b})", ("{g} * ({a} < {b})", "{g} * ({a} >= {b})"), wrong=((0, "{g} * ({a} > {b})"),)),
    Operation(
        "gate", "{X}.where({a} > 0, {a} * {b}, 0 * {a})", ("{g} * {b} * ({a} > 0)", "{g} * {X}.clip({a}, 0, None)"),
        wrong=((0, "{g} * {b}"), (1, "{g} * {a}")),
    ),
    Operation(
        "sigmoid gate", "{a} * {s}", ("{g} * {s}", "{g} * {y} * (1 - {s})"), saved=SIGMOID.replace("{a}", "{b}"),
        wrong=((1, "{g} * {s} * (1 - {s})"), (1, "{g} * {a} * (1 - {s})")),
    ),
    Operation(
        "hypot", "{X}.sqrt({a} * {a} + {b} * {b} + 1e-3)", ("{g} * {a} / {y}", "{g} * {b} / {y}"), gives_positive=True,
        wrong=((1, "{g} * {a} / {y}"), (0, "{g} / {y}")),
    ),
    Operation(
        "logaddexp", "{X}.logaddexp({a}, {b})", ("{g} * {X}.exp({a} - {y})", "{g} * {X}.exp({b} - {y})"),
        wrong=((0, "{g} * {X}.exp({b} - {y})"), (1, "{g} * {X}.exp({b})")),
    ),
    Operation(
        "squared distance", "({a} - {b}) ** 2", ("2 * {g} * ({a} - {b})", "-2 * {g} * ({a} - {b})"),
        wrong=((1, "2 * {g} * ({a} - {b})"), (0, "{g} * ({a} - {b})")),
    ),
]  # fmt: skip
ONES = "{X}.ones_like({a})"
MEAN = "({0}).mean(axis={1}, keepdims=True)"
CENTRED = "({a} - {a}.mean(axis=-1, keepdims=True))"


def normalisation(name: str, axis: int, shape: Callable[[Axes], Axes | None]) -> Operation:
    """(a − mean) / √(variance + ε) over an axis."""
    mean, ḡ, gȳ = f"{{a}}.mean(axis={axis}, keepdims=True)", MEAN.format("{g}", axis), MEAN.format("{g} * {y}", axis)
    other = 0 if axis == -1 else -1
    return unary(
        name, f"({{a}} - {mean}) * {{s}}", f"{{s}} * ({{g}} - {ḡ} - {{y}} * {gȳ})",
        f"{{s}} * ({{g}} - {ḡ})", f"{{s}} * ({{g}} - {{y}} * {gȳ})", "{s} * {g}", f"{{g}} - {ḡ} - {{y}} * {gȳ}",
        f"{{s}} * ({{g}} - {MEAN.format('{g}', other)} - {{y}} * {gȳ})", shape=shape, weight=2,
        saved=f"1 / {{X}}.sqrt((({{a}} - {mean}) ** 2).mean(axis={axis}, keepdims=True) + 1e-5)",
    )  # fmt: skip


ROWS = [
    unary("sum", "{a}.sum(axis=-1, keepdims=True)", "{g} * " + ONES, shape=kept),
    unary("mean", "{a}.mean(axis=-1, keepdims=True)", "{g} / {a}.shape[-1] * " + ONES, "{g} / {a}.shape[0] * " + ONES, shape=kept),
    unary("sum over the batch", "{a}.sum(axis=0, keepdims=True)", "{g} * " + ONES, shape=first),
    unary("mean over the batch", "{a}.mean(axis=0, keepdims=True)", "{g} / {a}.shape[0] * " + ONES, shape=first),
    unary("max", "largest({a})", "{g} * shares({a}, {y})", "{g} * ({a} == {y})", "{g} * shares({a}, {a})", shape=kept),
    unary("max to the first", "largest({a})", "{g} * winner({a})", "{g} * ({a} >= 0.99 * {y})", shape=kept),
    unary(
        "logsumexp", "largest({a}) + {X}.log({X}.exp({a} - largest({a})).sum(axis=-1, keepdims=True))",
        "{g} * {X}.exp({a} - {y})", "{g} * {X}.exp({a} - largest({a}))", "{g} * {X}.exp({a})", shape=kept,
    ),
    unary(
        "variance", f"({CENTRED} ** 2).mean(axis=-1, keepdims=True)", f"2 * {{g}} * {CENTRED} / {{a}}.shape[-1]",
        f"2 * {{g}} * {CENTRED} / ({{a}}.shape[-1] + 1)", "2 * {g} * {a} / {a}.shape[-1]", shape=kept,
    ),
    unary(
        "norm", "{X}.sqrt(({a} * {a}).sum(axis=-1, keepdims=True) + 1e-6)", "{g} * {a} / {y}", "{g} * {a}",
        shape=kept, gives_positive=True,
    ),
    unary("centre", CENTRED, "{g} - {g}.mean(axis=-1, keepdims=True)", "1 * {g}", shape=rows),
    normalisation("layer norm", -1, rows),
    normalisation("batch norm", 0, batch),
    unary(
        "rms norm", "{a} * {s}", "{s} * ({g} - {y} * ({g} * {y}).mean(axis=-1, keepdims=True))", "{s} * {g}",
        "{s} * ({g} - {y} * ({g} * {y}).sum(axis=-1, keepdims=True))", shape=rows,
        saved="1 / {X}.sqrt(({a} * {a}).mean(axis=-1, keepdims=True) + 1e-5)",
    ),
    unary(
        "unit rows", "{a} / {s}", "({g} - {y} * ({g} * {y}).sum(axis=-1, keepdims=True)) / {s}", "{g} / {s}",
        "({g} - {a} * ({g} * {y}).sum(axis=-1, keepdims=True)) / {s}", shape=rows,
        saved="{X}.sqrt(({a} * {a}).sum(axis=-1, keepdims=True) + 1e-6)",
    ),
    unary(
        "softmax", "{s} / {s}.sum(axis=-1, keepdims=True)", "{y} * ({g} - ({g} * {y}).sum(axis=-1, keepdims=True))",
        "{y} * {g}", "{g} * {y} * (1 - {y})", "{y} * ({g} - {g}.sum(axis=-1, keepdims=True))", shape=rows, weight=3,
        saved="{X}.exp({a} - largest({a}))", gives_positive=True,
    ),
    unary(
        "log softmax", "{s} - {X}.log({X}.exp({s}).sum(axis=-1, keepdims=True))", "{g} - {X}.exp({y}) * {g}.sum(axis=-1, keepdims=True)",
        "{g} - {X}.exp({y})", "{g} - {X}.exp({y}) * {g}", shape=rows, saved="{a} - largest({a})",
    ),
    unary("cumsum", "{X}.cumsum({a}, -1)", "tails({g})", "{X}.cumsum({g}, -1)", "tails({g}) - {g}", shape=rows),
    unary("roll", "{X}.roll({a}, 1, -1)", "{X}.roll({g}, -1, -1)", "{X}.roll({g}, 1, -1)", shape=rows),
    unary("sort", "ordered({a})", "put({g}, {s}, {a})", "taken({g}, {s})", "1 * {g}", shape=rows, saved="order({a})"),
    unary("first half", "{a}[..., : ({a}.shape[-1] + 1) // 2]", "padded({g}, {a})", shape=half),
    unary("last", "{a}[..., -1:]", "{g} * at({a}, -1)", "{g} * at({a}, 0)", shape=kept),
    unary("gather", "taken({a}, {s})", "put({g}, {s}, {a})", "taken({g}, {s})", shape=rows, saved="twice({a})"),
    unary("turn", "{a}.swapaxes(-1, -2)", "{g}.swapaxes(-1, -2)", shape=turned),
    unary("total", "{a}.sum()", "{g} * " + ONES, shape=number),
    unary("mean of all", "{a}.mean()", "{g} * shared({a})", "{g} / {a}.shape[0] * " + ONES, shape=number),
    Operation("concatenate", "{X}.concatenate([{a}, {b}], -1)", ("{g}[..., : {a}.shape[-1]]", "{g}[..., {a}.shape[-1] :]"), beside),
    Operation(
        "matrix product", "{a} @ {b}", ("{g} @ {b}.swapaxes(-1, -2)", "flat({a}).swapaxes(0, 1) @ flat({g})"), product, weight=12,
        wrong=((1, "flat({a}).swapaxes(0, 1) @ flat({g}) / {a}.shape[0]"),),
    ),
    Operation("scores", "{a} @ {b}.swapaxes(-1, -2)", ("{g} @ {b}", "{g}.swapaxes(-1, -2) @ {a}"), gram, weight=2),
    Operation(
        "attend", "{a} @ {b}", ("{g} @ {b}.swapaxes(-1, -2)", "{a}.swapaxes(-1, -2) @ {g}"), mixed, weight=6,
    ),
    Operation(
        "mean squared error", "(({a} - {b}) ** 2).mean()",
        ("2 * {g} * ({a} - {b}) * shared({a} - {b})", "-2 * {g} * ({a} - {b}) * shared({a} - {b})"),
        number, ((0, "2 * {g} * ({a} - {b})"), (0, "{g} * ({a} - {b}) * shared({a} - {b})")),
    ),
    unary(
        "cross-entropy", "-(({X}.log({s}) * hot({a}, labels)).sum() / {a}.shape[0])", "{g} * ({s} - hot({a}, labels)) / {a}.shape[0]",
        "{g} * ({s} - hot({a}, labels))", "{g} * ({s} - hot({a}, labels)) / {a}.shape[-1]", "({s} - hot({a}, labels)) / {a}.shape[0]",
        "{g} * {s} / {a}.shape[0]", saved="soft({a})", shape=labelled,
    ),
]  # fmt: skip
OPERATIONS = [*ELEMENTWISE, *PAIRS, *ROWS]

PRELUDE = '''
def largest(a):
    return a.max(axis=-1, keepdims=True) if X is np else a.amax(-1, keepdim=True)

def shares(a, y):
    m = (a == y) * X.ones_like(a)
    return m / m.sum(axis=-1, keepdims=True)

def hot(a, labels):
    m = X.zeros_like(a)
    m[X.arange(a.shape[0]), labels] = 1
    return m

def winner(a):
    k = a.argmax(axis=-1)
    return (X.arange(a.shape[-1]) == k[..., None]) * X.ones_like(a)

def at(a, k):
    m = X.zeros_like(a)
    m[..., k] = 1
    return m

def soft(a):
    e = X.exp(a - largest(a))
    return e / e.sum(axis=-1, keepdims=True)

def shared(a):
    n = 1
    for k in a.shape:
        n *= k
    return X.ones_like(a) / n

def tails(g):
    return np.cumsum(g[..., ::-1], -1)[..., ::-1] if X is np else torch.cumsum(g.flip(-1), -1).flip(-1)

def order(a):
    return np.argsort(a, -1, kind="stable") if X is np else torch.argsort(a, dim=-1, stable=True)

def twice(a):
    k = X.arange(a.shape[-1]) * 2 % a.shape[-1]
    return X.broadcast_to(k, a.shape)

def taken(a, k):
    return np.take_along_axis(a, k, -1) if X is np else torch.take_along_dim(a, k, -1)

def ordered(a):
    return taken(a, order(a))

def put(g, k, a):
    d = X.zeros_like(a)
    if X is np:
        places = np.indices(k.shape)
        np.add.at(d, (*places[:-1], k), g)
        return d
    return d.scatter_add(-1, k, g)

def padded(g, a):
    d = X.zeros_like(a)
    d[..., : g.shape[-1]] = g
    return d

def flat(a):
    return a.reshape(-1, a.shape[-1])

def narrowed(g, like):
    """Sums over what broadcasting has repeated."""
    while len(g.shape) > len(like.shape):
        g = g.sum(axis=0)
    for axis, n in enumerate(like.shape):
        if n == 1 and g.shape[axis] != 1:
            g = g.sum(axis=axis, keepdims=True)
    return g
'''
