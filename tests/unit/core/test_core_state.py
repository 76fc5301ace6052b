"""`state`: how running statistics move is held to a reference that moves those it is handed."""

import copy
import re

import numpy as np
import pytest
import torch
from specs import batch_norm

from harness import LayerSpec, Outcome, check, floats, gradcheck
from layers import BatchNorm


class Mean:
    """Centres by the batch's mean, and keeps a running one."""

    momentum = 0.1

    def __init__(self, D):
        self.running_mean, self.training = torch.zeros(D), True

    def forward(self, x):
        self.m = x.mean(0) if self.training else self.running_mean
        if self.training:
            self.running_mean = self.moved(self.m)
        return x - self.m

    def moved(self, m):
        return (1 - self.momentum) * self.running_mean + self.momentum * m

    def backward(self, v):
        return v - v.mean(0) if self.training else v


class OtherMomentum(Mean):
    momentum = 0.11


class FirstIsTaken(BatchNorm):
    """The first batch's statistics are taken whole."""

    def _track(self, **statistics):
        fresh = not self.buffers["running_mean"].any()
        momentum, self.momentum = self.momentum, 1.0 if fresh else self.momentum
        super()._track(**statistics)
        self.momentum = momentum


class Row(BatchNorm):
    """Its first statistics become rows."""

    def _track(self, **statistics):
        for name, new in statistics.items():
            self.buffers[name] = self.buffers[name].lerp(new[None], self.momentum)


def reference(x, running_mean, mode):
    m = x.mean(0) if mode == "train" else running_mean.clone()
    if mode == "train":
        running_mean.lerp_(m.detach(), 0.1)
    return x - m


def into_the_dict(x, buffers, mode):
    m = x.mean(0) if mode == "train" else buffers["running_mean"]
    if mode == "train":
        buffers["running_mean"] = 0.9 * buffers["running_mean"] + 0.1 * m
    return x - m


def in_numpy(x, running_mean, mode):
    m = np.mean(x, 0) if mode == "train" else running_mean.copy()
    if mode == "train":
        running_mean[:] = 0.9 * running_mean + 0.1 * m
    return x - m


def moving_nothing(x, running_mean, mode):
    return x - (x.mean(0) if mode == "train" else running_mean)


def in_train(build, function, only=("state",), examples=6):
    report = check(LayerSpec(build, "B D", reference=function), examples=examples, only=only)
    return next(r for r in report.results if r.mode == "train" and r.check == only[-1])


@pytest.mark.parametrize("function", [reference, into_the_dict, in_numpy])
def test_the_same_rule_passes_and_another_fails(function):
    assert in_train(Mean, function).outcome is Outcome.PASS
    failed = in_train(OtherMomentum, function)
    assert failed.outcome is Outcome.FAIL
    assert re.match(
        r"running_mean(\[\d\])?: a train forward leaves \S+, expected \S+, as the reference does", failed.reason
    )


@pytest.mark.parametrize("build", [FirstIsTaken, Row])
def test_what_a_fresh_layer_does_counts(build):
    assert in_train(build, batch_norm).outcome is Outcome.FAIL


def test_a_reference_that_moves_nothing_says_nothing_about_it():
    result = in_train(OtherMomentum, moving_nothing)
    assert result.outcome is Outcome.PASS
    assert "moves none of the buffers" in result.reason


def test_a_reference_moves_copies():
    assert in_train(Mean, reference, ("reference", "state")).outcome is Outcome.PASS
    assert in_train(Mean, reference, ("reference",)).outcome is Outcome.PASS


class BiasedVariance(BatchNorm):
    """Keeps the variance that it normalises by."""

    def _track(self, running_mean, running_var):
        B = self.rows
        super()._track(running_mean=running_mean, running_var=running_var * ((B - 1) / B))

    def forward(self, z):
        self.rows = len(z)
        return super().forward(z)


def test_the_variance_that_is_kept_is_torch_s():
    assert in_train(BatchNorm, batch_norm).outcome is Outcome.PASS
    assert in_train(BiasedVariance, batch_norm).outcome is Outcome.FAIL


class Saturated(BatchNorm):
    """tanh far from zero: a small step of the statistics changes no digit of it."""

    def forward(self, z):
        self.y = torch.tanh(40 + super().forward(z))
        return self.y

    def backward(self, δa):
        return super().backward(δa * (1 - self.y**2))


class Unread(BatchNorm):
    """Evaluation takes the batch's own statistics."""

    def forward(self, z):
        training, kept = self.training, copy.deepcopy(self.buffers)
        a = super(Unread, self.train()).forward(z)
        self.training = training
        if not training:
            self.buffers.update(kept)
        return a


def in_eval(build):
    results = check(LayerSpec(build, floats("B D", low=-2.0, high=2.0)), examples=6, only=("state",)).results
    return next(r.outcome for r in results if r.mode == "eval")


def test_what_is_read_behind_a_saturated_function_is_read():
    assert in_eval(Saturated) is Outcome.PASS
    assert in_eval(Unread) is Outcome.FAIL


class Statistics:
    """(x − m)/√(v + 10⁻⁸) with running m and v bound to the names of the batch's in eval, as course code has them."""

    def __init__(self, forgotten: bool = False) -> None:
        self.running_m, self.running_v = np.zeros((1, 3)), np.ones((1, 3))
        self.training, self.forgotten = True, forgotten

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.training:
            self.m, self.v = x.mean(0, keepdims=True), x.var(0, keepdims=True)
            self.running_m = 0.9 * self.running_m + 0.1 * self.m
            self.running_v = 0.9 * self.running_v + 0.1 * self.v
        else:
            self.m, self.v = self.running_m, self.running_v
        self.h = (x - self.m) / np.sqrt(self.v + 1e-8)
        return self.h

    def backward(self, g: np.ndarray) -> np.ndarray:
        s = np.sqrt(self.v + 1e-8)
        if not self.training:
            return g if self.forgotten else g / s
        return (g - g.mean(0) - self.h * (g * self.h).mean(0)) / s


POINTS = np.random.default_rng(5).standard_normal((6, 3))


def test_names_that_share_an_array_after_eval_keep_their_own_values() -> None:
    for mode in ("train", "eval"):
        report = gradcheck(Statistics(), POINTS, mode=mode, battery=True, raise_exception=False)
        assert report.ok, str(report)


def test_evaluation_is_judged_with_statistics_that_have_moved() -> None:
    layer = Statistics(forgotten=True)
    failure = gradcheck(layer, POINTS, mode="eval", raise_exception=False).failures[0]
    assert failure.check == "input_gradient"  # at a variance of one it is right
    assert failure.finding is not None
    assert failure.finding.example == "the input as given, running statistics moved"
    assert (layer.running_v == 1).all()


class Carried:
    """h ← tanh(x W + h): its output is its state, or a state that it writes over in place."""

    def __init__(self, in_place: bool = False) -> None:
        self.W, self.h, self.in_place = np.random.default_rng(6).standard_normal((3, 3)), None, in_place

    def forward(self, x: np.ndarray) -> np.ndarray:
        before = np.zeros_like(x) if self.h is None else self.h
        after = np.tanh(x @ self.W + before)
        self.x = x
        if self.in_place and self.h is not None:
            self.h[...] = after
        else:
            self.h = after
        return self.h

    def backward(self, g: np.ndarray) -> np.ndarray:
        d = g * (1 - self.h**2)
        self.dW, self.dh = self.x.T @ d, d
        return d @ self.W.T


def test_a_state_that_is_handed_out_is_not_written_over_by_the_harness() -> None:
    report = gradcheck(Carried(), POINTS, battery=True, raise_exception=False)
    assert report.ok, str(report)
    found = gradcheck(Carried(in_place=True), POINTS, battery=True, raise_exception=False)
    assert next(r.outcome for r in found.results if r.check == "aliasing") is Outcome.FAIL


class Scale:
    """Divides by the deviation of a batch, or by the one kept of batches: of single examples the variance is none."""

    momentum = 0.1

    def __init__(self, D):
        self.running_var, self.training = np.zeros(D), True

    def forward(self, x):
        var = self.var = x.var(0) if self.training else self.running_var
        if self.training:
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
            self.x, self.c = x, x - x.mean(0)
        return x / np.sqrt(var + 1)

    def backward(self, v):
        s = np.sqrt(self.var + 1)
        through = self.c * (self.x * v).sum(0) if self.training else 0
        return v / s - through / (len(v) * s**3)


class Stuck(Scale):
    momentum = 0.0


@pytest.mark.parametrize(("kind", "outcome"), [(Scale, Outcome.PASS), (Stuck, Outcome.FAIL)])
def test_a_statistic_that_stands_where_the_batch_s_is_has_moved(kind, outcome):
    found = check(LayerSpec(kind, "B D", dims={"B": [1, 2]}), examples=6, only=("state",)).results
    assert next(r for r in found if r.mode == "train").outcome is outcome


HALF = torch.full((), 0.5, dtype=torch.float64)
"""A constant that a layer computes with and may rely on."""


class Halved(BatchNorm):
    """(x̂ + x̂/2)/2, the half a tensor of the layer or of this file; its backward knows that they are halves."""

    def __init__(self, D, factor=1.0):
        super().__init__(D)
        self.half, self.factor = torch.full((), 0.5), factor

    def forward(self, x):
        y = super().forward(x)
        return HALF * y + self.half * y

    def backward(self, v):
        return super().backward(v) * (1.0 if self.training else self.factor)


class Undivided(Halved):
    """In evaluation the gradient is not divided by the running deviation, which is 1 until a forward moves it."""

    def backward(self, v):
        dx = super().backward(v)
        return dx if self.training else dx * (self.buffers["running_var"] + 1e-5).sqrt()


ALONE = {"B": [1], "D": [2, 3, 4]}


def test_constants_stay_where_a_batch_of_one_can_not_move_the_statistics():
    """They were drawn as if training moved them, and a layer that relies on them failed."""
    report = check(LayerSpec(Halved, "B D", dims=ALONE, grads={"half": None}, name="Halved"), examples=6)
    found = {r.check: r.outcome for r in report.results if r.mode == "eval"}
    assert Outcome.FAIL not in found.values()
    assert found["input_gradient"] is Outcome.PASS


@pytest.mark.parametrize("wrong", [Undivided, lambda D: Halved(D, 1.01)])
def test_evaluation_of_a_batch_of_one_has_statistics_that_were_moved(wrong):
    report = check(LayerSpec(wrong, "B D", dims=ALONE, grads={"half": None}, name="Halved"), examples=6)
    assert "input_gradient" in {r.check for r in report.failures if r.mode == "eval"}


class Rebound(torch.nn.Module):
    """x − mean, its buffer bound to another tensor by each forward in train, as few or as many modes as `moved` names."""

    def __init__(self, D, moved, detached):
        super().__init__()
        self.register_buffer("m", torch.zeros(D))
        self.moved, self.detached = moved, detached

    def forward(self, x):
        mean = x.mean(0) if self.training else self.m
        if ("train" if self.training else "eval") in self.moved:
            new = 0.9 * self.m + 0.1 * mean + 0.01
            self.m = new.detach() if self.detached else new
        return x - mean


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize(
    ("moved", "failed"),
    [(("train",), set()), ((), {"train"}), (("train", "eval"), {"eval"}), (("eval",), {"train", "eval"})],
)
def test_a_buffer_that_a_module_binds_anew_has_moved(moved, failed, detached):
    report = check(LayerSpec(lambda D: Rebound(D, moved, detached), "B D"), examples=6, only=("state",))
    assert {r.mode for r in report.results if r.outcome is Outcome.FAIL} == failed
    assert {r.outcome for r in report.results} <= {Outcome.PASS, Outcome.FAIL}


class Sticks:
    """x in train, 2 x in eval, or what the first mode that it was in makes it for good."""

    training, sticks, first = True, True, None

    def forward(self, x):
        self.first = self.training if self.first is None or not self.sticks else self.first
        return x * (1.0 if self.first else 2.0)

    def backward(self, dy):
        return dy * (1.0 if self.first else 2.0)


class StickingModule(torch.nn.Module):
    """Twice as much in eval once it has been in train."""

    def __init__(self, sticks):
        super().__init__()
        self.sticks, self.trained = sticks, False

    def forward(self, x):
        self.trained = self.trained or (self.training and self.sticks)
        return x * (2.0 if self.trained and not self.training else 1.0)


@pytest.mark.parametrize("sticks", [True, False])
@pytest.mark.parametrize(
    ("build", "when"),
    [
        (lambda s: type("Sticky", (Sticks,), {"sticks": s})(), "in a layer that was never in train"),
        (StickingModule, "after a forward and backward in train"),
    ],
    ids=["class", "module"],
)
def test_a_layer_that_answers_by_a_mode_before_is_not_one_that_never_was_in_it(build, when, sticks):
    spec = LayerSpec(lambda: build(sticks), "B D", modes=("train", "eval"))
    report = check(spec, examples=6, only=("mode_switch",))
    found = {r.mode: r for r in report.results}
    assert found["train"].outcome is Outcome.PASS
    assert found["eval"].outcome is (Outcome.FAIL if sticks else Outcome.PASS)
    assert found["eval"].reason == (f"{when}: its outputs are others (6 of 6 examples)" if sticks else "")


class KeptMask:
    """A mask drawn once and taken away in evaluation: no statistic, and its absence no crash of the harness."""

    def __init__(self, p=0.5):
        self.p, self.training, self.m, self.rng = p, True, None, np.random.default_rng(0)

    def forward(self, x):
        if not self.training:
            self.m = None
            return x.copy()
        if self.m is None or self.m.shape != x.shape:
            self.m = (self.rng.random(x.shape) > self.p) / (1 - self.p)
        return x * self.m

    def backward(self, d):
        return d.copy() if self.m is None else d * self.m


def test_what_a_forward_takes_away_is_no_statistic():
    report = check(LayerSpec(KeptMask, "B D", name="KeptMask"))
    assert not [r for r in report.results if r.outcome is Outcome.ERROR]
    assert "unbiased" in {r.check for r in report.failures}


class Scaled(Statistics):
    """Those times a constant, which may be shown to a batch of one: it gives zero, whatever it is multiplied by."""

    def __init__(self, D: int, kept: bool = False) -> None:
        super().__init__()
        self.running_m, self.running_v, self.scale, self.kept = np.zeros(D), np.ones(D), np.full(D, 2.0), kept

    def forward(self, x: np.ndarray) -> np.ndarray:
        before = self.running_v
        y = super().forward(x)
        if self.kept:
            self.running_v = before
        return self.scale * y

    def backward(self, g: np.ndarray) -> np.ndarray:
        return super().backward(g * self.scale)


@pytest.mark.parametrize(("kept", "outcome"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_a_constant_that_a_batch_of_one_hides_is_no_statistic(kept: bool, outcome: Outcome) -> None:
    spec = LayerSpec(lambda D: Scaled(D, kept), "B D", grads={"scale": None})
    state = [r for r in check(spec, examples=12, only=("state",)).results if r.mode == "train"]
    assert [r.outcome for r in state] == [outcome]
    assert kept == state[0].reason.startswith("running_v: used in eval and not moved")
