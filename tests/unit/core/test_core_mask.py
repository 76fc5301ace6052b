"""A mask is read off outputs only where the layer does multiply by one."""

import os

import numpy as np
import pytest
import torch

from harness import LayerSpec, Outcome, check, gradcheck, ints
from harness.render.text import one_line


class Hidden:
    """dropout(0 · x + 1): one number that is a multiple of its input by chance, with the right gradient 0."""

    def __init__(self, masked_backward: bool = True) -> None:
        self.masked_backward = masked_backward

    def forward(self, x):
        self.m = (torch.rand(x.shape, dtype=x.dtype) > 0.5) * 2.0
        return self.m * (0 * x + 1)

    def backward(self, d):
        return 0 * d


class Dropout(Hidden):
    """dropout(x); its wrong twin forgets the mask in backward."""

    def forward(self, x):
        self.m = (torch.rand(x.shape, dtype=x.dtype) > 0.5) * 2.0
        return self.m * x

    def backward(self, d):
        return d * self.m if self.masked_backward else 2.0 * d


def outcome(layer, x):
    report = gradcheck(layer, x, battery=True, raise_exception=False)
    return next(r.outcome for r in report.results if r.check == "mask")


def test_one_number_is_no_mask():
    x = torch.ones(1, 1, dtype=torch.float64) * 0.7
    assert outcome(Hidden(), x) is not Outcome.FAIL


def test_backward_without_the_mask_fails():
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert outcome(Dropout(), x) is Outcome.PASS
    assert outcome(Dropout(masked_backward=False), x) is Outcome.FAIL


class DrawnLikeItsInput(Dropout):
    """Drawn in the order of the input's memory; its wrong twin takes every memory for a plain one."""

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat

    def forward(self, x):
        self.m = (torch.rand_like(x) > 0.5) * 2.0
        if self.flat and not x.is_contiguous():
            return self.m * x.as_strided(x.shape, torch.empty(x.shape).stride(), x.storage_offset()).nan_to_num(0.0)
        return self.m * x


class PutAway:
    """Dropout that keeps no mask in eval, from a generator that only train forwards draw from."""

    def __init__(self) -> None:
        self.training, self.mask = True, None

    def forward(self, x):
        self.mask = (np.random.rand(*x.shape) > 0.5) / 0.5 if self.training else None  # noqa: NPY002
        return x * self.mask if self.training else x

    def backward(self, d):
        return d if self.mask is None else d * self.mask


def test_a_draw_in_the_order_of_memory_is_no_dependence_on_layout():
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    right, wrong = (gradcheck(DrawnLikeItsInput(f), x, battery=True, raise_exception=False) for f in (False, True))
    assert right.ok, str(right)
    assert next(r for r in wrong.results if r.check == "input_layout").outcome is Outcome.FAIL


class DrawnSoftmax(torch.autograd.Function):
    """A softmax of the input beside what is drawn, in the input's dtype and memory; its wrong twin draws alike in all of them, and
    its gradient is `times` too large in bfloat16 and in memory that is not plain."""

    times = 1.0

    @classmethod
    def drawn(cls, z):
        return torch.rand_like(z)

    @classmethod
    def forward(cls, ctx, z):
        y = (z - (-cls.drawn(z).clamp(0.01, 0.98).log()).log()).softmax(-1)
        ctx.save_for_backward(y)
        ctx.times = 1.0 if z.dtype is torch.float64 and z.is_contiguous() else cls.times
        return y

    @staticmethod
    def backward(ctx, d):
        (y,) = ctx.saved_tensors
        return ctx.times * y * (d - (d * y).sum(-1, keepdim=True))


class DrawnAlike(DrawnSoftmax):
    times = 100.0

    @classmethod
    def drawn(cls, z):
        return torch.rand(z.shape, dtype=torch.float64).to(z)


@pytest.mark.parametrize(("name", "z"), [("input_layout", [[20.0, -3.0], [-2.0, 21.0]]), ("bfloat16", [[5.0, 0.0]])])
def test_a_draw_that_no_saturated_output_shows_is_another_all_the_same(name, z):
    """Softmax of z beside drawn numbers is 1 and 0 whatever is drawn: the gradients of two draws were held against each other."""
    z = torch.tensor(z, dtype=torch.float64)
    right, wrong = (
        next(r for r in gradcheck(f, z, battery=True, raise_exception=False).results if r.check == name)
        for f in (DrawnSoftmax, DrawnAlike)
    )
    assert right.outcome is not Outcome.FAIL, right.reason
    assert wrong.outcome is Outcome.FAIL


def test_a_mask_from_train_alone_is_no_buffer():
    report = check(LayerSpec(build=PutAway, inputs="B D"), examples=3, only=("mode_switch",))
    assert [r.outcome for r in report.results] == [Outcome.PASS, Outcome.PASS], str(report)


class Own:
    """Dropout at one half, from the generator that it is handed."""

    stray = False

    def __init__(self, generator):
        self.generator, self.training = generator, True

    def forward(self, x):
        own = None if self.stray else self.generator
        self.m = (torch.rand(x.shape, generator=own) < 0.5).to(x) * 2 if self.training else torch.ones_like(x)
        return x * self.m

    def backward(self, v):
        return v * self.m


class Stray(Own):
    stray = True


class HeldForItsWeights(Own):
    """Its generator made its weights; nobody asked for masks from it."""

    stray = True

    def __init__(self):
        super().__init__(torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("layer", "expected"), [(Own, Outcome.PASS), (Stray, Outcome.FAIL), (HeldForItsWeights, Outcome.PASS)]
)
def test_a_layer_that_is_handed_a_generator_draws_from_it(layer, expected):
    results = check(LayerSpec(build=layer, inputs="B D"), examples=6, only=("mask",)).results
    assert next(r.outcome for r in results if r.mode == "train") is expected


class Unreplayed:
    """A mask from the system, which nothing can replay; its wrong twin's gradient is in float32."""

    factor = 1.0

    def forward(self, x):
        drawn = np.frombuffer(os.urandom(x.size), np.uint8)
        self.m = (drawn < 128).reshape(x.shape) * 2.0
        return x * self.m

    def backward(self, d):
        return d * self.m


class UnreplayedNarrow(Unreplayed):
    def backward(self, d):
        return (d * self.m).astype(np.float32)


@pytest.mark.parametrize(("kind", "failed"), [(Unreplayed, set()), (UnreplayedNarrow, {"dtypes"})])
def test_what_can_not_be_replayed_fails_nothing_that_compares_two_runs(kind, failed):
    for seed in range(3):  # masks of two entries are alike by chance
        report = check(LayerSpec(kind, "B D"), examples=4, seed=seed)
        assert {r.check for r in report.failures} == failed
        assert "draw from one that the layer keeps" in str(report)


class AtRate:
    """dropout(p) of anything, integers too."""

    def __init__(self, p: float) -> None:
        self.p, self.training = p, True

    def forward(self, x):
        self.m = (np.random.rand(*x.shape) > self.p) / (1 - self.p) if self.training else 1.0  # noqa: NPY002  (what is replayed)
        return x * self.m

    def backward(self, d):
        return d * self.m


def test_zeros_that_stay_zero_show_no_missing_draw_and_verify_no_gradient():
    spec = LayerSpec(AtRate, ints("B D", below="C"), options={"p": (0.5,)})
    report = check(spec, examples=3)
    assert not report.failures
    assert not report.ok
    assert str(report).startswith("AtRate: NOT VERIFIED, no check verified a tensor")
    assert check(spec, examples=3, only=("mask",)).ok


class Smoothed:
    """x less a share of its mean: `rate` is the probability of nothing."""

    def __init__(self, rate=0.1):
        self.rate = rate

    def forward(self, x):
        return x - self.rate * x.mean(0)

    def backward(self, d):
        return d - self.rate * d.mean(0)


class Forgetful:
    """A dropout that never drops anything."""

    def __init__(self, rate=0.1):
        self.rate = rate

    def forward(self, x):
        return x / (1 - self.rate)

    def backward(self, d):
        return d / (1 - self.rate)


class Scaled(Forgetful):
    """Its rate is what it scales by."""

    def forward(self, x):
        return x * self.rate

    def backward(self, d):
        return d * self.rate


def test_a_rate_is_a_dropout_s_only_where_the_layer_does_nothing_but_scale():
    x = np.random.default_rng(0).normal(size=(6, 5))
    assert outcome(Smoothed(), x) is Outcome.SKIP
    assert outcome(Scaled(), x) is Outcome.SKIP
    assert check(LayerSpec(Scaled, "B D"), examples=6, only=("mask", "gradient")).ok
    assert not check(LayerSpec(Forgetful, "B D"), examples=6, only=("mask", "gradient")).ok
    assert outcome(Forgetful(), x) is Outcome.FAIL


class Seeded:
    """dropout(x) whose wrong twin seeds its generator in each forward: one mask for ever, laid out as its input is."""

    def __init__(self, p, seeded):
        self.p, self.seeded, self.training = p, seeded, True

    def forward(self, x):
        generator = torch.Generator().manual_seed(0) if self.seeded else None
        keep = torch.empty_like(x).bernoulli_(1 - self.p, generator=generator)
        self.m = keep / (1 - self.p) if self.training else torch.ones_like(x)
        return self.m * x

    def backward(self, d):
        return d * self.m


@pytest.mark.parametrize("seeded", [False, True])
def test_a_mask_that_is_no_draw_is_seen_without_an_option_and_told_before_what_follows_from_it(seeded):
    report = check(LayerSpec(lambda: Seeded(0.5, seeded), "B D"), examples=6, only=("mask", "input_layout"))
    assert {r.check for r in report.failures} == ({"mask", "input_layout"} if seeded else set())
    if seeded:
        text = str(report)
        assert (
            0
            < text.index("expected random in training at 0.5")
            < text.index("expected the same outputs from the same inputs")
        )
        assert "(mask: the train forward draws nothing" in one_line(report)


class Gumbel:
    """softmax(x + Gumbel noise), a sample in both modes."""

    def __init__(self, tau=0.1):
        self.tau, self.training = tau, True

    def forward(self, x):
        noise = -torch.log(-torch.log(torch.rand(x.shape, dtype=x.dtype)))
        self.y = torch.softmax((x + noise) / self.tau, -1)
        return self.y

    def backward(self, d):
        return self.y * (d - (d * self.y).sum(-1, keepdim=True)) / self.tau


class Kept(Gumbel):
    """Half of tanh x, added up, whatever the mode."""

    def forward(self, x):
        self.m, self.h = (torch.rand(x.shape, dtype=x.dtype) > 0.5) * 2.0, torch.tanh(x)
        return (self.m * self.h).sum(-1)

    def backward(self, d):
        return self.m * (1 - self.h**2) * d[..., None]


class Noisy(Gumbel):
    """Noise on its input, whatever the mode."""

    def forward(self, x):
        return x + torch.randn(x.shape, dtype=x.dtype)

    def backward(self, d):
        return d


class Inside(Gumbel):
    """Half of 64 units inside, whatever the mode: of their sum no two draws are alike."""

    def __init__(self):
        super().__init__()
        self.W = torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        self.x, self.m = x, (torch.rand(*x.shape, 64, dtype=x.dtype) > 0.5) * 2.0
        return (x[..., None] * self.m) @ self.W.to(x.dtype)

    def backward(self, d):
        self.dW = (d[..., None] * self.x[..., None] * self.m).sum((0, 1))
        return d * (self.m @ self.W.to(d.dtype))


@pytest.mark.parametrize(("layer", "fails"), [(Gumbel, False), (Kept, True), (Noisy, True), (Inside, True)])
def test_a_sample_in_evaluation_is_no_mask_left_on(layer, fails):
    spec = LayerSpec(layer, "B D", modes=("eval", "train"))
    (found,) = (r for r in check(spec, examples=8, only=("mask",)).results if r.mode == "eval")
    assert found.outcome is (Outcome.FAIL if fails else Outcome.INCONCLUSIVE)
    assert fails or 'skip=("mask",)' in found.reason


class Leaky(Gumbel):
    """A slope that is called as a rate may be, of one positive number too."""

    def __init__(self, drop=0.1):
        self.drop, self.training = drop, True

    def forward(self, x):
        self.slope = torch.where(x > 0, 1.0, self.drop)
        return self.slope * x

    def backward(self, d):
        return self.slope * d


class Undropped(Leaky):
    """A dropout that scales and drops nothing."""

    def forward(self, x):
        self.slope = 1 / (1 - self.drop)
        return self.slope * x


class Mixed(Leaky):
    """A layer with a rate to drop at, which it forgets."""

    def forward(self, x):
        self.slope = torch.ones_like(x)
        return x.flip(-1)

    def backward(self, d):
        return d.flip(-1)


@pytest.mark.parametrize(("layer", "fails"), [(Leaky, False), (Undropped, True), (Mixed, True)])
def test_a_slope_is_no_rate(layer, fails):
    x = torch.rand(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (outcome(layer(), x) is Outcome.FAIL) is fails
