"""Forwards that differ under one seed, as of sums in any order: what they differ by is in every bound."""

import cProfile
import datetime
import gc
import os
import random
import secrets
import time

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check
from harness.replay.entropy import entropy_watched


def uniform(n):
    return np.frombuffer(secrets.token_bytes(4 * n), np.uint32) / 2**32 - 0.5


class Jitters:
    """sin x, off by up to half of `size` at each forward; its wrong twins' backward by `factor`."""

    def __init__(self, size, factor=1.0):
        self.size, self.factor = size, factor

    def forward(self, x):
        self.x = x
        return torch.sin(x) * (1 + self.size * torch.as_tensor(uniform(x.numel()).reshape(x.shape)).to(x))

    def backward(self, d):
        return self.factor * torch.cos(self.x) * d


class SeldomDrops(Jitters):
    """A mask that no seed replays."""

    def forward(self, x):
        self.m = torch.as_tensor(uniform(x.numel()).reshape(x.shape) > self.size - 0.5).to(x)
        return self.m * x

    def backward(self, d):
        return self.m * d


def judged(build, seed=0):
    spec = LayerSpec(build=build, inputs="B D", name="Jitters")
    return {r.outcome for r in check(spec, examples=6, seed=seed, only=("input_gradient", "autograd")).results}


@pytest.mark.parametrize("size", [1e-15, 1e-11])
def test_noise_far_below_what_must_be_seen_hides_no_wrong_gradient(size):
    assert judged(lambda: Jitters(size)) <= {Outcome.PASS, Outcome.SKIP}
    assert Outcome.FAIL in judged(lambda: Jitters(size, 1 + 1e-3))


def test_more_noise_than_that_is_not_verified():
    assert judged(lambda: Jitters(1e-5, 1.1)) == {Outcome.INCONCLUSIVE}


@pytest.mark.parametrize("p", [0.001, 0.01, 0.3])
def test_a_mask_that_is_never_replayed_is_not_failed(p):
    for seed in range(3):
        assert Outcome.FAIL not in judged(lambda: SeldomDrops(p), seed)


class Unreplayed:
    """Inverted dropout by what no seed replays; `off`: by how much its gradient is wrong where it drops nothing."""

    training = True

    def __init__(self, p, off):
        self.p, self.off = p, off

    def forward(self, x):
        kept = uniform(x.numel()).reshape(x.shape) >= self.p - 0.5
        self.m = torch.as_tensor(kept).to(x) / (1 - self.p) if self.training else torch.ones_like(x)
        return self.m * x

    def backward(self, d):
        return self.m * d * (1 if self.p else 1 + self.off)


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_where_two_forwards_agree_by_chance_other_examples_tell(off):
    """Of few entries two masks are alike; where nothing is drawn a wrong gradient is failed all the same."""
    spec = LayerSpec(lambda p: Unreplayed(p, off), "B D", options={"p": (0.0, 0.3)}, modes=("train", "eval"))
    results = check(spec, examples=16, skip=("precision",)).results
    wrong = {(r.check, r.mode) for r in results if r.outcome is Outcome.FAIL and r.check != "unbiased"}
    gradients = {("input_gradient", "train"), ("input_gradient", "eval")}
    assert wrong >= gradients if off else not wrong
    assert not {c for c, _ in wrong} & {"reuse", "state", "input_layout", "repeatable", "mode_switch"}
    said = next(r for r in results if (r.check, r.mode) == ("repeatable", "train"))
    assert said.outcome is Outcome.INCONCLUSIVE
    assert said.reason.startswith("nondeterministic: two forwards under one seed differ by")


class Seldom:
    """Every 97th forward drops an entry, as if by chance: it reads the clock, which no seed sets back."""

    training = True
    forwards = 0

    def forward(self, x):
        time.perf_counter()
        Seldom.forwards += 1
        self.m = torch.ones_like(x)
        if self.training and Seldom.forwards % 97 == 0:
            self.m.view(-1)[0] = 0.0
        return self.m * x

    def backward(self, d):
        return self.m * d


class Grows(Seldom):
    """It reads the clock as well, and what a larger batch left stands in its mask."""

    kept = torch.zeros(0, 0, dtype=torch.float64)

    def forward(self, x):
        time.perf_counter()
        if len(self.kept) < len(x):
            self.kept = torch.full_like(x, 1.0 + len(x))
        self.m = self.kept[: len(x)]
        return torch.sin(self.m[:, :1]) * x

    def backward(self, d):
        return torch.sin(self.m[:, :1]) * d.abs()


def failed(layer):
    report = check(LayerSpec(build=layer, inputs="B D", modes=("train", "eval")), examples=12, skip=("precision",))
    return {r.check for r in report.results if r.outcome is Outcome.FAIL}


def test_what_seldom_differs_is_not_failed_unless_the_same_layer_made_anew_fails_again():
    assert not failed(Seldom)
    assert {"reuse", "cotangent_linear"} <= failed(Grows)


def test_what_no_seed_replays_is_seen_as_it_is_asked():
    drawn = (
        lambda: os.urandom(1),
        lambda: secrets.randbelow(3),
        lambda: random.SystemRandom().random(),
        np.random.default_rng,
        lambda: torch.Generator().seed(),
        datetime.datetime.now,
        time.time,
    )
    replayed = (
        lambda: np.random.default_rng(0).random(),
        lambda: torch.rand(2),
        lambda: torch.Generator().manual_seed(1),
    )
    for functions, expected in ((drawn, True), (replayed, False)):
        for function in functions:
            with entropy_watched() as asked:
                function()
            assert bool(asked) is expected, asked


def test_what_is_done_at_a_collection_of_garbage_is_not_the_layers():
    def timed(phase, info):
        time.perf_counter()

    thresholds = gc.get_threshold()
    gc.callbacks.append(timed)
    gc.set_threshold(1)
    try:
        with entropy_watched() as asked:
            assert [[k] for k in range(100)]
    finally:
        gc.callbacks.remove(timed)
        gc.set_threshold(*thresholds)
    assert not asked


class StuckByTheClock(Seldom):
    """In its first mode for good; it reads the clock."""

    first = None

    def forward(self, x):
        time.perf_counter()
        self.first = self.training if self.first is None else self.first
        self.m = torch.full_like(x, 1.0 if self.first else 2.0)
        return self.m * x


def test_what_fails_beside_another_layer_of_the_class_fails_again_beside_one():
    assert "mode_switch" in failed(StuckByTheClock)


def test_a_profiler_goes_on_after_it():
    profiler = cProfile.Profile()
    profiler.enable()
    with entropy_watched() as asked:
        time.time()
    sorted([2, 1])
    profiler.disable()
    assert asked == ["time"]
    assert "sorted" in str(sorted(str(entry.code) for entry in profiler.getstats()))
