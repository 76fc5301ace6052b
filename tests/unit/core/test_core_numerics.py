"""Points at which differences are not what they seem: float32 inside, singular points, ties across tensors, magnitudes."""

import re

import numpy as np
import pytest
from core_layers import Elementwise

from harness import Outcome, gradcheck

X = np.random.default_rng(0).standard_normal((4, 5))


def verdict(layer, *inputs, **more):
    result = gradcheck(layer, *inputs, raise_exception=False, **more).results[0]
    return result.outcome, result.reason


def narrow_tanh(x):
    return np.tanh(x.astype(np.float32)).astype(np.float64)


def test_float32_inside_a_float64_interface_is_named_and_not_failed():
    outcome, reason = verdict(Elementwise(narrow_tanh, lambda x: 1 - np.tanh(x) ** 2), X)
    assert outcome is Outcome.INCONCLUSIVE
    assert "outputs are computed in float32 inside a float64 interface" in reason
    assert verdict(Elementwise(narrow_tanh, lambda x: 1 - np.tanh(x) ** 2), X, resolution=1e-3)[0] is Outcome.PASS


def test_wrong_gradient_behind_float32_is_failed_all_the_same():
    assert verdict(Elementwise(narrow_tanh, lambda x: 1.1 * (1 - np.tanh(x) ** 2)), X)[0] is Outcome.FAIL


def test_a_float64_layer_is_not_called_float32():
    assert "float32" not in verdict(Elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2), X)[1]


class SingleKey:
    """q k v / (q k + ε): linear attention to one key, whose gradient of q is what ε alone leaves of two equal terms."""

    def __init__(self, eps, narrow=False):
        self.eps, self.narrow = eps, narrow

    def forward(self, q, k, v):
        self.q, self.k, self.v, self.den = q, k, v, q * k + self.eps
        return q * k * v / self.den

    def backward(self, dy):
        d, dden = dy / self.den, -(dy * self.q * self.k * self.v) / self.den**2
        dq, dk, dv = d * (self.k * self.v) + dden * self.k, self.q * (d * self.v + dden), self.q * self.k * d
        return dq.astype(np.float32).astype(float) if self.narrow else dq, dk.sum(keepdims=True), dv.sum(keepdims=True)


@pytest.mark.parametrize(("eps", "narrow"), [(1e-9, False), (1.0, True)])
def test_what_cancels_to_few_digits_is_not_called_float32(eps, narrow):
    r = np.random.default_rng(0)
    q, k, v = r.uniform(0.5, 1.5, 3), r.uniform(0.5, 1.5, 1), r.uniform(0.5, 1.5, 1)
    assert ("gradient is computed in float32" in verdict(SingleKey(eps, narrow), q, k, v)[1]) is narrow


class Dense:
    """tanh(x w + b), of which a part may go through float32, and the gradient of w is `factor` times what it should be."""

    def __init__(self, part: str, factor: float = 1.0) -> None:
        r = np.random.default_rng(3)
        self.w, self.b, self.part, self.factor = r.standard_normal((5, 3)), r.standard_normal(3), part, factor

    def through(self, part, t):
        return t.astype(np.float32).astype(np.float64) if part == self.part else t

    def forward(self, x):
        self.x = x
        z = self.through("x", x) @ self.through("w", self.w) + self.through("b", self.b)
        self.y = self.through("activation", np.tanh(z)) + np.sin(z)
        self.slope = 1 - np.tanh(z) ** 2 + np.cos(z)
        return self.y

    def backward(self, dy):
        d = dy * self.through("backward", self.slope)
        self.dw, self.db = self.factor * self.x.T @ d, d.sum(0)
        return d @ self.w.T


@pytest.mark.parametrize("part", ["x", "w", "b", "activation", "backward"])
def test_a_part_in_float32_is_named_and_not_failed(part):
    found = gradcheck(Dense(part), X, raise_exception=False).results
    assert not [r for r in found if r.outcome is Outcome.FAIL]
    said = [r.reason for r in found[:2] if r.outcome is Outcome.INCONCLUSIVE]
    assert said
    assert all("computed in float32 inside a float64 interface" in reason for reason in said)


@pytest.mark.parametrize("part", ["x", "w", "b", "activation", "backward"])
@pytest.mark.parametrize("factor", [1.01, 1.001])
def test_wrong_gradient_beside_a_part_in_float32_is_failed(part, factor):
    found = gradcheck(Dense(part, factor), X, raise_exception=False).results
    assert next(r.outcome for r in found if r.check == "parameter_gradient") is Outcome.FAIL


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1 + 3e-6, Outcome.FAIL)])
def test_a_layer_without_such_a_part_is_held_to_float64(factor, outcome):
    found = gradcheck(Dense("none", factor), X, raise_exception=False).results
    (row,) = (r for r in found if r.check == "parameter_gradient")
    assert row.outcome is outcome
    assert "float32" not in row.reason


class OnePath:
    """log Z − score where only one path exists, as of a CRF with one tag: zero, of which rounding leaves some last digits."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong

    def forward(self, x):
        z = x[0]
        for row in x[1:]:
            z = 0.3 + z + np.log(np.exp(0.0)) + row
        return z - (x.sum(0) + 0.3 * (len(x) - 1))

    def backward(self, dy):
        self.shape = (6, 1)
        return np.full(self.shape, self.wrong) * dy


@pytest.mark.parametrize(
    ("wrong", "outcome"), [(0.0, Outcome.PASS), (1e-16, Outcome.PASS), (1e-9, Outcome.FAIL), (1e-3, Outcome.FAIL)]
)
@pytest.mark.parametrize("seed", range(4))
def test_what_equal_numbers_leave_of_one_another_has_no_slope(wrong, outcome, seed):
    x = np.random.default_rng(seed).standard_normal((6, 1))
    assert verdict(OnePath(wrong), x)[0] is outcome


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.PASS), (1.5, Outcome.FAIL), (0.0, Outcome.FAIL)])
def test_a_slope_as_small_as_rounding_is_one(factor, outcome):
    layer = Elementwise(lambda x: 1e-16 * np.sin(x), lambda x: factor * 1e-16 * np.cos(x))
    assert verdict(layer, X)[0] is outcome


def test_what_rounding_hides_is_said_with_what_would_show_it():
    layer = Elementwise(lambda x: 1e6 + np.sin(x), np.cos)
    outcome, reason = verdict(layer, X, resolution=1e-9)
    assert outcome is Outcome.INCONCLUSIVE
    advised = re.search(
        r"the forward's own rounding hides them: of size .*, resolution=(1e-\d+) asks for no more", reason
    )
    assert advised
    assert verdict(layer, X, resolution=float(advised[1]))[0] is Outcome.PASS


def test_infinite_slope_is_a_stated_singular_point():
    x = np.array([[0.0, 0.5, 1.0, 2.0]])
    outcome, reason = verdict(Elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), x)
    assert outcome is Outcome.PASS
    assert "1 entries of x sit at a singular point" in reason
    assert verdict(Elementwise(np.sqrt, lambda x: 0.6 / np.sqrt(x)), x)[0] is Outcome.FAIL


@pytest.mark.parametrize(("scale", "outcome"), [(0.5, Outcome.PASS), (0.6, Outcome.FAIL)])
def test_there_may_be_many_singular_points(scale, outcome):
    x = np.random.default_rng(0).uniform(0.5, 2.0, (10, 30))
    x[:, ::3] = 0.0
    assert verdict(Elementwise(np.sqrt, lambda x: scale / np.sqrt(x)), x)[0] is outcome


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12])
def test_a_logarithm_is_infinite_at_zero_on_whatever_scale(scale):
    x = scale * np.array([[0.0, 0.5, 1.0, 0.0, 2.0]])
    entropy = Elementwise(lambda x: -x * np.log(np.where(x > 0, x, 1.0)), lambda x: -np.log(x) - 1)
    assert verdict(entropy, x)[0] is Outcome.PASS
    linear = Elementwise(lambda x: 3 * x, lambda x: 3 * x / x)
    assert verdict(linear, x)[0] is Outcome.FAIL
    almost = Elementwise(lambda x: x - x**1.25, lambda x: (x - 1.25 * x**1.25) / x)  # its quotients grow, to 1
    assert verdict(almost, x)[0] is Outcome.FAIL


def safe_sqrt(factor=1.0, at_zero=0.0):
    """A square root whose slope at 0 is given a number, as autograd's would be infinite."""

    def slope(x):
        return np.where(x > 0, factor * 0.5 / np.sqrt(np.where(x > 0, x, 1.0)), at_zero)

    return Elementwise(np.sqrt, slope)


@pytest.mark.parametrize("shape", [(1, 4), (3, 5), (12, 30)])
@pytest.mark.parametrize("at_zero", [0.0, 1.0, 1e6])
def test_whatever_a_backward_says_at_a_singular_point_the_others_are_judged(shape, at_zero):
    x = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    x[:, ::2] = 0.0
    outcome, reason = verdict(safe_sqrt(at_zero=at_zero), x)
    assert outcome is Outcome.PASS
    assert f"{x.size - np.count_nonzero(x)} entries of x sit at a singular point" in reason
    assert verdict(safe_sqrt(1.001, at_zero), x)[0] is Outcome.FAIL


@pytest.mark.parametrize("power", [1, 2, 0.5])
def test_what_is_written_as_zero_at_a_pole_is_a_singular_point(power):
    x = np.array([[0.0, 0.7, 1.1, 2.0], [1.3, -0.9, 0.0, 0.5]])

    def pole(factor):
        size = lambda x: np.where(x == 0, 1.0, np.abs(x))  # noqa: E731
        slope = lambda x: -power * factor * (x != 0) * size(x) ** (-power - 1)  # noqa: E731
        return Elementwise(lambda x: np.sign(x) * size(x) ** -power, slope)

    outcome, reason = verdict(pole(1.0), x)
    assert outcome is Outcome.PASS
    assert "2 entries of x sit at a singular point" in reason
    assert verdict(pole(1.001), x)[0] is Outcome.FAIL


@pytest.mark.parametrize("layer", [Elementwise(np.sign, lambda x: 0 * x), Elementwise(np.floor, lambda x: 0 * x)])
def test_a_jump_is_no_singular_point(layer):
    outcome, reason = verdict(layer, np.array([[0.0, 0.5, 1.0, 2.0]]))
    assert outcome is Outcome.INCONCLUSIVE
    assert "the outputs jump here" in reason


def test_of_many_entries_that_are_not_finite_a_few_with_a_slope_are_failed():
    x = np.zeros((10, 30))
    smooth = np.arange(30) % 3 == 0  # x there, √x beside it

    def slope(x):
        return np.where(smooth, x / x, 0.5 / np.sqrt(x))

    outcome, reason = verdict(Elementwise(lambda x: np.where(smooth, x, np.sqrt(np.abs(x))), slope), x)
    assert outcome is Outcome.FAIL
    assert "300 of 300 entries of the gradient are not finite" in reason


def test_not_a_number_where_the_slopes_are_finite_is_failed():
    outcome, reason = verdict(Elementwise(np.abs, lambda x: x / np.abs(x)), np.array([[0.0, 1.0, -2.0]]))
    assert outcome is Outcome.FAIL
    assert "not finite" in reason


@pytest.mark.parametrize("n", [6, 300])
def test_ties_across_tensors_are_judged_together(n):
    x = np.random.default_rng(1).standard_normal(n)
    y = np.where(np.arange(n) % 2, x, x - 1)

    def forward(x, y):
        return np.maximum(x, y), (x, y)

    def shared(dy, cache):
        x, y = cache
        a = np.where(x > y, 1.0, np.where(x < y, 0.0, 0.5))
        return dy * a, dy * (1 - a)

    def both(dy, cache):
        x, y = cache
        return dy * (x >= y), dy * (y >= x)

    assert verdict((forward, shared), x, y)[0] is Outcome.PASS
    outcome, reason = verdict((forward, both), x, y)
    assert outcome is Outcome.FAIL
    assert "entries of x and y sit at a kink" in reason


def test_median_of_equal_numbers_may_follow_any_of_them():
    def forward(x):
        order = np.argsort(x, kind="stable")
        return x[order[2:3]], (order, len(x))

    def backward(dy, cache, factor=1.0):
        order, n = cache
        g = np.zeros(n)
        g[order[2]] = factor * dy[0]
        return g

    x = np.array([0.0, 1.0, 1.0, 1.0, 2.0])
    assert verdict((forward, backward), x)[0] is Outcome.PASS
    assert verdict((forward, lambda dy, cache: backward(dy, cache, 1.5)), x)[0] is Outcome.FAIL


def test_denormal_numbers_are_no_error():
    outcome, _ = verdict(Elementwise(np.abs, np.sign), np.array([5e-324, -5e-324, 0.0]))
    assert outcome is not Outcome.ERROR


def test_a_hundredth_in_a_small_row_beside_large_ones_is_failed():
    x = X * 10.0 ** np.array([-8, 0, 4, 8])[:, None]

    def slope(x):
        g = 2 * x
        g[0] *= 1.01
        return g

    assert verdict(Elementwise(np.square, lambda x: 2 * x), x)[0] is Outcome.PASS
    assert verdict(Elementwise(np.square, slope), x)[0] is Outcome.FAIL


def test_bias_in_front_of_a_centring_is_a_zero_whatever_its_rounding():
    class Centred:
        def __init__(self, leak: float) -> None:
            self.b, self.leak = np.linspace(-1, 1, 5), leak

        def forward(self, x):
            z = x + self.b
            return z - z.mean(0)

        def backward(self, dy):
            g = dy - dy.mean(0)
            self.db = g.sum(0) + self.leak
            return g

    def outcome(leak):
        report = gradcheck(Centred(leak), X, raise_exception=False)
        return next(r.outcome for r in report.results if r.check == "parameter_gradient")

    assert outcome(0.0) is Outcome.PASS
    assert outcome(1e-3) is Outcome.FAIL


@pytest.mark.parametrize("seed", range(3))
def test_wrong_gradient_near_the_end_of_a_domain_that_raises_is_failed(seed):
    def log(x):
        if (x <= 0).any():
            raise ValueError("x must be positive")
        return np.log(x)

    x = np.random.default_rng(seed).uniform(0.01, 2, (4, 5))
    assert verdict(Elementwise(log, lambda x: 1 / x), x, seed=seed)[0] is Outcome.PASS
    assert verdict(Elementwise(log, lambda x: 1.1 / x), x, seed=seed)[0] is Outcome.FAIL


@pytest.mark.parametrize("seed", [1, 2])
def test_quick_step_out_of_the_domain_leaves_finer_ones(seed):
    def log(x):
        if (x <= 0).any():
            raise ValueError("x must be positive")
        return np.log(x)

    rng = np.random.default_rng(seed)
    rng.uniform(0.01, 2, (4, 5))
    x = 10.0 ** rng.uniform(-9, 1, (4, 5))
    assert verdict(Elementwise(log, lambda x: 1 / x), x, seed=seed)[0] is not Outcome.FAIL
    assert verdict(Elementwise(log, lambda x: 1.1 / x), x, seed=seed)[0] is Outcome.FAIL


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("factor", "wrong"), [(1.0, False), (1.01, True)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_kink_that_a_smooth_function_has_from_afar_is_none_at_the_point(factor, wrong, seed):
    rng = np.random.default_rng(3)
    x = 1e6 + rng.standard_normal((4, 6))
    x[2:, ::2] = [[2.5, 2.0, 3.0], [1.0, 0.5, 1.5]]  # beside 10⁶ a step of the spread takes silu for relu
    slope = lambda z: factor * _sigmoid(z) * (1 + z * _sigmoid(-z))  # noqa: E731
    found = verdict(Elementwise(lambda z: z * _sigmoid(z), slope), x, seed=seed)[0]
    assert (found is Outcome.FAIL) is wrong


class Angle:
    """The angle of (x, y), whose slopes are 0/0 at the origin."""

    def forward(self, y, x):
        self.y, self.x = y, x
        return np.arctan2(y, x)

    def backward(self, v):
        with np.errstate(invalid="ignore"):
            r = self.x**2 + self.y**2
            return v * self.x / r, -v * self.y / r


def test_a_jump_on_one_side_is_a_singular_point():
    y, x = np.array([0.0, 1.0, -0.5]), np.array([0.0, 0.3, 2.0])
    assert gradcheck(Angle(), y, x, raise_exception=False).failures == []


class FromZero:
    """A function whose slope at 0 is 0, whose domain ends within a spread of 0 or which moves to one side alone; `off` is added
    to its gradient."""

    def __init__(self, f, slope, off=0.0):
        self.f, self.slope, self.off = f, slope, off

    def forward(self, x):
        self.x = x
        return self.f(x)

    def backward(self, v):
        return v * (self.slope(self.x) + self.off)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda x: np.sqrt(1 - x * x), lambda x: -x / np.sqrt(1 - x * x)),
        (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    ],
    ids=["half circle", "relu squared"],
)
@pytest.mark.parametrize("x", [np.zeros((2, 3)), np.zeros((1, 1)), np.array([[0.0, 0.0, -0.0, 0.0, -0.5]])])
def test_a_zero_slope_is_measured_by_what_the_function_does_within_its_domain_and_to_either_side(f, slope, x):
    assert gradcheck(FromZero(f, slope), x).ok
    assert gradcheck(FromZero(f, slope, off=1e-9), x, raise_exception=False).failures


class Triangular:
    """A = QR, whose R changes signs where a column is zero below the diagonal; `factor` on the gradient of one matrix."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, a):
        self.q, self.r = np.linalg.qr(a)
        return self.q, self.r

    def backward(self, dq, dr):
        def t(m):
            return m.swapaxes(1, 2)

        lower = np.tril(self.r @ t(np.triu(dr)) - t(dq) @ self.q)
        g = t(np.linalg.solve(self.r, t(dq + self.q @ (lower + t(np.tril(lower, -1))))))
        g[1] *= self.factor
        return g


@pytest.mark.parametrize("n", [2, 6])
def test_differences_refute_nothing_where_the_outputs_jump_at_the_point(n):
    a = np.random.default_rng(0).normal(size=(6, n, n))
    a[3, 1:, 0] = 0
    report = gradcheck(Triangular(), a, raise_exception=False)
    assert not report.failures, str(report)
    assert "the outputs jump here" in report.results[0].reason
    assert gradcheck(Triangular(factor=1.01), a, raise_exception=False).failures
