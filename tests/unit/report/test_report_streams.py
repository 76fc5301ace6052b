import itertools

import torch

from report.masks import AHEAD, SeededDropout
from report.model import build
from report.settings import BN, BN_DROPOUT, EXPERIMENTS, IN, IN_DROPOUT
from report.streams import bits, stream, streams

PURPOSES = ("split", "initialisation", "batches", "masks")


def draws(seed, purpose):
    return torch.rand(1000, generator=stream(seed, purpose))


def test_same_seed_and_purpose_give_the_same_numbers():
    assert torch.equal(draws(5, "masks"), draws(5, "masks"))


def test_every_seed_and_purpose_has_numbers_of_its_own():
    drawn = [draws(seed, purpose) for seed in range(4) for purpose in PURPOSES]
    for a, b in itertools.combinations(drawn, 2):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.15  # 4.7 standard deviations
    assert len({int(stream(seed, purpose).initial_seed()) for seed in range(1000) for purpose in PURPOSES}) == 4000


def test_a_list_of_streams_is_each_one():
    for seed, generator in zip((7, 3), streams((7, 3), "batches"), strict=True):
        assert torch.equal(
            torch.randperm(50, generator=generator), torch.randperm(50, generator=stream(seed, "batches"))
        )


def test_all_models_start_from_the_same_weights():
    models = [build(e, (4, 9), (2, 8, 3)) for e in EXPERIMENTS]
    for model in models[1:]:
        for θ, other in zip(model.params.values(), models[0].params.values(), strict=True):
            assert torch.equal(θ, other)


def test_models_with_dropout_draw_the_same_masks():
    z = torch.ones(2, 50, 8)
    masks = [model.layers[3].forward(z) for model in (build(e, (4, 9), (2, 8, 3)) for e in (IN_DROPOUT, BN_DROPOUT))]
    assert torch.equal(*masks)
    assert 0 < (masks[0] == 0).float().mean() < 0.4
    assert not torch.equal(masks[0][0], masks[0][1])


def test_a_models_weights_do_not_depend_on_its_neighbours():
    together, alone = build(IN, (4, 9), (2, 8, 3)), build(BN, (9,), (2, 8, 3))
    for name, θ in alone.params.items():
        assert torch.equal(θ[0], together.params[name][1])


def test_masks_drawn_ahead_are_each_seeds_own_and_never_twice_the_same():
    together, alone = (SeededDropout(0.2, bits(seeds, "masks")) for seeds in ((4, 9), (9,)))
    z = torch.ones(2, 5, 7)
    drawn = []
    for _ in range(AHEAD + 2):
        a = together.forward(z)
        assert torch.equal(a[1], alone.forward(z[1:])[0])
        assert torch.equal(a, together.backward(z))
        drawn.append(a)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(drawn, 2))
    assert abs(float((torch.stack(drawn) == 0).double().mean()) - 0.2) < 0.08


def test_a_change_of_shape_draws_anew():
    layer = SeededDropout(0.5, bits((4,), "masks"))
    for n in (5, 64, 5):
        assert layer.forward(torch.ones(1, n, 8)).shape == (1, n, 8)
