"""The mean over masks, and their independence: layers that keep it beside layers that don't."""

import math

import pytest
import torch

from harness import LayerSpec, Outcome, check, floats, gradcheck
from harness.findings.chances import UNLIKELY, shares


class Dropout:
    """Inverted dropout at one half."""

    training = True

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def draw(self, x):
        return (torch.rand(x.shape) >= 0.5).to(x) * 2

    def forward(self, x):
        self.m = self.draw(x) if self.training else torch.ones_like(x)
        return x * self.m

    def backward(self, dy):
        return dy * self.m


class Uncompensated(Dropout):
    def draw(self, x):
        return super().draw(x) / 2


class OfColumns(Dropout):
    """One mask for all entries of a row, as of channels."""

    def draw(self, x):
        return super().draw(x[..., :1]).expand_as(x)


class Alternating(Dropout):
    """Of two neighbours one is kept."""

    def draw(self, x):
        m = super().draw(x)
        m[..., 1::2] = 2 - m[..., 0 : 2 * (x.shape[-1] // 2) : 2]
        return m


class Tiled(Dropout):
    """The second half of a row has the first's mask."""

    def draw(self, x):
        m = super().draw(x[..., : (x.shape[-1] + 1) // 2])
        return torch.cat([m, m], -1)[..., : x.shape[-1]]


class Noise(Dropout):
    """Noise of mean zero on the outputs: no mask, and right under the promise."""

    shift = 0.0

    def forward(self, x):
        self.m = torch.full_like(x, 2.0)
        return 2 * x + (torch.randn(x.shape).to(x) + self.shift if self.training else 0)


class Shifted(Noise):
    """Its noise grows what it is added to."""

    def forward(self, x):
        y = super().forward(x)
        return y * 1.5 if self.training else y

    def backward(self, dy):
        return dy * self.m * (1.5 if self.training else 1)


def unbiased(layer, examples=12, **more):
    spec = LayerSpec(build=layer, inputs=(floats("B D"),), **more)
    return next(r for r in check(spec, examples=examples, only=("unbiased",)).results if r.mode == "train")


@pytest.mark.parametrize("layer", [Dropout])
def test_right_masks_pass_and_the_smallest_bias_seen_is_stated(layer):
    found = unbiased(layer)
    assert found.outcome is Outcome.PASS
    assert "would have been seen" in found.reason


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Uncompensated, "times the eval output"),
        (OfColumns, "not drawn independently"),
        (Alternating, "not drawn independently"),
        (Tiled, "not drawn independently"),
    ],
)
def test_wrong_masks_fail(layer, said):
    found = unbiased(layer)
    assert found.outcome is Outcome.FAIL
    assert said in found.reason
    assert ('promises=("shared_mask",)' in str(found.finding)) is (said == "not drawn independently")


class Rare(Dropout):
    """One entry in ten or twenty is dropped, as if it were one in ten."""

    def __init__(self, rate):
        self.rate = rate

    def draw(self, x):
        return (torch.rand(x.shape) >= self.rate).to(x) / 0.9


def test_what_is_seldom_dropped_is_seen_as_well_as_its_spread_allows():
    few = {"B": (6,), "D": (6,)}
    assert unbiased(lambda: Rare(0.1), dims=few).outcome is Outcome.PASS
    assert unbiased(lambda: Rare(0.05), dims=few).outcome is Outcome.FAIL  # 5.6 %; by its range alone 7 % would be seen


@pytest.mark.parametrize(("n", "g"), [(63, 2.0), (500, 1.25), (500, 10.0), (40, 1.01), (500, 1e6)])
def test_the_bound_on_a_kept_share_against_the_binomial_distribution(n, g):
    low, high = shares(n, g)
    q = 1 / g
    at = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    outside = sum(p for k, p in enumerate(at) if not low <= g * k / n <= high)
    assert outside <= UNLIKELY
    by_range = g * math.sqrt(math.log(2 / UNLIKELY) / 2 / n)
    assert 1 - by_range <= low <= 1 <= high <= 1 + by_range
    # its wrong twin: a tenth of the exponent
    closer = [1 + (end - 1) / math.sqrt(10) for end in (low, high)]
    assert sum(p for k, p in enumerate(at) if not closer[0] <= g * k / n <= closer[1]) > UNLIKELY


class Saturating(Dropout):
    """Puts −2 in the place of what it drops, and scales so that inputs of mean 0 and variance 1 keep both: no entry's own mean."""

    def forward(self, x):
        y = super().forward(x)
        return (y / 2 - 2 * (self.m == 0) + 1) / 1.5**0.5 if self.training else y

    def backward(self, dy):
        return dy * self.m / 2 / 1.5**0.5 if self.training else dy


def test_what_replaces_entries_makes_no_promise_of_their_mean():
    assert unbiased(Saturating).outcome is not Outcome.FAIL
    assert unbiased(Saturating, promises=("unbiased",)).outcome is Outcome.FAIL
    assert unbiased(torch.nn.AlphaDropout, options={"p": (0.5,)}).outcome is not Outcome.FAIL
    assert unbiased(Uncompensated).outcome is Outcome.FAIL


class Seldom(Rare):
    """One entry in a hundred is dropped, or all but one, behind a factor that evaluation has too."""

    def draw(self, x):
        return (torch.rand(x.shape) >= self.rate).to(x) / (1 - self.rate)

    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, dy):
        return 2 * super().backward(dy)


class Alone(Seldom):
    """The same without the factor."""

    forward, backward = Dropout.forward, Dropout.backward


@pytest.mark.parametrize("rate", [0.01, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("layer", [Seldom, Alone])
def test_what_was_not_seen_to_be_dropped_or_kept_is_not_held_against_it(layer, rate):
    for B, D in ((1, 1), (2, 3), (40, 50)):
        found = unbiased(lambda: layer(rate), dims={"B": (B,), "D": (D,)}, promises=("unbiased",), examples=8)
        assert found.outcome is not Outcome.FAIL


class Counted(Dropout):
    forwards = 0

    def forward(self, x):
        Counted.forwards += self.training and x.shape == (160, 160)
        return super().forward(x)


class CountedUncompensated(Uncompensated, Counted):
    pass


@pytest.mark.parametrize(("layer", "outcome"), [(Counted, Outcome.PASS), (CountedUncompensated, Outcome.FAIL)])
def test_it_ends_as_soon_as_it_is_known(layer, outcome):
    Counted.forwards = 0
    assert unbiased(layer, examples=1, dims={"B": (160,), "D": (160,)}).outcome is outcome
    assert Counted.forwards < 40


class NeverDrops(Dropout):
    """Scales for a mask that it draws and does not apply."""

    def draw(self, x):
        return 0 * super().draw(x) + 2


def test_a_scale_without_its_mask_is_no_luck():
    found = unbiased(NeverDrops)
    assert found.outcome is Outcome.FAIL
    assert "times the eval output, which the mean should be" in found.reason


def test_a_mask_that_is_meant_to_be_shared_promises_so():
    assert unbiased(OfColumns, promises=("shared_mask",)).outcome is Outcome.PASS


def test_only_the_promise_asks_it_of_a_layer_whose_eval_is_not_the_identity():
    assert unbiased(Noise).outcome is Outcome.SKIP
    assert unbiased(Noise, promises=("unbiased",)).outcome is Outcome.PASS
    assert unbiased(Shifted, promises=("unbiased",), examples=25).outcome is Outcome.FAIL


class Classical(Dropout):
    """No scale in training, `share` in evaluation: what is kept of it on average is a half."""

    share, gain = 0.5, 1.0

    def draw(self, x):
        return super().draw(x) / 2 * self.gain

    def forward(self, x):
        self.m = self.draw(x) if self.training else torch.full_like(x, self.share)
        return x * self.m


class ScaledTwice(Classical):
    """Scaled in training and in evaluation too."""

    gain = 2.0


class Leaking(Classical):
    """A random slope of negative numbers, its mean in evaluation."""

    share = 0.25

    def draw(self, x):
        return torch.where(x < 0, torch.rand(x.shape).to(x) / 2, torch.ones_like(x))

    def forward(self, x):
        self.m = self.draw(x) if self.training else torch.where(x < 0, self.share, torch.ones_like(x))
        return x * self.m


@pytest.mark.parametrize(
    ("build", "outcome"),
    [(Classical, Outcome.PASS), (ScaledTwice, Outcome.FAIL), (Leaking, Outcome.PASS)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_where_evaluation_is_a_multiple_the_mean_is_it_too(build, outcome, seed):
    report = check(LayerSpec(build, "B D"), only=("unbiased",), seed=seed)
    found = {r.mode: r.outcome for r in report.results}["train"]
    assert found is outcome or (build is Leaking and found is not Outcome.FAIL)


class OfChannels(Dropout):
    """Dropout2d: whole channels of images."""

    over = (2, 3)
    """The axes along which the mask is one number."""

    def draw(self, x):
        shape = [1 if axis in self.over else n for axis, n in enumerate(x.shape)]
        return super().draw(x.new_ones(shape)).expand(x.shape)


class OfRows(OfChannels):
    over = (3,)


class UncompensatedChannels(OfChannels):
    def draw(self, x):
        return super().draw(x).bool().to(x)


def of_images(layer):
    return gradcheck(layer(), torch.randn(4, 6, 3, 5), battery=True, raise_exception=False)


def test_whole_channels_of_images_need_no_promise():
    report = of_images(OfChannels)
    assert report.ok, str(report)
    assert any(r.check == "unbiased" and r.outcome is Outcome.PASS for r in report.results)


@pytest.mark.parametrize("layer", [OfRows, UncompensatedChannels])
def test_other_masks_of_images_fail(layer):
    assert "unbiased" in {r.check for r in of_images(layer).failures}


class Noisy:
    """Gaussian noise is added in training."""

    def __init__(self) -> None:
        self.training = True

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def noise(self, x):
        return torch.randn(x.shape, dtype=x.dtype)

    def forward(self, x):
        return x + self.noise(x) if self.training else x

    def backward(self, v):
        return 1 * v


class Uniform(Noisy):
    def noise(self, x):
        return torch.rand(x.shape, dtype=x.dtype) - 0.5


class OfRows(Noisy):
    def noise(self, x):
        return torch.randn(1, *x.shape[1:], dtype=x.dtype)


class OfAll(Noisy):
    def noise(self, x):
        return torch.randn((), dtype=x.dtype)


class OneSided(Noisy):
    def noise(self, x):
        return torch.rand(x.shape, dtype=x.dtype)


class Multiplied(Noisy):
    """Gaussian dropout."""

    def forward(self, x):
        self.gain = 1 + 0.3 * self.noise(x) if self.training else torch.ones_like(x)
        return x * self.gain

    def backward(self, v):
        return v * self.gain


class MultipliedOfRows(Multiplied):
    noise = OfRows.noise


@pytest.mark.parametrize("kind", [Noisy, Uniform, Multiplied])
def test_noise_of_mean_zero_for_each_entry_is_right(kind):
    for seed in range(3):
        (found,) = check(
            LayerSpec(build=kind, inputs="B D", modes=("train",)), examples=25, seed=seed, only=["mask"]
        ).results
        assert found.outcome is Outcome.PASS
        report = check(LayerSpec(build=kind, inputs="B D"), examples=25, seed=seed, only=["unbiased"])
        assert not report.failures


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (OfRows, "have much noise together"),
        (OfAll, "have much noise together"),
        (MultipliedOfRows, "have much noise together"),
        (OneSided, "the mean of the noise that is added is"),
    ],
)
def test_noise_that_entries_share_or_whose_mean_is_not_zero_fails(kind, why):
    (found,) = check(LayerSpec(build=kind, inputs="B D"), examples=25, only=["unbiased"]).failures
    assert why in found.reason


def test_noise_that_is_meant_to_be_shared_is_promised():
    report = check(LayerSpec(build=OfRows, inputs="B D", promises=("shared_mask",)), examples=25, only=["unbiased"])
    assert not report.failures
